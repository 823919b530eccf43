"""Fixtures that the whole suite shares: real engines, the shared data of the workplace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rewriter.engines import DuckDB, Postgres, embedded, scratch

settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """An embedded Postgres that all workers of a test run share."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"single-{os.getpid()}")
    return embedded.start(Path(tempfile.gettempdir()) / f"rewriter-tests-{run}")


@pytest.fixture(scope="session")
def postgres(postgres_url: str) -> Iterator[Postgres]:
    engine = Postgres(postgres_url)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def hunter() -> Iterator[DuckDB]:
    """An in-memory DuckDB for generated databases."""
    engine = scratch()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the repository; tests that need it are skipped without it."""
    place = Path(os.environ.get("REWRITER_SHARED") or Path(__file__).parents[2] / "shared")
    if not (place / "pairs").is_dir():
        pytest.skip(f"the shared data is not at {place.name}/ beside the repository (set REWRITER_SHARED)")
    return place


pytest_plugins = ["tests.shop", "tests.examples", "tests.processes"]
