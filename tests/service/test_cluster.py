"""Procrastinate workers on a Postgres store: every job once, whoever is killed."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable

import psycopg
import pytest

from rewriter.service.orders import RewriteOrder, VerificationOrder
from rewriter.store.jobs import DEAD, DONE, RUNNING, NewJob
from tests.processes import Installation, OwnPostgres, killed, until
from tests.shop import SLOW

pytest.importorskip("procrastinate")
from rewriter.service.cluster import announcing, prepare

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

Cluster = Callable[..., Installation]
DDL = "CREATE TABLE t (n integer NOT NULL, m integer)"


@pytest.fixture
def cluster(installations: Callable[..., Installation], own_postgres: OwnPostgres) -> Cluster:
    def make(target_url: str | None = None) -> Installation:
        url = own_postgres.database(f"cluster_{time.time_ns()}")
        one = installations(target_url, url, REWRITER_QUEUE="procrastinate")
        prepare(one.settings)
        one.store.announce = announcing(one.settings)
        one.jobs = one.store.jobs("default")
        return one

    return make


def verification(one: Installation, number: int) -> str:
    order = VerificationOrder(
        original=f"SELECT n FROM t WHERE n > {number} AND m IS NOT NULL",
        candidate=f"SELECT n FROM t WHERE m IS NOT NULL AND n > {number}",
        ddl=DDL,
        seconds=5,
    )
    return one.submit("verification", order, place=f"none-{number}").id


def announced(one: Installation) -> int:
    with psycopg.connect(one.settings.store_url) as connection:
        row = connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()
    assert row is not None
    return int(row[0])


def test_a_job_and_its_announcement_appear_together_or_not_at_all(cluster: Cluster) -> None:
    one = cluster()
    verification(one, 1)
    assert announced(one) == 1

    job = one.job(verification(one, 2))
    another = NewJob(job.kind, job.target, "none-3", job.actor, job.request, "another")
    with contextlib.suppress(RuntimeError), one.jobs.sessions() as session:
        one.jobs.add(session, another)
        raise RuntimeError("the transaction fails after all")
    assert announced(one) == 2
    assert sum(one.jobs.counts().values()) == 2


@pytest.mark.parametrize("number", [2, 4])
def test_workers_are_killed_at_random_and_the_store_is_restarted(
    cluster: Cluster, own_postgres: OwnPostgres, number: int
) -> None:
    one, chance = cluster(), random.Random(number)
    workers = [one.worker() for _ in range(number)]
    jobs = [verification(one, n) for n in range(24)]
    for turn in range(4):
        until(lambda: any(one.job(job).state == RUNNING for job in jobs) or all(one.job(job).ended for job in jobs))
        if turn == 2:
            own_postgres.restart(away=1.0)
        victim = chance.randrange(number)
        time.sleep(chance.uniform(0.0, 0.5))
        killed(workers[victim])
        workers[victim] = one.worker()
    one.ended(*jobs, seconds=240)
    for job in jobs:
        one.recorded_once(job)
    until(lambda: announced(one) == 0)


def test_on_one_place_jobs_follow_each_other(cluster: Cluster, own_shop: str) -> None:
    one = cluster(own_shop)
    one.worker(), one.worker()
    made = [
        one.submit("rewrite", RewriteOrder(sql=f"{SLOW} AND s.id > {n}", effort="quick", timeout=20)).id
        for n in range(3)
    ]
    one.ended(*made)
    spans = []
    for job in made:
        one.recorded_once(job)
        found = {event.kind: event.at for event in one.jobs.events(job)}
        spans.append((found[RUNNING], found[DONE]))
    spans.sort()
    assert all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(spans))


def test_what_was_given_up_is_worked_on_when_it_is_revived(cluster: Cluster) -> None:
    one = cluster()
    job = verification(one, 1)
    taken = one.store.queue().claim("somebody", 30, only=job)
    assert taken is not None
    one.store.queue().end(taken, DEAD, lambda _: {"problem": {"code": "store"}})
    one.worker("--kinds", "verification,batch")
    until(lambda: announced(one) == 0)  # the worker was told, and there was nothing to do
    one.jobs.revive(job)
    assert one.ended(job)[0].state == DONE
