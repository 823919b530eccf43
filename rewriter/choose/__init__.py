"""Choosing: which verified candidate wins, and why the others lost."""

from rewriter.choose.decide import ChoicePolicy, decide

__all__ = ["ChoicePolicy", "decide"]
