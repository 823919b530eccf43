"""Jobs on SQLite and on Postgres: claimed by one, taken back from the dead, ended once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from rewriter.service.worker import alive, machine
from rewriter.store import Store, jobs
from rewriter.store.jobs import CANCELLED, DEAD, DONE, FAILED, QUEUED, RUNNING, JobRecord, NewJob, Queue

NAMES = iter(range(1000))


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    else:
        server: str = request.getfixturevalue("postgres_url")
        name = f"jobs_{time.time_ns()}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = server.replace("/postgres?", f"/{name}?")
    opened = Store(url)
    yield opened
    opened.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass on the monotonic clock of this process."""
    passed = [0.0]
    real = time.monotonic
    monkeypatch.setattr(jobs.time, "monotonic", lambda: real() + passed[0])

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    return go_on


def ordered(store: Store, place: str = "here", batch: str | None = None) -> JobRecord:
    new = NewJob("rewrite", "default", place, "me", {"sql": "SELECT 1"}, f"{next(NAMES)}", batch=batch)
    return store.jobs("default").submit(new)[0]


def state(store: Store, job: JobRecord) -> str:
    found = store.jobs("default").find(job.id)
    assert found is not None
    return found.state


def claimed(queue: Queue, worker: str = "a") -> JobRecord:
    job = queue.claim(worker, 30)
    assert job is not None
    return job


def watched(queue: Queue, clock: Callable[[float], None], seconds: float = 31.0) -> None:
    """Somebody looks at the leases all the time, for so many seconds."""
    queue.recover(30)
    for _ in range(int(seconds) // 10 + 1):
        clock(10)
        queue.recover(30)


def test_of_many_workers_each_job_is_claimed_by_one(store: Store) -> None:
    made = {ordered(store, f"place {number}").id for number in range(12)}
    found: list[str] = []

    def work(name: str) -> None:
        queue = store.queue()
        while (job := queue.claim(name, 30)) is not None:
            found.append(job.id)
            assert queue.end(job, DONE)

    threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(made)


def test_on_one_place_one_job_runs_at_a_time(store: Store) -> None:
    queue = store.queue()
    ordered(store), ordered(store)
    first = claimed(queue)
    assert queue.claim("b", 30) is None
    queue.end(first, DONE)
    assert queue.claim("b", 30) is not None


def test_a_job_whose_worker_falls_silent_is_taken_back(store: Store, clock: Callable[[float], None]) -> None:
    job = ordered(store)
    lost, queue = claimed(store.queue()), store.queue()
    watched(queue, clock)
    assert state(store, job) == QUEUED
    assert claimed(queue, "b").attempt == 2
    assert not store.queue().end(lost, DONE, lambda _: {"result": {"by": "the lost one"}})
    assert not store.queue().beat(lost, 30)
    store.queue().tell(lost, [("progress", {"stage": "late"})])
    found = store.jobs("default").find(job.id)
    assert found is not None
    assert (found.state, found.result, found.stage) == (RUNNING, None, "start")


def test_a_worker_that_beats_keeps_its_job_whatever_the_clocks_say(
    store: Store, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ordered(store)
    queue, other = store.queue(), store.queue()
    mine = claimed(queue)
    real = time.time
    for jump in (0.0, 86400.0, -86400.0, 86400.0):
        # The clock of the worker, or that of the one who watches it, is set forward or back by a day.
        monkeypatch.setattr(jobs.time, "time", lambda jump=jump: real() + jump)
        assert queue.beat(mine, 30)
        other.recover(30)
        clock(10)
        other.recover(30)
    assert state(store, job) == RUNNING
    assert queue.end(mine, DONE)


def test_a_silent_worker_is_found_out_although_the_clock_was_set_back(
    store: Store, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ordered(store)
    claimed(store.queue())
    real = time.time
    monkeypatch.setattr(jobs.time, "time", lambda: real() - 86400)
    watched(store.queue(), clock)
    assert state(store, job) == QUEUED


def test_who_could_not_look_has_seen_no_silence(store: Store, clock: Callable[[float], None]) -> None:
    job = ordered(store)
    claimed(store.queue())
    queue = store.queue()
    queue.recover(30)
    clock(300)  # the store was away
    queue.recover(30)
    assert state(store, job) == RUNNING


def test_a_wait_does_not_grow_by_a_clock_that_is_set_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ordered(store)
    queue = store.queue()
    assert queue.release(claimed(queue), wait=5, problem={"code": "target-lost"})
    assert queue.claim("a", 30) is None
    real = time.time
    monkeypatch.setattr(jobs.time, "time", lambda: real() - 86400)
    assert queue.claim("a", 30) is not None


def test_a_job_that_loses_its_workers_is_given_up_and_can_be_revived(
    store: Store, clock: Callable[[float], None]
) -> None:
    job = ordered(store)
    queue = store.queue()
    lost = []
    for _ in range(jobs.CRASHES):
        lost.append(claimed(queue))
        watched(queue, clock)
    found = store.jobs("default").find(job.id)
    assert found is not None
    assert found.state == DEAD
    assert found.problem is not None
    assert found.problem["code"] == "worker-lost"
    assert [one.id for one in store.jobs("default").listed(jobs.Filter(state=DEAD))] == [job.id]
    revived = store.jobs("default").revive(job.id)
    assert revived is not None
    assert (revived.state, revived.problem) == (QUEUED, None)
    again = claimed(queue, "b")
    # Its attempts are counted anew: a worker that only seemed to be dead must not be taken for the new one.
    assert lost[0].attempt == again.attempt
    assert not queue.end(lost[0], DONE)
    assert queue.end(again, DONE)


def test_the_outcome_is_written_once_and_with_the_end(store: Store) -> None:
    job = ordered(store)
    queue = store.queue()
    mine = claimed(queue)

    def fails(_: object) -> dict[str, object]:
        raise ValueError("no room for the report")

    with pytest.raises(ValueError, match="no room"):
        queue.end(mine, DONE, fails)
    assert state(store, job) == RUNNING
    assert queue.end(mine, DONE, lambda _: {"result": {"n": 1}})
    assert not queue.end(mine, DONE, lambda _: {"result": {"n": 2}})
    found = store.jobs("default").find(job.id)
    assert found is not None
    assert found.result == {"n": 1}
    assert [event.kind for event in store.jobs("default").events(job.id)].count(DONE) == 1


def test_cancelling_ends_what_waits_and_marks_what_runs(store: Store) -> None:
    queue, ours = store.queue(), store.jobs("default")
    batch = ordered(store, "elsewhere")
    running, waiting = ordered(store, batch=batch.id), ordered(store, batch=batch.id)
    assert claimed(queue).id == batch.id
    assert queue.end(batch_of(store, batch), DONE)
    mine = claimed(queue)
    assert mine.id == running.id
    ours.cancel(batch.id)
    assert state(store, waiting) == CANCELLED
    assert not queue.beat(mine, 30)
    assert not queue.end(mine, DONE)  # it was to stop before it was done
    assert queue.end(mine, CANCELLED)
    assert state(store, batch) == DONE
    ours.revive(batch.id)
    assert (state(store, running), state(store, waiting)) == (QUEUED, QUEUED)


def batch_of(store: Store, job: JobRecord) -> JobRecord:
    found = store.jobs("default").find(job.id)
    assert found is not None
    return found


def test_a_batch_that_was_cancelled_while_it_ran_orders_nothing(store: Store) -> None:
    queue, ours = store.queue(), store.jobs("default")
    batch = ordered(store)
    mine = claimed(queue)
    ours.cancel(batch.id)
    child = NewJob("rewrite", "default", "here", "me", {}, "x", batch=batch.id)

    def ending(session: object) -> dict[str, object]:
        ours.add(session, child)  # type: ignore[arg-type]
        return {"result": {}}

    assert not queue.end(mine, DONE, ending)
    assert queue.end(mine, CANCELLED)
    assert ours.counts(batch.id) == {}


def test_what_was_to_stop_is_not_put_back(store: Store) -> None:
    job = ordered(store)
    queue = store.queue()
    mine = claimed(queue)
    store.jobs("default").cancel(job.id)
    assert queue.release(mine, wait=1, problem={"code": "target-lost"})
    assert state(store, job) == CANCELLED


def test_jobs_of_dead_processes_of_this_machine_are_taken_back_at_once(store: Store) -> None:
    dead, living, strange = (ordered(store, name) for name in ("one", "two", "three"))
    queue = store.queue()
    assert claimed(queue, f"{machine()}999999999:abc").id == dead.id
    assert claimed(queue, f"{machine()}{__import__('os').getpid()}:abc").id == living.id
    assert claimed(queue, "anotherhost:0:999999999:abc").id == strange.id
    assert queue.abandoned(machine(), alive) == 1
    assert [state(store, job) for job in (dead, living, strange)] == [QUEUED, RUNNING, RUNNING]


def test_a_failed_job_keeps_its_reason(store: Store) -> None:
    job = ordered(store)
    queue = store.queue()
    assert queue.end(claimed(queue), FAILED, lambda _: {"problem": {"code": "usage", "detail": "no"}})
    found = store.jobs("default").find(job.id)
    assert found is not None
    assert found.problem == {"code": "usage", "detail": "no"}
