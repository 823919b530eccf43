"""The HTTP service over a real server socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shop import SLOW


@pytest.fixture(scope="module")
def service(shop_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = tmp_path_factory.mktemp("api") / "store.sqlite"
    environment = {**os.environ, "REWRITER_TARGET": shop_url, "REWRITER_STORE": f"sqlite:///{store}"}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "api.app:create_app",
            "--port",
            str(port),
            "--log-level",
            "error",
        ],
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                if call(base, "/healthz")[0] == 200:
                    break
            time.sleep(0.1)
        yield base
    finally:
        process.terminate()
        process.wait(20)


def call(base: str, path: str, body: Any = None) -> tuple[int, dict[str, Any], str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return answer.status, json.loads(answer.read()), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers["Content-Type"]


def test_it_is_alive_and_ready(service: str) -> None:
    assert call(service, "/healthz")[1]["status"] == "ok"
    assert "PostgreSQL" in call(service, "/readyz")[1]["engine"]


def test_a_rewrite_comes_back_with_its_report(service: str) -> None:
    status, report, _ = call(service, "/v1/rewrites", {"sql": SLOW, "timeout": 20, "effort": "quick"})
    assert status == 200
    assert report["id"]
    assert report["chosen"]["sql"]
    assert report["verdict"]["kind"] in ("proved", "bounded", "tested")


def test_parameters_may_come_in_several_sets(service: str) -> None:
    body = {"sql": "SELECT id FROM sale WHERE id = $1", "effort": "quick", "parameter_sets": [[7], [8]]}
    status, report, _ = call(service, "/v1/rewrites", body)
    assert status == 200
    assert [one["label"] for one in report["sets"]] in ([], ["set 1", "set 2"])  # none where there is no candidate
    assert call(service, "/v1/rewrites", {**body, "parameter_sets": [[7, 8]]})[0] == 422


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"sql": "DROP TABLE sale"}, "unsupported-statement"),
        ({"sql": "SELECT secret_column FROM sale"}, "unknown-name"),
        ({"sql": "SELECT 1", "timeout": -1}, "bad-request"),
        ({"sql": ["SELECT 'hush'"]}, "bad-request"),
        ({}, "bad-request"),
    ],
)
def test_errors_are_problem_details_that_never_echo_sql(service: str, body: dict[str, Any], code: str) -> None:
    status, problem, kind = call(service, "/v1/rewrites", body)
    assert status == 422
    assert kind == "application/problem+json"
    assert problem["type"].endswith(code)
    assert "hush" not in json.dumps(problem)
    assert "DROP TABLE sale" not in json.dumps(problem)
