"""Logs made by a real Postgres: a server of its own writes stderr, csvlog and jsonlog at once, and runs a mix of
parametrised statements and of a suite's own queries."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from rewriter.engines import embedded
from rewriter.errors import TargetError
from tpc.load import load, target_for
from tpc.source import Tell
from tpc.suites import Suite

FILES = ("postgresql.log", "postgresql.csv", "postgresql.json")
PREFIX = "%m [%p] %q%u@%d/%a "
SETTINGS = {
    "logging_collector": "on",
    "log_destination": "stderr,csvlog,jsonlog",
    "log_directory": "query_logs",
    "log_filename": FILES[0],
    "log_rotation_age": "0",
    "log_rotation_size": "0",
    "log_line_prefix": PREFIX,
    "log_connections": "on",
    "lc_messages": "C",
}
"""What the server is started with; ``log_min_duration_statement`` is set once the data is loaded."""

_WAIT = 20.0  # seconds for the collector to write what was logged

Values = Callable[[random.Random], tuple[int | str, ...]]

_SIZES = ("SM", "MED", "LG", "JUMBO", "WRAP")


def _brand(chance: random.Random) -> tuple[int | str, ...]:
    return f"Brand#{chance.randint(1, 5)}{chance.randint(1, 5)}", f"{chance.choice(_SIZES)} BOX"


@dataclass(frozen=True)
class Server:
    """``directory`` of its data, ``url`` of the database with the suite while the server runs; ``target`` starts it."""

    directory: Path
    url: str
    target: str
    has_auto_explain: bool


@dataclass(frozen=True)
class Call:
    """One execution as the server saw it; ``values`` None: the statement had literals."""

    name: str
    statement: str
    values: tuple[str, ...] | None


STATEMENTS: Mapping[str, Mapping[str, tuple[str, Values]]] = {
    "h": {
        "orders above their customer's average": (
            "SELECT o.o_orderkey FROM orders o WHERE o.o_orderdate = CAST(%s AS date) AND o.o_totalprice >"
            " (SELECT avg(i.o_totalprice) FROM orders i WHERE i.o_custkey = o.o_custkey)",
            lambda chance: (f"1995-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",),
        ),
        "customers without an order": (
            "SELECT c_custkey, c_name FROM customer\nWHERE c_custkey NOT IN (\n  SELECT o_custkey FROM orders\n"
            "  WHERE o_totalprice > CAST(%s AS numeric))\nORDER BY c_custkey",
            lambda chance: (chance.randint(1000, 9000),),
        ),
        "small quantities": (
            "SELECT sum(l_extendedprice) / 7.0 AS avg_yearly FROM lineitem, part WHERE p_partkey = l_partkey AND"
            " p_brand = %s AND p_container = %s AND l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE"
            " l_partkey = p_partkey)",
            _brand,
        ),
        "one customer's orders": (
            "SELECT o_orderkey, o_orderdate, o_totalprice FROM orders WHERE o_custkey = %s ORDER BY o_orderdate",
            lambda chance: (chance.randint(1, 1500),),
        ),
        "one order": ("SELECT * FROM orders WHERE o_orderkey = %s", lambda chance: (chance.randint(1, 60_000),)),
    },
    "ds": {
        "returns above the store's average": (
            "SELECT r.sr_ticket_number FROM store_returns r WHERE r.sr_store_sk = %s AND r.sr_return_amt >"
            " (SELECT 1.2 * avg(i.sr_return_amt) FROM store_returns i WHERE i.sr_store_sk = r.sr_store_sk)",
            lambda chance: (chance.randint(1, 5),),
        ),
        "customers without a catalog order": (
            "SELECT c_customer_sk FROM customer WHERE c_birth_year = %s AND c_customer_sk NOT IN (SELECT"
            " cs_bill_customer_sk FROM catalog_sales WHERE cs_bill_customer_sk IS NOT NULL)",
            lambda chance: (chance.randint(1940, 1990),),
        ),
        "one customer": (
            "SELECT * FROM customer WHERE c_customer_id = %s",
            lambda chance: (f"AAAAAAAA{chance.randrange(10_000):08}'",),
        ),
    },
}
"""By suite and name: the statement with ``%s`` for each parameter, and values for these."""


def server(suite: Suite, scale: float, directory: Path, tell: Tell) -> Server:
    """Start a server below ``directory`` with the suite loaded, and turn its query log on. Raises TargetError."""
    home = directory.resolve() / "server"
    embedded.start(home, SETTINGS)
    url = f"embedded:{home}"
    load(suite, scale, url, tell)
    address = embedded.start(home).replace("/postgres?", f"/{suite.label(scale)}?")
    with psycopg.connect(address, autocommit=True) as connection:
        has_auto_explain = False
        with contextlib.suppress(psycopg.Error):  # not every build has the module
            connection.execute("LOAD 'auto_explain'")
            has_auto_explain = True
        settings = {"log_min_duration_statement": "0"}
        if has_auto_explain:
            settings |= {"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": "0"}
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")
    return Server(home, address, target_for(suite, scale, url), has_auto_explain)


def run(
    server: Server, suite: Suite, texts: Mapping[str, str], rounds: int, *, timeout: float = 20.0, seed: int = 0
) -> list[Call]:
    """Run the suite's parametrised statements ``rounds`` times, and ``texts`` once a round; returns what the server has
    executed to its end. Every other round the statements are prepared by name."""
    chance = random.Random(seed)  # noqa: S311 - values of made-up queries
    calls: list[Call] = []
    with psycopg.connect(server.url, autocommit=True, application_name="mix") as connection:
        connection.execute(f"SET statement_timeout = {int(timeout * 1000)}")
        for number in range(rounds):
            for name, (statement, values) in STATEMENTS[suite.name].items():
                given = values(chance)
                with contextlib.suppress(psycopg.errors.QueryCanceled):
                    connection.execute(statement, given, prepare=number % 2 == 1)
                    seen = statement
                    for place in range(1, len(given) + 1):
                        seen = seen.replace("%s", f"${place}", 1)
                    calls.append(Call(name, seen, tuple(str(value) for value in given)))
            for name, text in texts.items():
                with contextlib.suppress(psycopg.errors.QueryCanceled):
                    connection.execute(text.encode(), prepare=False)
                    calls.append(Call(name, text, None))
    return calls


def collect(server: Server, directory: Path) -> list[Path]:
    """Copy the logs to ``directory`` once all is written. Raises TargetError when the collector does not keep up."""
    mark = f"end of the mix {time.time_ns()}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"SELECT '{mark}'".encode())
    paths: list[Path] = []
    for name in FILES:
        log = server.directory / SETTINGS["log_directory"] / name
        until = time.monotonic() + _WAIT
        while mark.encode() not in log.read_bytes()[-100_000:]:
            if time.monotonic() > until:
                raise TargetError(f"the server has not written {name} within {_WAIT:g} s")
            time.sleep(0.1)
        paths.append(Path(shutil.copyfile(log, directory / name)))
    return paths
