"""What callers order: a rewrite, a verification, a batch. The same models are the wire format and the job's request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rewriter.pipeline import EFFORTS, Policy
from rewriter.records import VerdictKind

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$", examples=["orders-production"])]
Statement = Annotated[str, Field(min_length=1, max_length=262_144, examples=["SELECT count(*) FROM orders"])]
Strategy = Literal["plain", "genrewrite", "lithe", "llm_r2"]
ParameterValue = (
    None | bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=65_536)]
)


class Order(BaseModel):
    """What all orders share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def request(self) -> dict[str, Any]:
        """As the job's request."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """SHA-256 of the whole order: two orders with the same one ask for the same."""
        return hashlib.sha256(json.dumps(self.request(), sort_keys=True).encode()).hexdigest()


class RewriteOrder(Order):
    """A statement to rewrite for a target."""

    sql: Statement = Field(description="exactly one SELECT or set operation")
    target: Name = Field("default", description="name of a registered target")
    require: Literal["proved", "bounded", "tested"] = Field("tested", description="weakest verdict accepted")
    effort: Literal["quick", "normal", "thorough"] = Field("normal", description="how long to search, verify and time")
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds one run of a query may take on the target")
    margin: float = Field(1.1, ge=1, le=1000, description="least speedup worth a change")
    runs_per_day: float = Field(0.0, ge=0, le=1e12, description="how often the query runs a day; 0: not known")
    strategies: list[Strategy] = Field([], max_length=4, description="model strategies to ask after the rules")
    parameter_sets: list[Annotated[list[ParameterValue], Field(max_length=1000)]] = Field(
        [], max_length=100, description="sets of values for $1, $2, ..., most telling first"
    )
    on_data: bool = Field(False, description="compare the winner on the target's own data as well")
    robust: bool = Field(False, description="the winner must be right and not slow with other constants too")
    trace: bool = Field(False, description="verify every step of the winner too")

    def policy(self) -> Policy:
        """Raises UsageError."""
        return replace(
            EFFORTS[self.effort],
            require=VerdictKind(self.require),
            timeout=self.timeout,
            margin=self.margin,
            runs=self.runs_per_day,
            on_data=self.on_data,
            trace=self.trace,
            robust=self.robust,
        )


class VerificationOrder(Order):
    """Two queries whose equivalence is in question, over a target's catalog or over a schema given as text."""

    original: Statement = Field(description="the query that is known to be right")
    candidate: Statement = Field(description="the query that is to return the same")
    target: Name | None = Field(None, description="name of a registered target; its engine judges")
    ddl: str | None = Field(
        None, max_length=1_048_576, description="CREATE TABLE statements, instead of a target", examples=[None]
    )
    dialect: Literal["postgres", "duckdb"] = Field("postgres", description="of ddl")
    seconds: float = Field(10.0, gt=0, le=600, description="how long to look for a proof or a difference")


class RuleOrder(Order):
    """A rule of the store to be checked, and made stable when every check passes where ``approve`` says so."""

    name: str = Field(max_length=128)
    approve: bool = False


class BatchOrder(Order):
    """A query log to read, group and rank, and whose slowest groups are to be rewritten."""

    target: Name = Field("default", description="name of a registered target")
    path: str | None = Field(
        None,
        max_length=1024,
        description="a file or folder below the service's REWRITER_FILES, instead of an upload",
        examples=["postgresql.log"],
    )
    upload: str | None = Field(None, max_length=64, description="set by the service when a file is uploaded")
    name: str = Field("log", max_length=256, description="what to call the log")
    dialect: Literal["postgres", "duckdb", "mysql"] = Field("postgres", description="of the statements in the log")
    prefix: str | None = Field(None, max_length=256, description="the log_line_prefix; default: guessed")
    top: int = Field(20, ge=1, le=1000, description="groups to rewrite")
    effort: Literal["quick", "normal", "thorough"] = "quick"
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds one run of a query may take on the target")
    strategies: list[Strategy] = Field([], max_length=4)
