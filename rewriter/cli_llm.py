"""``rewriter llm``: what concerns the language model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.markup import escape

from rewriter.candidates.base import CandidateSource
from rewriter.candidates.model.conversation import Strategy
from rewriter.cli_selector import selector_app
from rewriter.cli_support import fail_softly, read_text, talk, write, write_json
from rewriter.errors import StoreError, UsageError
from rewriter.llm import Purse
from rewriter.llm.exchanges import Mode
from rewriter.llm.scripted import ScriptedServer, read_script
from rewriter.modelling import model_sources, probed
from rewriter.settings import Settings

llm_app = typer.Typer(
    help="The language model: what an endpoint can do, and a scripted one for trying out.", no_args_is_help=True
)
llm_app.add_typer(selector_app, name="selector")

BaseUrlOption = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="an OpenAI-compatible endpoint; default: REWRITER_MODEL_URL"),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="the model there; default: REWRITER_MODEL")
]
StrategyOption = Annotated[
    str | None,
    typer.Option("--strategy", metavar="NAMES", help="plain, genrewrite, lithe, llm_r2; several separated by commas"),
]
ModeOption = Annotated[
    str, typer.Option("--answers", help="live: ask; cache: ask what was never asked; replay: recorded answers only")
]


def settings_with(model: str | None, base_url: str | None) -> Settings:
    """The settings, with what the command line says in place of the environment."""
    given = {"model": model, "model_url": base_url}
    return Settings.load().model_copy(update={name: value for name, value in given.items() if value is not None})


@contextlib.contextmanager
def sources_for(settings: Settings, strategy: str | None, answers: str) -> Iterator[Sequence[CandidateSource]]:
    """The strategies asked for. Without a model there are none, which is said when one was asked for."""
    if settings.model is None:
        if strategy is not None:
            talk.print("no model is named (--model, REWRITER_MODEL): rules alone", highlight=False)
        yield ()
        return
    if answers not in list(Mode):
        raise UsageError(f"unknown way to use answers {answers!r}", hint=f"use {', '.join(Mode)}")

    def told(reason: str) -> None:
        talk.print(f"[yellow]the model is not used further:[/] {escape(reason)}", highlight=False)

    names = [name.strip() for name in (strategy or "genrewrite").split(",") if name.strip()]
    with model_sources(names, settings, told, Mode(answers)) as sources:
        yield sources


def purse_of(sources: Sequence[CandidateSource]) -> Purse | None:
    """What the strategies among the sources pay from; None when there are none."""
    return next((source.terms.model.purse for source in sources if isinstance(source, Strategy)), None)


@llm_app.command("probe")
def probe_command(
    base_url: BaseUrlOption = None,
    model: ModelOption = None,
    key: Annotated[Path | None, typer.Option("--key-file", metavar="FILE", help="file that holds the key")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Ask an endpoint what it can do: JSON schemas, token probabilities, going on with an answer begun."""
    with fail_softly():
        settings = settings_with(model, base_url)
        if key is not None:
            settings = settings.model_copy(update={"model_key": SecretStr(read_text(key, "the key").strip())})
        try:
            found = probed(settings)
        except StoreError as error:
            hint = "REWRITER_STORE names a store"
            raise UsageError(f"the findings cannot be kept: {error.message}", hint=hint) from None
        if as_json:
            write_json(dict(found.findings))
            return
        for name, there in found.findings:
            write(f"{'yes' if there else 'no ':3}  {name}")


@llm_app.command("scripted")
def scripted_command(
    script: Annotated[Path, typer.Argument(help="YAML file of what to say when; see rewriter/llm/scripted.py")],
    port: Annotated[int, typer.Option("--port", help="port on loopback; 0: any free one")] = 0,
) -> None:
    """Serve a scripted endpoint on loopback, for tests and demos, until interrupted."""
    with fail_softly(), contextlib.closing(ScriptedServer(read_script(script), port=port)) as server:
        write(server.url)
        server.wait()
