"""The pages by subject. Each calls what the API's routes call, after its own check of who may."""

from api.console.pages import (
    access,
    logs,
    overview,
    own_rules,
    patterns,
    queue,
    rewrites,
    rules,
    signing,
    targets,
    verify,
    workbench,
)

PAGES = (
    overview.router,
    signing.router,
    workbench.router,
    rewrites.router,
    queue.router,
    verify.router,
    logs.router,
    own_rules.router,
    rules.router,
    targets.router,
    access.router,
    patterns.router,
)
