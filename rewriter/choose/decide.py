"""The decision. Never worse: when no verified candidate is surely faster by the margin, the original is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.records import Candidate, Decision, Loser, Measurement, SetRace, Speedup, Verdict, VerdictKind
from rewriter.statistics import CLOCK_NOISE, regression, speedup

TIE = 1.05  # ratios that differ by less than this are a tie; the simpler rewrite wins it


@dataclass(frozen=True)
class ChoicePolicy:
    """``margin``: least ratio of original to candidate time. ``require``: weakest verdict that may win.

    ``least_gain``: seconds that must be saved; below, the clock's noise is larger than what is compared.
    ``regression``: least ratio with any one set of parameter values (None: 1 / ``margin``; 0: any will do).
    """

    margin: float = 1.1
    require: VerdictKind = VerdictKind.TESTED
    least_gain: float = CLOCK_NOISE
    regression: float | None = None

    @property
    def tolerance(self) -> float:
        """The ratio with one set of parameter values below which a candidate loses."""
        return 1 / self.margin if self.regression is None else self.regression


@dataclass(frozen=True)
class _Entry:
    candidate: Candidate
    verdict: Verdict
    gain: Speedup


def decide(
    entrants: Sequence[tuple[Candidate, Verdict]],
    measurements: Sequence[Measurement],
    policy: ChoicePolicy,
    sets: Sequence[SetRace] = (),
) -> Decision:
    """The fastest of ``entrants`` whose speedup meets the margin with confidence, or the original.

    ``sets``: the races whose totals ``measurements`` are; whoever is clearly slower in one of them is not chosen.
    Every entrant that is not chosen is among ``losers`` with the reason in plain words.
    """
    times = {measurement.label: measurement for measurement in measurements}
    original = times.get("original")
    if original is None:
        reason = "nothing was measured, so nothing is known to be faster"
        losers = tuple(Loser(candidate, "measure", "not measured", verdict) for candidate, verdict in entrants)
        return Decision(None, reason if entrants else "no rule applies", losers=losers)
    lost: list[Loser] = []
    standing: list[_Entry] = []
    doubtful = _doubtful(entrants, original, times)
    for candidate, verdict in entrants:
        judged, gain = _judge(candidate, verdict, original, times, policy)
        obstacle = doubtful.get(candidate.id) or _regressed(candidate, sets, policy) or judged
        if obstacle is not None or gain is None:
            lost.append(Loser(candidate, "measure", obstacle or "not measured", verdict))
        else:
            standing.append(_Entry(candidate, verdict, gain))
    if not standing:
        why = "no verified candidate is faster by the margin" if entrants else "no rule gives a verified candidate"
        why += " and slow with none of the parameters" if entrants and len(sets) > 1 else ""
        return Decision(None, f"the original is kept: {why}", losers=tuple(lost))
    needed = max(entry.gain.ratio for entry in standing) / TIE
    tied = [entry for entry in standing if entry.gain.ratio >= needed]
    winner = min(tied, key=lambda entry: (len(entry.candidate.steps), len(entry.candidate.sql)))
    for entry in standing:
        if entry is not winner:
            text = "as fast as the chosen one, which is simpler"
            if entry.gain.ratio < needed:
                text = f"faster than the original ({_figure(entry.gain.ratio)}x), but another one is faster still"
            lost.append(Loser(entry.candidate, "choose", text, entry.verdict))
    bound = "at least " if winner.gain.at_least else ""
    reason = f"{bound}{_figure(winner.gain.ratio)} times as fast as the original"
    return Decision(winner.candidate, reason, winner.gain, tuple(lost))


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
        return f"stopped after {own.stopped_after:.3g} s: no match for the others' times or the limit", None
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


def _regressed(candidate: Candidate, sets: Sequence[SetRace], policy: ChoicePolicy) -> str | None:
    """Why the candidate loses although it may be faster in total: the set of parameter values with which it is slow."""
    for one in sets if len(sets) > 1 else ():
        times = {entry.label: entry for entry in one.measurements}
        original, own = times.get("original"), times.get(candidate.id)
        if original is None or own is None:
            continue
        found = regression(original, own, tolerance=policy.tolerance, noise=policy.least_gain)
        if found is not None:
            return f"slower with the parameters of {one.label}: {found.ratio:.2f}x, whatever it gains with the others"
    return None


def _doubtful(
    entrants: Sequence[tuple[Candidate, Verdict]], original: Measurement, times: dict[str, Measurement]
) -> dict[str, str]:
    """Candidates that returned another number of rows than most others, where the original did not finish to tell.

    At most one number is right. Only a majority is believed; without one, nobody is.
    """
    if original.rows is not None:
        return {}
    rows = {entry.label: entry.rows for entry in (times.get(candidate.id) for candidate, _ in entrants) if entry}
    counted = Counter(number for number in rows.values() if number is not None)
    believed = next((number for number, votes in counted.items() if 2 * votes > counted.total()), None)
    why = "rows where other candidates returned another number, and the original did not finish to tell who is right"
    return {
        label: f"returned {number:,} {why}"
        for label, number in rows.items()
        if number is not None and number != believed
    }


def _figure(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
