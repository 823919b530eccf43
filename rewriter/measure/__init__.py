"""Measuring candidates on the target: racing, with one set of parameter values or several."""

from rewriter.measure.race import RacePolicy, race
from rewriter.measure.sets import race_sets, spread, totals, usable

__all__ = ["RacePolicy", "race", "race_sets", "spread", "totals", "usable"]
