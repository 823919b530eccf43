"""Whatever dies, each job comes to one recorded result or to a clear failure: on real processes, killed for real."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from rewriter.engines import duckdb_child
from rewriter.llm.scripted import Line, ScriptedServer
from rewriter.service.orders import BatchOrder, RewriteOrder, VerificationOrder
from rewriter.store.jobs import Filter, JobRecord
from tests.processes import Installation, OwnPostgres, killed, until
from tests.shop import SLOW

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

Installations = Callable[..., Installation]
NUMBERS = iter(range(1, 10_000))
GROUPED = (
    "WITH m AS (SELECT t.shop_id, :num_1 * AVG(t.amount) AS lim FROM sale t GROUP BY t.shop_id)"
    " SELECT s.id FROM sale s JOIN m ON m.shop_id = s.shop_id WHERE s.amount > m.lim"
)


def slow_statement() -> str:
    """Another one at each call."""
    return f"{SLOW} AND s.id > {next(NUMBERS)}"


def ordered(one: Installation, sql: str | None = None, **more: object) -> JobRecord:
    return one.submit("rewrite", RewriteOrder(sql=sql or slow_statement(), effort="quick", timeout=20, **more))


def process_of(job: JobRecord) -> int:
    assert job.worker is not None
    return int(job.worker.rsplit(":", 2)[1])


def kill_worker_of(job: JobRecord) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_of(job), signal.SIGKILL)


def events(one: Installation, job: JobRecord) -> str:
    return json.dumps([[event.kind, dict(event.body)] for event in one.jobs.events(job.id)])


class Crew:
    """Two workers, one of which has nothing to do: there is one place. The dead are replaced."""

    def __init__(self, one: Installation) -> None:
        self.one = one
        self.workers: list[subprocess.Popen[bytes]] = []

    def complete(self) -> None:
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            self.workers.append(self.one.worker())


@pytest.fixture(scope="module")
def crew(own_shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    place = tmp_path_factory.mktemp("crew")
    files = place / "files"
    files.mkdir()
    one = Installation(place, f"sqlite:///{place / 'store.sqlite'}", own_shop, REWRITER_FILES=str(files))
    yield Crew(one)
    one.close()


@pytest.mark.parametrize("stage", ["start", "parse", "candidates", "measure", "verify", "done"])
def test_a_worker_is_killed(crew: Crew, stage: str) -> None:
    crew.complete()
    one = crew.one
    before = len(one.store.history(1000))
    job = ordered(one)
    if stage == "done":
        until(lambda: one.job(job.id).ended, pause=0.005)
    else:
        assert not one.reaches(job.id, stage).ended, "it was too fast to be killed there"
    worked_on = until(lambda: one.job(job.id) if one.job(job.id).worker else None)
    kill_worker_of(worked_on)
    one.ended(job.id)
    one.recorded_once(job.id)
    one.counted(before + 1)
    assert one.job(job.id).attempt == (1 if stage == "done" else 2)


def test_a_worker_is_killed_near_the_end_again_and_again(crew: Crew) -> None:
    """The instant of the end cannot be met by looking; so it is tried at many instants around it."""
    one = crew.one
    jobs = [
        one.submit(
            "verification",
            VerificationOrder(
                original="SELECT n FROM t", candidate=f"SELECT n FROM t WHERE n < {n}", ddl="CREATE TABLE t (n integer)"
            ),
        )
        for n in range(1, 9)
    ]
    for number, job in enumerate(jobs):
        crew.complete()
        running = until(lambda job=job: one.job(job.id) if one.job(job.id).worker else None, pause=0.005)
        until(lambda job=job: one.job(job.id).stage == "verify" or one.job(job.id).ended, pause=0.005)
        time.sleep(0.02 * number)
        kill_worker_of(running)
    crew.complete()
    for job in one.ended(*(job.id for job in jobs)):
        one.recorded_once(job.id)
        assert job.result is not None


def test_a_batch_is_killed_while_its_log_is_read_and_while_its_rewrites_run(crew: Crew) -> None:
    crew.complete()
    one = crew.one
    before = len(one.store.history(1000))
    assert one.settings.files is not None
    statements = [
        slow_statement().replace("s.id FROM", f"s.id, {letter!r} AS mark FROM" if letter else "s.id FROM")
        for letter in ("", "a", "b")
    ]
    statements[1] = f"SELECT s.amount FROM sale s WHERE s.id = {next(NUMBERS)}"
    (one.settings.files / "log.sql").write_text(";\n".join(statements) + ";\n", encoding="utf-8")
    batch = one.submit("batch", BatchOrder(path="log.sql", top=5, timeout=20))
    one.reaches(batch.id, "read")
    kill_worker_of(until(lambda: one.job(batch.id) if one.job(batch.id).worker else None))
    (parent,) = one.ended(batch.id)
    children = one.jobs.listed(Filter("rewrite", batch=batch.id))
    assert parent.state == "done", parent.problem
    assert parent.result is not None
    assert len(children) == len(parent.result["chosen"]) - len(parent.result["refused"]) >= 2
    crew.complete()
    running = until(lambda: next((c for c in one.jobs.listed(Filter("rewrite", "running", batch=batch.id))), None))
    kill_worker_of(running)
    for child in one.ended(*(child.id for child in children)):
        one.recorded_once(child.id)
    one.counted(before + len(children))
    assert one.jobs.counts(batch.id) == {"done": len(children)}


def test_the_target_goes_away_and_comes_back(crew: Crew, own_postgres: OwnPostgres) -> None:
    crew.complete()
    one = crew.one
    job, other = ordered(one), ordered(one)
    one.reaches(job.id, "candidates")
    own_postgres.crash()
    waiting = until(lambda: one.job(job.id) if one.job(job.id).state == "queued" else None)
    assert waiting.problem is not None
    assert waiting.problem["code"].startswith("target-")
    own_postgres.start()
    for found in one.ended(job.id, other.id):
        one.recorded_once(found.id)


def test_a_duckdb_process_is_killed(crew: Crew) -> None:
    crew.complete()
    one = crew.one
    job = ordered(one)
    running = one.reaches(job.id, "candidates")
    children = [
        child
        for child in psutil.Process(process_of(running)).children(recursive=True)
        if duckdb_child.__file__ in child.cmdline()
    ]
    assert children, "no DuckDB process was found"
    for child in children:
        child.kill()
    (found,) = one.ended(job.id)
    one.recorded_once(found.id)


def test_the_service_is_killed(installations: Installations, own_shop: str) -> None:
    one = installations(own_shop)
    service = one.service()
    orders = [{"sql": slow_statement(), "effort": "quick", "timeout": 20} for _ in range(2)]
    keys = [{"Idempotency-Key": f"key {number}"} for number in range(2)]
    made = [one.call("POST", "/v1/rewrites", order, **key)[1]["id"] for order, key in zip(orders, keys, strict=True)]
    one.reaches(made[0], "candidates")
    workers = psutil.Process(service.pid).children()
    killed(service)
    # Its worker ends with it, or two would soon work side by side.
    psutil.wait_procs(workers, timeout=30)
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
    one.service()
    again = [one.call("POST", "/v1/rewrites", order, **key)[1]["id"] for order, key in zip(orders, keys, strict=True)]
    assert again == made
    for job in one.ended(*made):
        one.recorded_once(job.id)
    one.counted(2)


def test_the_store_goes_away_and_comes_back(
    installations: Installations, own_postgres: OwnPostgres, shop_url: str
) -> None:
    one = installations(shop_url, own_postgres.database("store_of_one"))
    one.service()
    sql = slow_statement()
    job = one.call("POST", "/v1/rewrites", {"sql": sql, "effort": "quick", "timeout": 20})[1]["id"]
    one.reaches(job, "candidates")
    own_postgres.crash()
    refused, problem = one.call("POST", "/v1/rewrites", {"sql": slow_statement()})
    assert (refused, problem["type"].split(":")[-1]) == (503, "store")
    assert one.call("GET", "/healthz")[0] == 200
    time.sleep(4)
    own_postgres.start()
    (found,) = one.ended(job)
    one.recorded_once(job)
    one.counted(1)
    assert found.attempt == 1, "what was worked out while the store was away is not thrown away"
    assert one.call("POST", "/v1/rewrites", {"sql": sql, "effort": "quick", "timeout": 20})[1]["id"] == job


@contextlib.contextmanager
def full(one: Installation, worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """The worker can write nothing beyond the first bytes of a file, which is what a full disk is to the store, without
    being root: its log still takes a few lines."""
    limits = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, limits)


def test_the_disk_is_full_for_a_while(installations: Installations, own_shop: str) -> None:
    one = installations(own_shop)
    worker = one.worker()
    job = ordered(one)
    one.reaches(job.id, "measure")
    with full(one, worker):
        until(lambda: "waits for the store" in one.log.read_text())
        assert one.job(job.id).state == "running"
    (found,) = one.ended(job.id)
    one.recorded_once(job.id)
    one.counted(1)
    assert found.attempt == 1


def test_a_model_that_hangs_or_refuses_or_is_gone_costs_time_and_no_result(
    installations: Installations, own_shop: str
) -> None:
    server = ScriptedServer([Line(delay=30.0)])
    try:
        one = installations(
            own_shop,
            REWRITER_MODEL="scripted",
            REWRITER_MODEL_URL=server.url,
            REWRITER_MODEL_TIMEOUT="1",
            REWRITER_MODEL_SECONDS="3",
        )
        one.worker()
        for number, state in enumerate(("hanging", "busy", "gone")):
            if state == "busy":
                server.lines = [Line(status=429, retry_after=60)]
            if state == "gone":
                server.close()
            job = ordered(one, strategies=["plain"])
            one.ended(job.id)
            one.recorded_once(job.id)
            report = one.store.rewrite(str(one.job(job.id).rewrite_id))
            assert report is not None
            assert report["chosen"] is not None, "the rules alone find a rewrite"
            assert '"model"' in events(one, job), f"the reader is not told that the model was {state}"
            one.counted(number + 1)
    finally:
        with contextlib.suppress(OSError):
            server.close()


def answer(sql: str) -> str:
    return json.dumps({"analysis": "as scripted", "rules": ["Group first."], "sql": sql})


def test_a_model_is_not_paid_again_for_what_it_has_answered(installations: Installations, own_shop: str) -> None:
    server = ScriptedServer([Line(answer(GROUPED), delay=1.0)])
    try:
        one = installations(own_shop, REWRITER_MODEL="scripted", REWRITER_MODEL_URL=server.url)
        one.store.models().keep_capabilities(server.url, "scripted", {})
        one.worker()
        one.worker()
        job = ordered(one, strategies=["plain"])
        # Once while the second question is being answered, once when all have been answered.
        until(lambda: len(server.requests) >= 2)
        in_flight = server.requests[-1]
        kill_worker_of(one.job(job.id))
        until(lambda: one.job(job.id).attempt == 2)
        one.worker()
        one.reaches(job.id, "measure")
        kill_worker_of(one.job(job.id))
        one.ended(job.id)
        one.recorded_once(job.id)
        asked = Counter(server.requests)
        assert len(asked) >= 2
        # The answer to the one that was on its way may never have arrived.
        twice = {request for request, times in asked.items() if times > 1}
        assert twice <= {in_flight}
        assert asked[in_flight] <= 2
    finally:
        server.close()
