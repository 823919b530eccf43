"""The verifier: a ladder of rungs, cheapest first, that refute a candidate or say how far its equivalence is known."""

from rewriter.verify.ladder import RUNGS, Verifier, certify

__all__ = ["RUNGS", "Verifier", "certify"]
