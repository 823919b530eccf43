"""The routes by noun."""

from api.routes import batches, health, keys, lookup, rewrites, rules, snapshots, targets, verifications

ROUTERS = (
    rewrites.router,
    verifications.router,
    batches.router,
    targets.router,
    rules.router,
    lookup.router,
    snapshots.router,
    keys.router,
    health.router,
)
