"""Measuring candidates on the target: racing."""

from rewriter.measure.race import RacePolicy, race

__all__ = ["RacePolicy", "race"]
