"""Pattern rules from accepted rewrites: where a pair differs, what of it holds in general, and on which conditions.

The way is from the specific to the general: a rule starts out with every condition that its pair meets and gives up one
after the other while the verifier finds no difference (``generalise``). What is left is written as a rule document and
passes the checks of any other (``checks``).
"""

from rewriter.distill.checks import check_document
from rewriter.distill.learn import learn
from rewriter.distill.records import Outcome, Pair, Reason

__all__ = ["Outcome", "Pair", "Reason", "check_document", "learn"]
