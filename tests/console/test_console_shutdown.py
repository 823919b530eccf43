"""The service stops when it is told to, although somebody is watching a job."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.api.conftest import ADMIN, Client, running


@pytest.mark.slow
def test_a_watched_job_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    target = f"duckdb:///{tmp_path / 'shop.duckdb'}"
    with running(tmp_path, REWRITER_TARGET=target, REWRITER_WORKERS="0") as client:
        job = client("POST", "/v1/rewrites", {"sql": "SELECT 1"}).json["id"]
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        connection.request("GET", f"/v1/rewrites/{job}/events", headers={"Authorization": f"Bearer {ADMIN}"})
        stream = connection.getresponse()
        assert stream.status == 200
        _terminate(client)
        start = time.monotonic()
        with contextlib.suppress(http.client.HTTPException, OSError):
            stream.read()
        assert time.monotonic() - start < 30
        connection.close()


def _terminate(client: Client) -> None:
    found = subprocess.run(
        ["pgrep", "-f", f"rewriter serve --port {client.port}$"], capture_output=True, text=True, check=True
    )
    os.kill(int(found.stdout.split()[0]), signal.SIGTERM)
