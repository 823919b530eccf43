"""The routes by noun."""

from api.routes import (
    batches,
    health,
    keys,
    lookup,
    overview,
    reviews,
    rewrites,
    rules,
    snapshots,
    targets,
    verifications,
)

ROUTERS = (
    overview.router,
    rewrites.router,
    reviews.router,
    verifications.router,
    batches.router,
    targets.router,
    rules.router,
    lookup.router,
    snapshots.router,
    keys.router,
    health.router,
)
