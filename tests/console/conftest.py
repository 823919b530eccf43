"""The console on a real socket, over a store with something of everything in it, most of it hostile."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import duckdb
import pytest
import uvicorn

from api.access import new_key
from api.app import create_app
from rewriter.records import Report
from rewriter.report import verdict_to_json
from rewriter.service.orders import BatchOrder, RewriteOrder, VerificationOrder
from rewriter.service.performing import _recorded
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.jobs import DONE, FAILED, NewJob
from tests.examples import HOSTILE

ADMIN = "rk_admin_" + "0123456789abcdef" * 4
SQL = f"SELECT id FROM sale WHERE shop = '{HOSTILE.replace(chr(39), chr(39) * 2)}' ORDER BY id"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    raw: bytes

    @property
    def text(self) -> str:
        return self.raw.decode()


@dataclass
class Browser:
    """As much of a browser as forms need: cookies, and the token of the page it came from."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        kept = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, path, body, {**({"Cookie": kept} if kept else {}), **(headers or {})})
            answer = connection.getresponse()
            set_cookies = tuple(value for name, value in answer.getheaders() if name.lower() == "set-cookie")
            for one in set_cookies:
                name, _, value = one.partition(";")[0].partition("=")
                self.cookies[name] = value.strip('"')
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, set_cookies, answer.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self("GET", path, None, headers)

    def token(self, path: str = "/console/") -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.get(path).text)
        assert found is not None
        return found[1]

    def post(self, path: str, fields: Mapping[str, object] | None = None, *, token: str | None = None) -> Answer:
        """A form's POST, with a token of this session unless another one is given."""
        sent = {**(fields or {}), "token": self.token() if token is None else token}
        return self(
            "POST",
            path,
            urlencode(sent, doseq=True).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )

    def sign_in(self, key: str) -> Answer:
        return self.post("/console/sign-in", {"key": key}, token=self.token("/console/sign-in"))


@dataclass(frozen=True)
class Console:
    """``made``: ids of what the store was filled with, by name. ``keys``: by role."""

    port: int
    store: Store
    settings: Settings
    made: Mapping[str, str]
    keys: Mapping[str, str]

    def browser(self, role: str | None = None) -> Browser:
        browser = Browser(self.port)
        if role is not None:
            assert browser.sign_in(self.keys[role]).status == 303
        return browser


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[int]:
    """The application on a loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    place = tmp_path_factory.mktemp("console")
    with duckdb.connect(str(place / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE sale (id int PRIMARY KEY, shop text, amount decimal(8, 2))")
    settings = Settings(
        store=f"sqlite:///{place / 'store.sqlite'}",
        target=f"duckdb:///{place / 'shop.duckdb'}",
        admin_key=ADMIN,
        workers=0,
        rate=100_000,
        upload_bytes=10_000,
        catalog_seconds=60.0,
    )
    with served(settings) as port:
        store = Store(settings.store_url)
        keys = {"admin": ADMIN}
        for role in ("viewer", "operator"):
            keys[role], record = new_key("default", f"{role} {HOSTILE}", role, "a test")
            store.access().add_key(record)
        yield Console(port, store, settings, _filled(store), keys)
        store.close()


def example() -> Report:
    """The report of ``tests.examples``, whose fixture lives too short for a session."""
    from tests import examples

    made = examples.report
    return made.__wrapped__() if hasattr(made, "__wrapped__") else made._get_wrapped_function()()


def _filled(store: Store) -> dict[str, str]:
    """Jobs in all states, with reviews in all states."""
    report = example()
    made: dict[str, str] = {}
    for name, state in (
        ("waiting", None),
        ("other", None),
        ("approved", "approved"),
        ("rejected", "rejected"),
        ("disabled", "disabled"),
        ("invalid", "approved"),
        ("kept", None),
    ):
        told = report
        if name == "kept":
            from dataclasses import replace

            from rewriter.records import Decision

            told = replace(report, decision=Decision(None, f"kept: {HOSTILE}"), verdict=None, chosen_plan=None)
        made[name] = _rewritten(store, told, runs=100.0 if name != "disabled" else 0.0)
        if state is not None:
            actor = "client of app" if name == "disabled" else "someone"
            store.reviews("default").decide(made[name], actor, state=state, reason=HOSTILE, mode="on")
    store.reviews("default").mark(made["invalid"], currency="invalid", reason=f"the catalog changed {HOSTILE}")
    made["failed"] = _ended(store, "rewrite", RewriteOrder(sql=SQL, timeout=11).request(), FAILED)
    made["running"] = _running(store)
    verdict = report.decision.losers[0].verdict
    assert verdict is not None
    pair = VerificationOrder(original=SQL, candidate=f"SELECT 1 -- {HOSTILE}", target="default")
    made["verification"] = _ended(store, "verification", pair.request(), DONE, {"result": verdict_to_json(verdict)})
    chosen = [{"group": "g1", "calls": 3, "seconds": 4.5, "statement": SQL}]
    chosen += [{"group": "g2", "calls": 1, "seconds": 0.5, "statement": f"=1+1 {HOSTILE}"}]
    refused = [{"group": "g2", "calls": 1, "seconds": 0.5, "why": f"refused {HOSTILE}"}]
    counted = {"lines": 4, "groups": 2, "skipped": 0, "chosen": chosen, "refused": refused}
    log = BatchOrder(upload="x", name=f"{HOSTILE}.log").request()
    made["log"] = _ended(store, "batch", log, DONE, {"result": counted})
    made["queued"] = _submitted(store, "rewrite", RewriteOrder(sql=SQL, timeout=13).request())
    return made


def _submitted(store: Store, kind: str, request: dict[str, object]) -> str:
    job, _ = store.jobs("default").submit(NewJob(kind, "default", f"place {time.time()}", "admin", request, "0" * 64))
    return job.id


def _ended(
    store: Store, kind: str, request: dict[str, object], state: str, fields: Mapping[str, object] | None = None
) -> str:
    identifier = _submitted(store, kind, request)
    job = store.queue().claim("a test", 600.0, only=identifier)
    assert job is not None
    problem = {"problem": {"code": "execution-error", "detail": f"division by zero {HOSTILE}", "hint": HOSTILE}}
    store.queue().end(job, state, lambda _: fields if fields is not None else problem)
    return identifier


def _rewritten(store: Store, report: Report, runs: float) -> str:
    order = RewriteOrder(sql=SQL, runs_per_day=runs)
    identifier = _submitted(store, "rewrite", order.request())
    job = store.queue().claim("a test", 600.0, only=identifier)
    assert job is not None
    store.queue().end(job, DONE, lambda session: _recorded(session, job, order, report))
    return identifier


def _running(store: Store) -> str:
    identifier = _submitted(store, "rewrite", RewriteOrder(sql=SQL, timeout=12).request())
    job = store.queue().claim("a test", 6000.0, only=identifier)
    assert job is not None
    told = [("progress", {"stage": "candidates", "message": f"2 found {HOSTILE}", "done": 2, "total": 40})]
    for number, verdict in enumerate(("tested", "refuted", None)):
        body = {"candidate": f"r{number} {HOSTILE}", "source": HOSTILE, "rules": [HOSTILE], "rejected": verdict is None}
        told.append(("candidate", {**body, "verdict": verdict, "seconds": 0.1 * (number + 1), "stopped_after": None}))
    store.queue().tell(job, told)
    return identifier
