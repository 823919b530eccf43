"""Where a registered target or a batch may lead, and what of the service's own secrets goes there."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewriter.engines.locators import postgres_parameters, without_credentials
from rewriter.errors import NotFound, RewriterError, TargetError, UsageError
from rewriter.service import targets
from rewriter.service.targets import check_url, inside, place_of, registered, url_of
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from tests.serving import SECRET, House

OPEN = Settings(private_targets=True)
PUBLIC = Settings(private_targets=False)

METADATA = [
    "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xa9.0xfe.0xa9.0xfe",
    "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]",
    "[fd20:ce::254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[::a9fe:a9fe]", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "224.0.0.1", "[ff02::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", METADATA)
def test_addresses_that_are_never_a_database_are_refused(host: str) -> None:
    with pytest.raises(UsageError):
        check_url(f"postgresql://u:p@{host}/db", OPEN)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0", "0.0.0.0", "10.0.0.1", "172.16.0.1",
        "192.168.1.1", "100.64.0.1", "[::1]", "[::]", "[::ffff:10.0.0.1]", "[fd00::1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "198.18.0.1", "192.0.2.1", "240.0.0.1",
    ],
)  # fmt: skip
def test_private_addresses_can_be_closed(host: str) -> None:
    with pytest.raises(UsageError):
        check_url(f"postgresql://u:p@{host}/db", PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/db?hostaddr=169.254.169.254",
        "postgresql://localhost/db?ho%73taddr=169.254.169.254",
        "postgresql://localhost,169.254.169.254/db",
        "postgresql://localhost/db?host=169.254.169.254",
        "postgresql://localhost/db?host=localhost,169.254.169.254",
        "postgresql:///db",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/db",
        "postgresql://@abstract/db?host=@x",
        "postgresql://localhost/db?service=other",
        "postgresql://localhost/db?servicefile=/tmp/x",
        "postgresql://localhost/db?passfile=/etc/passwd",
        "postgresql://localhost/db?sslkey=/etc/ssl/key.pem",
        "postgresql://localhost/db?sslcert=/etc/passwd",
        "postgresql://localhost/db?sslrootcert=/etc/passwd",
        "postgresql://localhost/db?sslcrldir=/etc",
        "postgresql://localhost/db?krbsrvname=x",
        "postgresql://localhost/db?replication=database",
        "postgresql://localhost/db?oauth_issuer=http://169.254.169.254/",
        "postgresql://localhost/db?no_such=1",
        "postgresql://localhost:x/db",
        "postgresql://localhost:1:2/db",
        "postgresql://[::1/db",
        "postgresql://local\0host/db",
        "postgresql://localhost/db\r\nhost=x",
        "postgres:localhost/db",
        "host=localhost dbname=db",
        "mysql://localhost/db",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "embedded:",
        "embedded:/tmp/x?dbname=y",
        "duckdb://:memory:",
        "duckdb:///etc/passwd",
        "duckdb:///../../etc/passwd",
        "/etc/passwd",
        "",
    ],
)
def test_urls_with_more_than_a_host_and_a_database_are_refused(url: str, tmp_path: Path) -> None:
    for settings in (OPEN, Settings(files=tmp_path)):
        with pytest.raises(RewriterError) as caught:
            check_url(url, settings)
        assert "169.254" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/db#&hostaddr=169.254.169.254",
        "postgresql://localhost/db#?hostaddr=169.254.169.254",
        "postgresql://localhost/db;hostaddr=169.254.169.254",
        "postgresql://localhost/host=169.254.169.254",
        "postgresql://localhost/db?dbname=host%3D169.254.169.254",
        "postgresql://localhost/db?options=-c%20search_path%3Dx%20hostaddr=1",
        "postgresql://u:p%40ss%26hostaddr=1.2.3.4@localhost/db",
    ],
)
def test_the_driver_reads_what_was_checked(url: str) -> None:
    """Whatever the text hides, libpq finds in the checked URL the address that was checked, once."""
    try:
        checked = check_url(url, OPEN)
    except UsageError:
        return
    found = postgres_parameters(checked)
    assert found["hostaddr"] in ("127.0.0.1", "::1")
    assert found["host"] == "localhost"
    given = postgres_parameters(url)
    assert {name: found[name] for name in given} == given


def test_a_name_that_means_another_address_later_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["93.184.216.34", "169.254.169.254", "169.254.169.254"])

    def resolve(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(targets.socket, "getaddrinfo", resolve)
    record = registered("x", "postgresql://u:p@rebinding.example/db", tenant="default", settings=PUBLIC, vault=VAULT)
    with pytest.raises(UsageError):  # every opening checks anew
        url_of(record, PUBLIC, VAULT)
    answers = iter(["93.184.216.34"])
    assert postgres_parameters(url_of(record, PUBLIC, VAULT))["hostaddr"] == "93.184.216.34"


VAULT = Vault(SECRET)


def test_a_name_with_one_bad_address_among_good_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, 1, 6, "", (one, port)) for one in ("93.184.216.34", "169.254.169.254")]

    monkeypatch.setattr(targets.socket, "getaddrinfo", resolve)
    with pytest.raises(UsageError):
        check_url("postgresql://two.example/db", OPEN)


@pytest.fixture
def trap() -> Iterator[tuple[int, list[bytes]]]:
    """A server that asks whoever comes for the password in clear text, as a stranger's would, and keeps the answer."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    first = connection.recv(4096)
                    while first[4:8] in (struct.pack("!I", 80877103), struct.pack("!I", 80877104)):  # TLS, GSS
                        connection.sendall(b"N")
                        first = connection.recv(4096)
                    heard.append(first)
                    connection.sendall(b"R" + struct.pack("!II", 8, 3))
                    heard.append(connection.recv(4096))
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], heard
    listener.close()


def test_a_strangers_server_gets_no_password_of_ours(
    trap: tuple[int, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, heard = trap
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:*:password-of-the-file\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSWORD", "password-of-the-environment")
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.setenv("PGUSER", "user-of-the-environment")
    for url in (f"postgresql://stranger@localhost:{port}/db", f"postgresql://stranger:own@localhost:{port}/db"):
        record = registered("x", url, tenant="default", settings=OPEN, vault=VAULT)
        with pytest.raises(TargetError), targets.opened(record, OPEN, VAULT):
            pass
    told = b"".join(heard)
    assert b"stranger" in told
    assert b"own" in told
    assert b"environment" not in told
    assert b"of-the-file" not in told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hush@h:1/d?password=hush2&sslpassword=hush3", "postgresql://h:1/d"),
        ("postgresql://u:hu/sh@h/d", "postgresql://(unreadable)"),
        ("postgresql://u:hu#sh@h/d", "postgresql://h/d"),
        ("postgresql://u:hu?sh@h/d", "postgresql://h/d"),
        ("postgresql://u:hu@sh@h/d", "postgresql://(unreadable)"),
        ("host=h password=hush", "(unknown)"),
        ("hush", "(unknown)"),
        ("sk-hush-1234", "(unknown)"),
        ("mysql://u:hush@h/d", "(unknown)"),
        ("duckdb:///data/x.duckdb", "duckdb:///data/x.duckdb"),
        ("embedded:?dbname=x", "embedded:?dbname=x"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_secret(url: str, shown: str) -> None:
    found = without_credentials(url)
    assert found == shown
    assert "hush" not in found
    if shown == "postgresql://(unreadable)" and "@sh" not in url:
        with pytest.raises(UsageError) as caught:
            place_of(url)
        assert "hu" not in str(caught.value)


def test_a_file_of_another_secret_is_not_shown_as_a_target(house: House) -> None:
    path = house.settings.credentials / "model_key"
    path.write_text("sk-hush-1234567890\n")
    answer = house.call("POST", "/v1/targets", {"name": "no-database", "url": f"file:{path}"})
    assert "hush" not in answer.text
    assert "sk-hush" not in house.call("GET", "/v1/targets").text + house.call("GET", "/v1/audit").text
    checked = house.call("POST", "/v1/targets/no-database/check")
    assert checked.status_code == 422
    assert "hush" not in checked.text


@pytest.mark.parametrize(
    "url",
    ["env:PATH", "env:REWRITER_SECRET", "env:REWRITER_ADMIN_KEY", "env:", "file:", "file:/etc/passwd",
     "file:../../etc/passwd", "file:a\0b", "file:" + "a" * 4000],
)  # fmt: skip
def test_references_reach_nothing_else(house: House, url: str) -> None:
    for reference in (url, url.replace("file:", f"file:{house.settings.credentials}/../")):
        answer = house.call("POST", "/v1/targets", {"name": "reaching", "url": reference})
        assert answer.status_code == 422, answer.text
        assert "root:" not in answer.text


@pytest.fixture
def logs(tmp_path: Path) -> Settings:
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "a.sql").write_text("SELECT 1;")
    (tmp_path / "logs-of-others").mkdir()
    (tmp_path / "logs-of-others" / "b.sql").write_text("SELECT 1;")
    (tmp_path / "logs" / "out").symlink_to(tmp_path / "logs-of-others")
    (tmp_path / "logs" / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "logs" / "deep" / "loop").symlink_to(tmp_path / "logs")
    return Settings(files=tmp_path / "logs")


@pytest.mark.parametrize(
    "path",
    ["..", "../logs-of-others/b.sql", "/etc/passwd", "passwd", "out", "out/b.sql", "deep/../../logs-of-others",
     "deep/loop/../out", "\0", "a" * 5000, "a/" * 3000, "none", "~root", "%2e%2e/x", "a.sql/x"],
)  # fmt: skip
def test_paths_lead_nowhere_else(logs: Settings, path: str) -> None:
    for form in (path, f"{logs.files}/{path}", f"/{path}", f"{logs.files}-of-others/b.sql"):
        with pytest.raises((UsageError, NotFound)) as caught:
            inside(form, logs)
        assert str(logs.files) not in str(caught.value)


def test_paths_below_are_found(logs: Settings) -> None:
    assert logs.files is not None
    for path in ("a.sql", "/a.sql", "deep/../a.sql", f"{logs.files}/a.sql", "deep/loop/a.sql"):
        assert inside(path, logs) == logs.files / "a.sql"


def finished(house: House, answer: object) -> dict[str, object]:
    identifier = answer.json()["id"]  # type: ignore[attr-defined]
    for _ in range(600):
        job = house.call("GET", f"/v1/batches/{identifier}").json()
        if job["state"] in ("done", "failed", "dead", "cancelled"):
            return dict(job)
        threading.Event().wait(0.1)
    raise AssertionError(job)


def test_links_in_a_folder_of_logs_are_not_followed_out_of_it(house: House, tmp_path: Path) -> None:
    folder = house.settings.files / "folder"
    folder.mkdir()
    (folder / "own.sql").write_text("SELECT count(*) FROM shop;\n")
    (tmp_path / "outside.sql").write_text("SELECT 'hush4711' AS a;\n")
    (folder / "outside.sql").symlink_to(tmp_path / "outside.sql")
    job = finished(house, house.call("POST", "/v1/batches", {"path": "folder"}))
    assert job["state"] == "done"
    assert "hush4711" not in json.dumps(job)
    assert "FROM shop" in json.dumps(job)


def test_hostile_uploads_end_with_a_clear_problem_or_nothing(house: House) -> None:
    uploads = {
        "half.gz": gzip.compress(b"SELECT 1;\n" * 1000)[:60],
        "nothing.gz": b"\x1f\x8b" + b"\0" * 40,
        "zeros.gz": gzip.compress(b"\0" * 3_000_000),
        "random.log": os.urandom(50_000),
        "no.zip": b"PK\x03\x04" + os.urandom(500),
        "no.xz": b"\xfd7zXZ\0" + os.urandom(100),
        "long.sql": b"SELECT '" + b"x" * 3_000_000 + b"';",
        "deep.sql": b"SELECT " + b"(" * 100_000 + b";",
        "nul.sql": b"SELECT 1\0;\0",
        "utf16.sql": "SELECT 1;".encode("utf-16"),
    }
    made = {
        name: house.call("POST", "/v1/batches/upload", content=body, params={"name": name})
        for name, body in uploads.items()
    }
    for name, answer in made.items():
        assert answer.status_code == 202, name
        job = finished(house, answer)
        assert job["state"] in ("done", "failed"), name
        problem = job["problem"]
        assert problem is None or problem["code"] != "internal", (name, problem)  # type: ignore[index]
        assert str(house.settings.state_directory) not in json.dumps(problem), name
    # What has been read is not kept.
    folder = house.settings.state_directory / "uploads"
    names = {house.store.jobs("default").find(answer.json()["id"]).request["upload"] for answer in made.values()}
    assert not names & {path.name for path in folder.iterdir()}
