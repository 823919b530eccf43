"""A process that is killed leaves no work behind on its targets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import psycopg
import pytest

from rewriter.engines import duckdb_child

pytestmark = pytest.mark.slow

ENDLESS = "SELECT count(*) FROM range(100000000000) a(x) WHERE (x * 7919) % 10007 = 11"
PROGRAM = """
import sys
from rewriter.engines import connect
from rewriter.engines.base import Limits
print("ready", flush=True)
connect(sys.argv[1]).run(sys.argv[2], Limits(seconds=600))
"""


def start(url: str, sql: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, url, sql], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_statement_on_postgres_ends_with_us(postgres_url: str) -> None:
    mark = f"orphan {os.getpid()}"
    sql = f"SELECT pg_sleep(600), '{mark}' AS mark"
    process = start(postgres_url, sql)
    with psycopg.connect(postgres_url, autocommit=True) as watcher:

        def running() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND state = 'active'"
            row = watcher.execute(query, (sql,)).fetchone()
            return bool(row and row[0])

        soon(running)
        kill(process)
        soon(lambda: not running())


def test_a_statement_on_duckdb_ends_with_us() -> None:
    process = start("duckdb://:memory:", ENDLESS)
    ours = psutil.Process(process.pid)
    soon(lambda: any(duckdb_child.__file__ in child.cmdline() for child in ours.children()))
    (child,) = ours.children()
    soon(lambda: sum(child.cpu_times()[:2]) > 1)  # it counts
    kill(process)
    soon(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
