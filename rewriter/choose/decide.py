"""The decision. Never worse: when no verified candidate is surely faster by the margin, the original is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.records import Candidate, Decision, Loser, Measurement, Speedup, Verdict, VerdictKind
from rewriter.statistics import speedup

TIE = 1.05  # ratios that differ by less than this are a tie; the simpler rewrite wins it


@dataclass(frozen=True)
class ChoicePolicy:
    """``margin``: least ratio of original to candidate time. ``require``: weakest verdict that may win.

    ``least_gain``: seconds that must be saved; below, the clock's noise is larger than what is compared.
    """

    margin: float = 1.1
    require: VerdictKind = VerdictKind.TESTED
    least_gain: float = 0.0005


@dataclass(frozen=True)
class _Entry:
    candidate: Candidate
    verdict: Verdict
    gain: Speedup


def decide(
    entrants: Sequence[tuple[Candidate, Verdict]], measurements: Sequence[Measurement], policy: ChoicePolicy
) -> Decision:
    """The fastest of ``entrants`` whose speedup meets the margin with confidence, or the original.

    Every entrant that is not chosen is among ``losers`` with the reason in plain words.
    """
    times = {measurement.label: measurement for measurement in measurements}
    original = times.get("original")
    if original is None:
        reason = "nothing was measured, so nothing is known to be faster"
        losers = tuple(Loser(candidate, "measure", "not measured", verdict) for candidate, verdict in entrants)
        return Decision(None, reason if entrants else "no rule applies", losers=losers)
    losers_: list[Loser] = []
    standing: list[_Entry] = []
    for candidate, verdict in entrants:
        reason_, gain = _judge(candidate, verdict, original, times, policy)
        if reason_ is not None or gain is None:
            losers_.append(Loser(candidate, "measure", reason_ or "not measured", verdict))
        else:
            standing.append(_Entry(candidate, verdict, gain))
    if not standing:
        why = "no verified candidate is faster by the margin" if entrants else "no rule gives a verified candidate"
        return Decision(None, f"the original is kept: {why}", losers=tuple(losers_))
    fastest = max(entry.gain.ratio for entry in standing)
    tied = [entry for entry in standing if entry.gain.ratio * TIE >= fastest]
    winner = min(tied, key=lambda entry: (len(entry.candidate.steps), len(entry.candidate.sql)))
    for entry in standing:
        if entry is not winner:
            simpler = "as fast as the chosen one, which is simpler" if entry in tied else "faster than the original"
            text = simpler if entry in tied else f"{simpler} ({entry.gain.ratio:.2g}x), but another one is faster still"
            losers_.append(Loser(entry.candidate, "choose", text, entry.verdict))
    bound = "at least " if winner.gain.at_least else ""
    reason = f"{bound}{winner.gain.ratio:.3g} times as fast as the original"
    return Decision(winner.candidate, reason, winner.gain, tuple(losers_))


def _judge(
    candidate: Candidate,
    verdict: Verdict,
    original: Measurement,
    times: dict[str, Measurement],
    policy: ChoicePolicy,
) -> tuple[str | None, Speedup | None]:
    """(why the candidate cannot win, or None; its speedup)."""
    own = times.get(candidate.id)
    if own is None:
        return "not measured", None
    if own.error is not None:
        return own.error, None
    if own.stopped_after is not None:
        return f"stopped after {own.stopped_after:.3g} s: slower than others by a multiple", None
    if not verdict.kind.at_least(policy.require):
        return f"{verdict.kind.value} only, and {policy.require.value} is required", None
    gain = speedup(original, own)
    if gain is None:
        return f"the original could not be timed ({original.error})" if original.error else "not measured", None
    if gain.ratio < policy.margin:
        word = "slower" if gain.ratio < 1 else "not enough faster"
        return f"{word}: {gain.ratio:.2f}x, and {policy.margin:g}x is required", None
    saved = (original.median or 0.0) - (own.median or 0.0)
    if not gain.at_least and saved < policy.least_gain:
        return f"only {saved * 1000:.2f} ms are saved, which is within the clock's noise", None
    # The point estimate meets the margin; the interval must exclude that this is noise.
    if gain.low < 1.0 + (policy.margin - 1.0) / 2:
        return f"not surely faster: {gain.ratio:.2f}x, but it could be {gain.low:.2f}x", None
    return None, gain
