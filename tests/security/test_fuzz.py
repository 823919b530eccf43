"""Schemathesis on the real service: whatever is sent, no answer is a server error or differs from the description."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rewriter.settings import Settings
from tests.serving import ADMIN, RATE, SECRET, served

EXAMPLES = int(os.environ.get("REWRITER_FUZZ", "3"))  # for each route and phase; `make fuzz` takes many more
SECONDS = 50 if EXAMPLES < 10 else 3600
# Left out: that whatever fits the description is accepted. It cannot say which statement is one, which cursor is ours.
WITHOUT = "positive_data_acceptance"
# A body that is too large is refused as such, whatever else is wrong with it.
CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 422, 429]
"""


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_answers_are_as_described(shop_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWRITER_TARGET_ORDERS", shop_url)  # the examples of the description name it
    settings = Settings(
        store=f"sqlite:///{tmp_path}/store.sqlite",
        target=shop_url,
        admin_key=ADMIN,
        secret=SECRET,
        workers=0,
        rate=RATE,
        files=tmp_path,
    )
    with served(settings) as house:
        known = {"name": "orders-production", "url": "env:REWRITER_TARGET_ORDERS", "runs": True}
        assert house.call("POST", "/v1/targets", known).status_code == 201
        schemathesis = str(Path(sys.executable).with_name("schemathesis"))
        configuration = tmp_path / "schemathesis.toml"
        configuration.write_text(CONFIGURATION)
        run = subprocess.run(
            [
                *(schemathesis, "--config-file", str(configuration), "run", f"{house.base}/openapi.json"),
                *("--header", f"Authorization: Bearer {house.keys['admin']}"),
                *("--exclude-checks", WITHOUT, "--max-examples", str(EXAMPLES), "--max-time", str(SECONDS)),
                # A stream of events ends with its job, which may be long.
                *("--exclude-path", "/v1/rewrites/{identifier}/events", "--request-timeout", "30"),
                *("--no-color", "--generation-database", "none", "--continue-on-failure"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS + 240,
            check=False,
        )
    assert run.returncode == 0, run.stdout.partition(" FAILURES ")[2][:8000] or run.stdout[-4000:] + run.stderr[-2000:]
