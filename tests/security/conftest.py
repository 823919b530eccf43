"""One running service for this folder, with keys of every role in two tenants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rewriter.settings import Settings
from tests.issuer import AUDIENCE, Issuer, issuing
from tests.serving import ADMIN, RATE, SECRET, House, served


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with issuing() as one:
        yield one


@pytest.fixture(scope="session")
def house(shop_url: str, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    place = tmp_path_factory.mktemp("house")
    for folder in ("logs", "credentials"):
        (place / folder).mkdir()
    settings = Settings(
        store=f"sqlite:///{place}/state/store.sqlite",
        target=shop_url,
        admin_key=ADMIN,
        secret=SECRET,
        workers=0,
        rate=RATE,
        files=place / "logs",
        credentials=place / "credentials",
        oidc_issuer=issuer.url,
        oidc_audience=AUDIENCE,
        upload_bytes=4 * 1024 * 1024,
    )
    with served(settings) as one:
        yield one
