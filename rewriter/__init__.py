"""Rewrites a slow SELECT into a faster equivalent one and shows the evidence. See ARCHITECTURE.md."""

__version__ = "0.1.0"
