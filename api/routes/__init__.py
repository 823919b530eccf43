"""The routes by noun."""

from api.routes import health, keys, lookup, rewrites, targets, verifications

ROUTERS = (
    rewrites.router,
    verifications.router,
    targets.router,
    lookup.router,
    keys.router,
    health.router,
)
