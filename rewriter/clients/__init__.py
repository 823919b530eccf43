"""Approved rewrites in running applications: see docs/clients.md. Light: nothing of the pipeline is loaded."""

from rewriter.clients.client import Client
from rewriter.clients.decide import session

__all__ = ["Client", "session"]
