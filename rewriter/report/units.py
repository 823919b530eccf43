"""Numbers and times for people."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """``12 µs``, ``0.4 ms``, ``38 ms``, ``1.24 s``, ``2 min 5 s``, ``1 h 30 min``; ``-`` for None."""
    if seconds is None:
        return "-"
    if seconds < 0.0000995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.00995:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def ratio(value: float | None, *, at_least: bool = False) -> str:
    """``0.85x``, ``1.3x``, ``41x``, ``>= 733x``; ``-`` for None."""
    if value is None:
        return "-"
    text = f"{value:.2f}" if value < 9.995 else f"{value:,.0f}"
    return f"{'>= ' if at_least else ''}{text}x"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 database``, ``1,204 databases``."""
    word = noun if number == 1 else (plural or f"{noun}s")
    return f"{number:,} {word}"
