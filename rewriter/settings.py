"""The one list of settings. Each is an environment variable ``REWRITER_<NAME>``; ``docs/settings.md`` lists them."""

from __future__ import annotations

import os
from pathlib import Path

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
    debug: bool = Field(False, description="show tracebacks of internal errors")

    @classmethod
    def load(cls) -> Settings:
        try:
            return cls()  # type: ignore[call-arg]  # fields come from the environment
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
