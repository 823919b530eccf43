"""Registered targets: from what an admin wrote to an open engine, and what a look at one tells."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewriter.catalog import Catalog
from rewriter.engines import connect, without_credentials
from rewriter.engines.base import Engine, Limits
from rewriter.engines.locators import POSTGRES, postgres_parameters, postgres_url
from rewriter.engines.plan_only import PlanOnly
from rewriter.errors import NotFound, RewriterError, TargetError, UsageError
from rewriter.service.currency import refresh
from rewriter.service.vault import Vault
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.tables import DEFAULT_TENANT
from rewriter.store.target_records import TargetRecord

LOOK = Limits(seconds=10.0, rows=1)
# Parameters of a libpq URI that only say how to reach a database. Others name files, services or commands of this host.
ALLOWED = frozenset(
    "host port dbname user password sslmode connect_timeout application_name target_session_attrs options".split()
)
# What libpq would otherwise add by itself, from this host's environment and files: the service's own passwords.
NOTHING_OF_OURS = {"password": "", "passfile": os.devnull, "sslcertmode": "disable", "gssencmode": "disable"}
# Where clouds tell a machine its credentials.
NEVER = tuple(
    ipaddress.ip_network(net)
    for net in "169.254.0.0/16 fe80::/10 fd00:ec2::/32 fd20:ce::/32 100.100.100.200 168.63.129.16 192.0.0.192".split()
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


@dataclass(frozen=True)
class Seen:
    """What a look at a target found. ``version``: what its ``version_query`` returned."""

    catalog: Catalog
    engine: str
    version: str


def registered(
    name: str, url: str, *, tenant: str, settings: Settings, vault: Vault, runs: bool = True
) -> TargetRecord:
    """The record of a target to be registered. ``url`` is a reference (env:NAME, file:PATH; the service's operator
    decides what these hold) or the URL itself, which is checked and sealed. Raises UsageError."""
    reference = sealed = None
    if url.startswith(("env:", "file:")):
        if tenant != DEFAULT_TENANT:
            raise UsageError("only the operator's own tenant refers to what the operator has set", hint="give the URL")
        reference = url
        resolved = _referenced(url, settings)
    else:
        resolved = url
        check_url(url, settings, tenant)
        sealed = vault.seal(url, f"{tenant}/{name}")
    shown = without_credentials(resolved)
    return TargetRecord(tenant, name, reference, sealed, shown, place_of(resolved), runs, enabled=True)


def url_of(record: TargetRecord, settings: Settings, vault: Vault) -> str:
    """The target's URL with its credentials. Raises UsageError."""
    if record.reference is not None:
        return _referenced(record.reference, settings)
    if record.sealed is None:
        raise UsageError(f"the target {record.name!r} has no URL", hint="register it anew")
    return check_url(vault.open(record.sealed, f"{record.tenant}/{record.name}"), settings, record.tenant)


@contextlib.contextmanager
def opened(record: TargetRecord, settings: Settings, vault: Vault) -> Iterator[Engine]:
    """The target's engine. Where its owner has not agreed to queries being run, it only plans. Raises TargetError,
    UsageError."""
    with contextlib.closing(connect(url_of(record, settings, vault))) as engine:
        yield engine if record.runs else PlanOnly(engine)


def found(store: Store, tenant: str, name: str) -> TargetRecord:
    """Raises NotFound."""
    record = store.targets(tenant).find(name)
    if record is None:
        raise NotFound("there is no such target", hint="GET /v1/targets lists them; an admin registers new ones")
    return record


def look(store: Store, record: TargetRecord, engine: Engine) -> Seen:
    """Read the target's catalog, remember what was found, and take back whatever rested on another catalog. Raises
    TargetError, StoreError."""
    version = version_of(engine)
    catalog = engine.catalog()
    refresh(store, record, catalog)
    # Last, so that whoever finds this catalog in the store finds the evidence held against it too.
    store.targets(record.tenant).checked(
        record.name, dialect=engine.dialect, engine=engine.name, catalog_hash=catalog.hash, catalog_version=version
    )
    return Seen(catalog, engine.name, version)


def version_of(engine: Engine) -> str:
    """What the catalog's version is now; empty where there is none to ask."""
    if not engine.version_query:
        return ""
    rows = engine.run(engine.version_query, LOOK).rows
    return str(rows[0][0]) if rows else ""


def check(store: Store, record: TargetRecord, settings: Settings, vault: Vault) -> Seen:
    """Open the target and look at it; a failure is remembered as well. Raises RewriterError."""
    try:
        with opened(record, settings, vault) as engine:
            return look(store, record, engine)
    except TargetError as error:
        store.targets(record.tenant).failed(record.name, error.message)
        raise


def place_of(url: str) -> str:
    """The same text for the same database, whatever user or name it is reached by. Raises UsageError."""
    if url.startswith(POSTGRES):
        found = postgres_parameters(url)
        where = f"{found.get('host') or found.get('hostaddr', '')}:{found.get('port') or 5432}"
        body = f"postgres {where}/{found.get('dbname') or found.get('user', '')}"
    else:
        body = url
    return hashlib.sha256(body.encode()).hexdigest()


def check_url(url: str, settings: Settings, tenant: str = DEFAULT_TENANT) -> str:
    """A URL that came through the API, made safe to connect to. Raises UsageError naming what is not allowed, and never
    the URL.

    It reaches Postgres over the network, with nothing but harmless parameters, and never an address that clouds keep
    for their metadata; or a DuckDB file below REWRITER_FILES.
    """
    if url.startswith("duckdb://"):
        return f"duckdb://{inside(url.removeprefix('duckdb://').partition('?')[0], settings, tenant)}"
    if not url.startswith(POSTGRES):
        raise UsageError("a target is postgresql://... or duckdb:///FILE", hint="or env:NAME, set by the operator")
    parameters = postgres_parameters(url)
    strange = sorted(parameters.keys() - ALLOWED)
    if strange:
        raise UsageError(
            f"a target's URL may not have the parameters {', '.join(strange)[:200]}",
            hint="let the operator name the whole URL by env:NAME",
        )
    host = parameters.get("host", "")
    if not host or host.startswith(("/", "@")) or "," in host:
        raise UsageError("a target's URL names one host", hint="sockets are for targets named by env:NAME")
    # The address that was checked is the one that is used: the name could mean another one by then.
    address = _check_host(host, int(parameters.get("port") or 5432), settings)
    return postgres_url({**NOTHING_OF_OURS, **parameters, "hostaddr": address})


def inside(path: str, settings: Settings, tenant: str = DEFAULT_TENANT) -> Path:
    """``path`` below REWRITER_FILES, links resolved. Raises UsageError."""
    if settings.files is None or tenant != DEFAULT_TENANT:
        raise UsageError("files of the server are not open to the API", hint="the operator can set REWRITER_FILES")
    root = settings.files.resolve()
    try:
        resolved = (root / path.lstrip("/")).resolve() if not path.startswith(str(root)) else Path(path).resolve()
        there = resolved.exists()
    except (OSError, ValueError):
        raise UsageError("this path cannot be read") from None
    if not resolved.is_relative_to(root):
        raise UsageError("this path lies outside of REWRITER_FILES")
    if not there:
        raise NotFound("there is no such file below REWRITER_FILES")
    return resolved


def _check_host(host: str, port: int, settings: Settings) -> str:
    """One address of the host, all of which may be used. Raises UsageError."""
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(entry[4][0]) for entry in entries]
    except (OSError, ValueError, OverflowError):
        raise UsageError("the target's host is not known") from None
    for one in (form for address in addresses for form in _forms(address)):
        if any(one.version == net.version and one in net for net in NEVER) or one.is_multicast:
            raise UsageError("the target's host has an address that is never a database")
        if not settings.private_targets and not one.is_global:
            raise UsageError(
                "the target's host has a private address", hint="the operator can set REWRITER_PRIVATE_TARGETS=true"
            )
    return str(addresses[0])


def _forms(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The address, or the IPv4 addresses that packets to it may end at."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    last = int(address) & 0xFFFFFFFF
    if address in NAT64 or (int(address) >> 32 == 0 and last > 1):  # the last: IPv4-compatible, RFC 4291
        return [address, ipaddress.IPv4Address(last)]
    return [address, address.sixtofour] if address.sixtofour is not None else [address]


def _referenced(reference: str, settings: Settings) -> str:
    """The URL that a reference names. Raises UsageError."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        # Only variables meant for it: others hold secrets of other kinds, which an error message could show.
        if name != "REWRITER_TARGET" and not name.startswith("REWRITER_TARGET_"):
            raise UsageError("a target's variable is REWRITER_TARGET or begins with REWRITER_TARGET_")
        value = settings.target_url if name == "REWRITER_TARGET" else os.environ.get(name)
        if not value:
            raise UsageError(f"the service's environment has no {name}")
        return value
    try:
        path = Path(name).resolve()
        if settings.credentials is None or not path.is_relative_to(settings.credentials.resolve()):
            raise UsageError("a target's file lies below REWRITER_CREDENTIALS", hint="the operator can set it")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise UsageError("the target's file cannot be read") from None


def reason_of(error: RewriterError) -> dict[str, str]:
    """A job's problem."""
    return {"code": error.code, "detail": error.message, "hint": error.hint}
