"""The README's example of the service, as written: a shell runs its commands, with the test's own port and Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import ADMIN, running
from tpc.load import load, target_for
from tpc.suites import DS

ROOT = Path(__file__).parents[2]
SCALE = 0.01


@pytest.mark.slow
def test_the_example_answers_with_a_verified_rewrite(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    monkeypatch.setenv("REWRITER_CACHE", str(tmp_path / "cache"))
    load(DS, SCALE, postgres_url, lambda *_: None)
    section = (ROOT / "README.md").read_text().partition("## As a service")[2]
    script = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert script is not None
    with running(tmp_path, REWRITER_TARGET=target_for(DS, SCALE, postgres_url)) as service:
        commands = (
            script[1]
            .replace("rk_...", ADMIN)
            .replace(".venv/bin/python", sys.executable)
            .replace("localhost:8000", f"127.0.0.1:{service.port}")
        )
        ran = subprocess.run(
            ["bash", "-euc", commands],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=110,
        )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["state"] == "done", answer["problem"]
    assert answer["report"]["verdict"]["kind"] in ("proved", "bounded", "tested")
    assert "GROUP BY" in answer["report"]["chosen"]["sql"]
