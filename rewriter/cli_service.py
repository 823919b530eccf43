"""``rewriter serve`` and ``rewriter worker``: the service and its workers."""

from __future__ import annotations

import os
import threading
import time
from typing import Annotated

import typer
from rich.markup import escape

from rewriter.cli_support import fail_softly, talk
from rewriter.service.worker import run_worker
from rewriter.settings import Settings

FAREWELL = 5  # seconds for answers under way: somebody who follows a job would else keep the service from stopping


def serve_command(
    host: Annotated[str, typer.Option("--host", help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="port to listen on", min=0, max=65535)] = 8000,
    workers: Annotated[
        int | None, typer.Option("--workers", help="worker processes beside it; default: REWRITER_WORKERS", min=0)
    ] = None,
) -> None:
    """Serve the API until interrupted. TLS is the matter of a proxy in front of it; see docs/service.md."""
    with fail_softly():
        if workers is not None:
            os.environ["REWRITER_WORKERS"] = str(workers)
        Settings.load()  # a mistake is told before anything is started
        import uvicorn  # only here: no other command needs it

        talk.print(f"rewriter listens on [bold]http://{escape(host)}:{port}[/], console at /console/", highlight=False)
        uvicorn.run(
            "api.app:create_app",
            factory=True,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=FAREWELL,
        )


def worker_command(
    queue: Annotated[
        str | None, typer.Option("--queue", help="local or procrastinate; default: REWRITER_QUEUE")
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option("--kinds", help="only these kinds of jobs, with Procrastinate: rewrite,verification,batch"),
    ] = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
) -> None:
    """Work on the service's jobs until interrupted. Any number of workers may share a store on Postgres."""
    with fail_softly():
        if queue is not None:
            os.environ["REWRITER_QUEUE"] = queue
        if parent is not None:
            threading.Thread(target=_follow, args=(parent,), daemon=True).start()
        run_worker(Settings.load(), kinds.split(",") if kinds else ())


def _follow(parent: int) -> None:
    """End with the service that started this worker, however that ended."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
