"""The one list of settings. Each is an environment variable ``REWRITER_<NAME>``; ``docs/settings.md`` lists them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rewriter.errors import UsageError


def _home() -> Path:
    return Path.home() / ".local" / "share" / "rewriter"


class Settings(BaseSettings):
    """Settings with their defaults. ``Settings.load()`` reads them and raises UsageError naming a bad one."""

    model_config = SettingsConfigDict(env_prefix="REWRITER_", env_ignore_empty=True, extra="ignore")

    target: SecretStr | None = Field(None, description="URL of the target when a command or the service names none")
    store: SecretStr | None = Field(
        None,
        description="URL of the store: sqlite:///FILE or postgresql://...; default: a SQLite file in the user's home",
    )
    cache: Path | None = Field(
        None, description="directory for benchmark data and the embedded Postgres; default: the user's cache directory"
    )
    model_url: str | None = Field(
        None, description="address of an OpenAI-compatible endpoint, such as http://localhost:8000/v1"
    )
    model: str | None = Field(None, description="name of the model there; none: rules alone")
    model_key: SecretStr | None = Field(None, description="key for the endpoint")
    model_timeout: float = Field(180.0, gt=0, description="seconds that one answer of the model may take")
    model_seconds: float = Field(600.0, gt=0, description="seconds that one strategy may take for one query")
    model_tokens: int = Field(300_000, ge=0, description="tokens that one query may cost")
    model_cost: float = Field(1.0, ge=0, description="US dollars that one query may cost, where prices are given")
    model_day_tokens: int = Field(5_000_000, ge=0, description="tokens that all queries of a day may cost")
    model_day_cost: float = Field(20.0, ge=0, description="US dollars that all queries of a day may cost")
    model_prices: str = Field(
        "0,0,0", description="US dollars for a million tokens: prompt, cached prompt, completion, such as 2.5,1.25,10"
    )
    model_mask_names: bool = Field(False, description="replace names of tables and columns before anything is sent")
    model_selector: Path | None = Field(
        None,
        description="file of a trained selector of demonstrations (strategy llm_r2); default: the one of this package",
    )
    secret: SecretStr | None = Field(
        None,
        description="secret of the service, for sealing credentials and signing snapshots; default: made once and "
        "kept beside the store",
    )
    admin_key: SecretStr | None = Field(
        None, description="the first admin key of a new store; default: made at the first start and printed once"
    )
    workers: int = Field(1, ge=0, le=64, description="worker processes that the service starts beside itself")
    queue: Literal["local", "procrastinate"] = Field(
        "local",
        description="how workers hear of jobs: by looking (local), or through Procrastinate (store on Postgres)",
    )
    rate: int = Field(600, ge=1, description="requests a minute that a key may make, where it has no rate of its own")
    catalog_seconds: float = Field(
        1.0, ge=0, description="seconds for which a look at a target's catalog is good enough for a lookup"
    )
    files: Path | None = Field(
        None, description="directory whose logs and DuckDB files callers of the API may name; none: no files"
    )
    credentials: Path | None = Field(
        None, description="directory of files that hold URLs of targets, for references such as file:/run/secrets/db"
    )
    private_targets: bool = Field(True, description="targets registered through the API may have private addresses")
    upload_bytes: int = Field(256 * 1024 * 1024, ge=0, description="bytes that an uploaded log may have")
    oidc_issuer: str | None = Field(None, description="issuer whose bearer tokens the service accepts")
    oidc_audience: str | None = Field(None, description="audience that such tokens must be for")
    oidc_role_claim: str = Field("rewriter_role", description="claim that holds viewer, operator or admin")
    oidc_tenant_claim: str = Field("rewriter_tenant", description="claim that holds the tenant; absent: default")
    debug: bool = Field(False, description="show tracebacks of internal errors")

    @classmethod
    def load(cls) -> Settings:
        try:
            return cls()
        except ValidationError as error:
            names = ", ".join(f"REWRITER_{str(entry['loc'][0]).upper()}" for entry in error.errors())
            raise UsageError(f"unusable setting: {names}", hint="docs/settings.md lists the settings") from None

    @property
    def target_url(self) -> str | None:
        return self.target.get_secret_value() if self.target is not None else None

    @property
    def cache_directory(self) -> Path:
        """Where benchmark data and the embedded Postgres are kept; may not exist yet."""
        if self.cache is not None:
            return self.cache
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rewriter"

    @property
    def state_directory(self) -> Path:
        """Where the service keeps its secret and uploaded logs: beside a SQLite store, else in the user's home."""
        place = self.store_url.removeprefix("sqlite:///")
        return Path(place).parent if place != self.store_url else _home()

    @property
    def store_url(self) -> str:
        """The store's URL; the default file's directory is made when the store is opened."""
        if self.store is not None:
            return self.store.get_secret_value()
        return f"sqlite:///{_home() / 'store.sqlite'}"


def as_markdown() -> str:
    """The text of ``docs/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable; an empty one counts as not set.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "-" if field.default is None else str(field.default).lower()
        lines.append(f"| `REWRITER_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"
