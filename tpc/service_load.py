"""``python -m tpc service-load``: what the service takes: lookups, submissions all at once, hours of work.

Everything is measured from another process over loopback. Lookups are compared with an endpoint that does nothing, by
rounds in turn, because a busy machine slows both alike.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from fastapi import FastAPI
from rich.table import Table

from rewriter.errors import UsageError
from rewriter.store import Store
from rewriter.store.jobs import Filter
from tpc.serving import KEY, Caller, Served, children, quantile, resident, serving, shop

ROUNDS = 10
A_ROUND = 200  # requests of each kind in one round
CLIENTS = 8  # connections at once, for requests a second
STATEMENT = (
    "SELECT s.id FROM sale s WHERE s.amount > (SELECT 1.2 * avg(t.amount) FROM sale t WHERE t.shop_id = s.shop_id)"
)
LONGEST = 1800.0  # seconds for all submitted jobs to end
EVERY = 5.0  # seconds between two looks at memory
Tell = Callable[[str], None]


def empty() -> FastAPI:
    """An application whose one endpoint takes a body and does nothing."""
    app = FastAPI()

    @app.post("/empty")
    def nothing(body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
        return {"found": False}

    return app


@dataclass
class Latencies:
    """Of one kind of request: seconds one after the other; and requests a second with several clients."""

    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        return {
            "p50_ms": 1000 * median(self.seconds),
            "p99_ms": 1000 * quantile(self.seconds, 0.99),
            "per_second": median(self.rates),
        }


@dataclass(frozen=True)
class Loaded:
    """What a run came to, as it is printed and written."""

    lookups: Mapping[str, Any]
    submissions: Mapping[str, Any]
    soak: Mapping[str, Any]


def measure(jobs: int, soak: float, workers: int, tell: Tell) -> Loaded:
    """Raises UsageError when the service does not start, or a job is lost or doubled."""
    with tempfile.TemporaryDirectory(prefix="rewriter-load-") as place:
        directory = Path(place)
        store_url = f"sqlite:///{directory / 'store.sqlite'}"
        environment = {
            "REWRITER_STORE": store_url,
            "REWRITER_TARGET": shop(directory),
            "REWRITER_ADMIN_KEY": KEY,
            "REWRITER_RATE": "100000000",
            "REWRITER_WORKERS": str(workers),
        }
        with (
            serving("api.app:create_app", environment, ready="/readyz") as service,
            serving("tpc.service_load:empty", {}, ready="/openapi.json") as nothing,
        ):
            tell("lookups")
            lookups = _lookups(service, nothing)
            tell(f"{jobs} submissions at once")
            submissions = _submissions(service, store_url, jobs)
            tell(f"{soak:.0f} s of work")
            soaked = _soak(service, soak) if soak > 0 else {}
    return Loaded(lookups, submissions, soaked)


def as_rich(found: Loaded) -> list[Table]:
    """The tables of a run."""
    lookups = Table(title="lookups, one after the other; and by 8 clients", title_justify="left")
    for name in ("request", "p50 ms", "p99 ms", "a second", "p50 / empty", "rate / empty"):
        lookups.add_column(name, justify="left" if name == "request" else "right")
    for name, one in found.lookups.items():
        ratios = [f"{one[key]:.2f}" if key in one else "" for key in ("p50_ratio", "rate_ratio")]
        lookups.add_row(name, f"{one['p50_ms']:.2f}", f"{one['p99_ms']:.2f}", f"{one['per_second']:.0f}", *ratios)
    tables = [lookups, _plain("submissions at once", found.submissions)]
    if found.soak:
        rows = {name: value for name, value in found.soak.items() if not isinstance(value, dict)}
        for who in ("api", "workers"):
            rows |= {f"{who} {name}": value for name, value in found.soak[who].items()}
        tables.append(_plain("memory at work", rows))
    return tables


def _plain(title: str, rows: Mapping[str, Any]) -> Table:
    table = Table("what", "value", title=title, title_justify="left")
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), f"{value:.2f}" if isinstance(value, float) else str(value))
    return table


def _lookups(service: Served, nothing: Served) -> dict[str, Any]:
    _approve(service)
    numbers = itertools.count(1)
    kinds: dict[str, tuple[Served, Callable[[], bytes], str]] = {
        "empty endpoint": (nothing, lambda: b'{"sql": "SELECT 1"}', "/empty"),
        "known statement": (service, lambda: _order(STATEMENT), "/v1/lookup"),
        "new statement": (service, lambda: _order(f"{STATEMENT} AND s.id > {next(numbers)}"), "/v1/lookup"),
    }
    found = {name: Latencies() for name in kinds}
    for _ in range(ROUNDS):
        for name, (server, body, path) in kinds.items():
            with contextlib.closing(server.caller()) as caller:
                _timed(caller, path, body())  # after a pause the first looks at everything again
                for _ in range(A_ROUND):
                    found[name].seconds.append(_timed(caller, path, body()))
            found[name].rates.append(_rate(server, path, body))
    result: dict[str, Any] = {name: latencies.summary() for name, latencies in found.items()}
    base = result["empty endpoint"]
    for name in ("known statement", "new statement"):
        result[name]["p50_ratio"] = result[name]["p50_ms"] / base["p50_ms"]
        result[name]["rate_ratio"] = result[name]["per_second"] / base["per_second"]
    return result


def _order(sql: str) -> bytes:
    return b'{"sql": "' + sql.encode() + b'"}'


def _approve(service: Served) -> None:
    """A rewrite of the statement, found by the service and approved."""
    with contextlib.closing(service.caller()) as caller:
        made = caller("POST", "/v1/rewrites", {"sql": STATEMENT, "effort": "quick"})[1]
        job = _ended(caller, "rewrites", made["id"])
        decision = {"decision": "approved", "mode": "on"}
        status, _ = caller("PUT", f"/v1/rewrites/{job['id']}/review", decision)
        answer = caller("POST", "/v1/lookup", {"sql": STATEMENT})[1]
    if status != 200 or not answer["found"]:
        raise UsageError("the statement of the benchmark was not rewritten", hint="is the service sound?")


def _timed(caller: Caller, path: str, body: bytes) -> float:
    start = time.perf_counter()
    status, _ = caller.raw("POST", path, body)
    seconds = time.perf_counter() - start
    if status != 200:
        raise UsageError(f"{path} answered {status}")
    return seconds


def _rate(server: Served, path: str, body: Callable[[], bytes]) -> float:
    """Requests a second with several clients."""

    def some(_: int) -> None:
        with contextlib.closing(server.caller()) as caller:
            for _ in range(A_ROUND // CLIENTS):
                _timed(caller, path, body())

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(some, range(CLIENTS)))
    return A_ROUND // CLIENTS * CLIENTS / (time.perf_counter() - start)


def _submissions(service: Served, store_url: str, jobs: int) -> dict[str, Any]:
    """So many verifications on one target at once: they queue for it, and none is lost or done twice."""
    ready = threading.Barrier(jobs)

    def submit(number: int) -> tuple[float, str]:
        order = {
            "original": f"SELECT id FROM sale WHERE id > {number}",
            "candidate": f"SELECT id FROM sale WHERE NOT id <= {number}",
            "target": "default",
            "seconds": 2,
        }
        with contextlib.closing(service.caller()) as caller:
            ready.wait(60)
            start = time.perf_counter()
            status, job = caller("POST", "/v1/verifications", order)
        if status not in (200, 202):
            raise UsageError(f"a submission was answered {status}")
        return time.perf_counter() - start, str(job["id"])

    start = time.perf_counter()
    with ThreadPoolExecutor(jobs) as threads:
        taken = list(threads.map(submit, range(jobs)))
    accepted = time.perf_counter() - start
    made = [identifier for _, identifier in taken]
    with contextlib.closing(service.caller()) as caller:
        for identifier in made:
            _ended(caller, "verifications", identifier)
    drained = time.perf_counter() - start
    with contextlib.closing(Store(store_url)) as store:
        records = store.jobs("default")
        states = Counter(job.state for job in records.listed(Filter("verification", limit=10 * jobs)))
        once = sum(
            [event.kind for event in records.events(one) if event.kind in ("done", "failed", "dead")] == ["done"]
            for one in made
        )
    if len(set(made)) != jobs or once != jobs or states != {"done": jobs}:
        raise UsageError(f"of {jobs} jobs {once} were recorded once; states: {dict(states)}")
    seconds = [one for one, _ in taken]
    return {
        "jobs": jobs,
        "recorded_once": once,
        "accepted_seconds": accepted,
        "accept_p50_ms": 1000 * median(seconds),
        "accept_p99_ms": 1000 * quantile(seconds, 0.99),
        "drained_seconds": drained,
    }


def _ended(caller: Caller, kind: str, identifier: str) -> Mapping[str, Any]:
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        found: dict[str, Any] = caller("GET", f"/v1/{kind}/{identifier}")[1]
        if found["state"] in ("done", "failed", "cancelled", "dead"):
            return found
        time.sleep(0.1)
    raise UsageError("a job did not end in time")


def _soak(service: Served, seconds: float) -> dict[str, Any]:
    """Memory of the API and its workers, while lookups are answered and jobs are done all the time."""
    stop = threading.Event()
    done: Counter[str] = Counter()
    threads = [
        threading.Thread(target=_keep_looking_up, args=(service, stop, done), daemon=True),
        threading.Thread(target=_keep_ordering, args=(service, stop, done), daemon=True),
    ]
    workers = children(service.process)
    samples: list[tuple[float, float, float]] = []
    for thread in threads:
        thread.start()
    start = time.monotonic()
    while (now := time.monotonic() - start) < seconds:
        samples.append((now, resident(service.process), sum(map(resident, workers))))
        time.sleep(EVERY)
    stop.set()
    for thread in threads:
        thread.join(LONGEST)
    return {"seconds": seconds, **done, "api": _trend(samples, 1), "workers": _trend(samples, 2)}


def _trend(samples: list[tuple[float, float, float]], which: int) -> dict[str, float]:
    """Megabytes at first and at last, and the slope of the second half: what a process needs at first is no leak."""
    late = samples[len(samples) // 2 :]
    slope = linear_regression([one[0] for one in late], [one[which] for one in late]).slope if len(late) > 1 else 0.0
    held = [one[which] for one in samples]
    return {"first_mb": held[0], "middle_mb": late[0][which], "last_mb": held[-1], "late_mb_a_minute": 60 * slope}


def _keep_looking_up(service: Served, stop: threading.Event, done: Counter[str]) -> None:
    with contextlib.closing(service.caller()) as caller:
        for number in itertools.count():
            if stop.is_set():
                return
            sql = STATEMENT if number % 2 else f"{STATEMENT} AND s.id > {number}"
            _timed(caller, "/v1/lookup", _order(sql))
            done["lookups"] += 1
            time.sleep(0.005)


def _keep_ordering(service: Served, stop: threading.Event, done: Counter[str]) -> None:
    with contextlib.closing(service.caller()) as caller:
        for number in _numbers(stop):
            sql = f"{STATEMENT} AND s.id > {1_000_000 + number}"
            made = caller("POST", "/v1/rewrites", {"sql": sql, "effort": "quick"})[1]
            _ended(caller, "rewrites", made["id"])
            caller("GET", f"/v1/rewrites/{made['id']}")
            caller("GET", "/v1/rewrites?limit=20")
            done["rewrites"] += 1


def _numbers(stop: threading.Event) -> Iterator[int]:
    return itertools.takewhile(lambda _: not stop.is_set(), itertools.count())
