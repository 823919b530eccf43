"""Passwords, keys and the literals of statements stay out of logs, metrics, traces, errors and the audit log."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rewriter.service.performing import Performer
from tests.serving import ADMIN, SECRET, House

HUSH = "hush4711"
STATEMENTS = [
    f"SELECT id FROM shop WHERE city = '{HUSH}'",
    f"SELECT id FROM shop WHERE city = '{HUSH}' AND",
    f"DROP TABLE {HUSH}",
    f"SELECT 1; SELECT '{HUSH}'",
    f"SELECT pg_read_file('{HUSH}')",
    f"SELECT CAST('{HUSH}' AS integer) AS a",
    f"SELECT '{HUSH}'::date AS a, id FROM shop",
]


def exercise(call: Any) -> list[str]:
    """Statements of every fate; the texts of the answers that are problems."""
    problems = []
    for sql in STATEMENTS:
        for path, body in (
            ("/v1/lookup", {"sql": sql}),
            ("/v1/rewrites", {"sql": sql, "effort": "quick", "timeout": 5}),
            ("/v1/verifications", {"original": sql, "candidate": sql, "target": "default", "seconds": 1}),
            ("/v1/rewrites", {"sql": {"not": sql}}),
            ("/v1/lookup", {"sql": sql, "parameters": [{"x": HUSH}]}),
        ):
            answer = call("POST", path, body)
            assert answer.status_code < 500
            if answer.status_code >= 400:
                problems.append(answer.text)
    url = f"postgresql://u:{HUSH}@localhost:1/{HUSH[:4]}"
    answer = call("POST", "/v1/targets", {"name": f"t{time.monotonic_ns()}", "url": url})
    assert answer.status_code == 201
    checked = call("POST", f"/v1/targets/{answer.json()['name']}/check")
    assert checked.status_code == 503
    for broken in (f"postgresql://u:{HUSH}@localhost:1/x?service={HUSH}", f"mysql://u:{HUSH}@h/x", f"env:{HUSH}"):
        problems.append(call("POST", "/v1/targets", {"name": "broken", "url": broken}).text)
    return [*problems, answer.text, checked.text, call("GET", "/v1/targets").text]


@pytest.fixture(scope="module")
def told(house: House) -> list[str]:
    return exercise(lambda method, path, body=None: house.call(method, path, body))


def test_problems_and_targets_quote_neither_statements_nor_passwords(told: list[str]) -> None:
    assert len(told) > 20
    for text in told:
        assert HUSH not in text


def test_metrics_and_the_audit_log_quote_neither(house: House, told: list[str]) -> None:
    for path in ("/metrics", "/v1/audit?limit=500", "/v1/api-keys", "/v1/workers", "/openapi.json"):
        text = house.call("GET", path).text
        for secret in (HUSH, *(key.split("_")[2] for key in house.keys.values()), SECRET, "SELECT id"):
            assert secret not in text, path
    labels = set(re.findall(r'(\w+)="', house.call("GET", "/metrics").text))
    assert labels <= {"method", "route", "status", "le", "kind", "state", "outcome"}


def test_the_store_keeps_neither_keys_nor_passwords(house: House, told: list[str]) -> None:
    path = Path(house.settings.store_url.removeprefix("sqlite:///"))
    kept = b"".join(one.read_bytes() for one in path.parent.iterdir() if one.is_file())
    for key in house.keys.values():
        assert key.encode() not in kept
        assert key.split("_")[2].encode() not in kept
    assert f":{HUSH}@".encode() not in kept
    assert SECRET.encode() not in kept


def test_an_error_of_our_own_is_answered_and_logged_without_its_text(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"near SELECT '{HUSH}'")

    caplog.set_level(logging.DEBUG)
    with monkeypatch.context() as patch:
        patch.setattr(house.app.state.service.lookups, "answer", broken)
        answer = house.call("POST", "/v1/lookup", {"sql": "SELECT 1"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert HUSH not in answer.text
    assert HUSH not in caplog.text
    assert "RuntimeError" in caplog.text
    assert "broken" in caplog.text
    assert 'status="500"' in house.call("GET", "/metrics").text


def test_an_error_of_a_worker_is_told_and_logged_without_its_text(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"near SELECT '{HUSH}'")

    with monkeypatch.context() as patch:
        patch.setattr(Performer, "perform", broken)
        order = {"original": "SELECT 7 AS a", "candidate": "SELECT 7 AS a", "target": "default"}
        job = house.call("POST", "/v1/verifications", order, headers={"Prefer": "wait=30"}).json()
    assert job["state"] == "failed"
    assert job["problem"]["code"] == "internal"
    assert HUSH not in json.dumps(job) + caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.slow
def test_the_service_and_its_workers_log_neither(shop_url: str, tmp_path: Path) -> None:
    """The processes as people start them, with all that they print."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {
        "REWRITER_STORE": f"sqlite:///{tmp_path}/store.sqlite",
        "REWRITER_TARGET": shop_url,
        "REWRITER_ADMIN_KEY": ADMIN,
        "REWRITER_SECRET": SECRET,
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rewriter", "serve", "--port", str(port)],
            env={**os.environ, **own},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            client.headers["Authorization"] = f"Bearer {ADMIN}"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx2.HTTPError):
                    if client.get("/readyz").status_code == 200:
                        break
                time.sleep(0.2)
            exercise(lambda method, path, body=None: client.request(method, path, json=body))
            order = {"sql": STATEMENTS[0], "effort": "quick", "timeout": 5}
            done = client.post("/v1/rewrites", json=order, headers={"Prefer": "wait=60"})
            assert done.status_code == 200
            client.get("/v1/me", headers={"Authorization": f"Bearer rk_x_{HUSH}"})
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    text = (tmp_path / "log").read_text(errors="replace")
    for secret in (HUSH, ADMIN, ADMIN.split("_")[2], SECRET, "SELECT", "Traceback"):
        assert secret not in text


def test_traces_metrics_and_logs_of_telemetry_quote_neither(house: House) -> None:
    """FastAPI's own telemetry, switched on by providers that keep what they get."""
    spans, records, reader = InMemorySpanExporter(), InMemoryLogRecordExporter(), InMemoryMetricReader()
    tracer = TracerProvider()
    tracer.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(tracer)
    logger = LoggerProvider()
    logger.add_log_record_processor(SimpleLogRecordProcessor(records))
    _logs.set_logger_provider(logger)
    metrics.set_meter_provider(MeterProvider([reader]))
    try:
        exercise(lambda method, path, body=None: house.call(method, path, body))
        house.call("GET", "/v1/rewrites", params={"target": "none"}, headers={"Cookie": f"x={HUSH}"})
        kept = [json.loads(span.to_json()) for span in spans.get_finished_spans()]
        assert any(span["attributes"].get("http.route") == "/v1/lookup" for span in kept)
        text = json.dumps(kept) + str(reader.get_metrics_data())
        text += "".join(str(one.log_record.to_json()) for one in records.get_finished_logs())
        for secret in (HUSH, ADMIN, "SELECT", SECRET):
            assert secret not in text
        assert not records.get_finished_logs()
    finally:
        tracer.shutdown()
        logger.shutdown()
