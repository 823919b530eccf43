"""``log_line_prefix`` as a regular expression over bytes, and a guess at it from a log's first lines.

The escapes are those of "Error Reporting and Logging" in the PostgreSQL documentation (up to version 18).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rewriter.errors import UsageError

DEFAULT = "%m [%p] "

PRIMARY = "LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG[1-5]?"
SECONDARY = "DETAIL|HINT|QUERY|CONTEXT|STATEMENT|LOCATION|BACKTRACE"

# Verbose logs have an SQLSTATE after the severity, which ends in two blanks.
_SEVERITY = rf"(?P<severity>{PRIMARY}|{SECONDARY}): {{1,2}}(?:[0-9A-Z]{{5}}: )?"

_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})? [A-Za-z0-9_+:<>-]{1,40}"
_FREE = r"[^\x00-\x1f]{0,64}?"  # may hold blanks; bounded, so that hostile lines cannot make several of them slow
_WORDY = "aib"
_MOST_LOOSE = 2  # fields of one prefix whose end has to be tried for; further ones end where their text first may
_ENDING = r"[^\x00-\x20]{0,64}+"
_FIELDS = {
    "u": r"[^\x00-\x20]{0,256}", "d": r"[^\x00-\x20]{0,256}", "r": r"[^\x00-\x20]{0,256}", "h": r"[^\x00-\x20]{0,256}",
    "L": r"[^\x00-\x20]{0,256}", "p": r"\d{1,10}", "P": r"\d{0,10}", "t": _TIME, "m": _TIME, "n": r"\d{1,12}\.\d{3}",
    "e": r"[0-9A-Z]{5}", "c": r"[0-9a-f]{1,16}\.[0-9a-f]{1,8}", "l": r"\d{1,20}", "s": _TIME,
    "v": r"(?:-?\d{1,10}/-?\d{1,10})?", "x": r"\d{1,20}", "Q": r"-?\d{1,20}",
    "a": _FREE, "i": _FREE, "b": _FREE,
}  # fmt: skip
_NAMES = {"u": "user", "d": "database", "p": "pid", "c": "session", "t": "time", "m": "time", "n": "epoch"}

_PART = re.compile(r"%(?P<pad>-?\d{1,3})?(?P<escape>.)|(?P<text>[^%]+|%)", re.DOTALL)

# What servers are set to by their packages, clouds and the manuals of log readers. The one that fits best is taken.
_KNOWN = (
    DEFAULT, "%m [%p] %q%u@%d ", "%m [%p] %q%u@%d/%a ", "%t [%p] ", "%t [%p]: ", "%t [%p] %q%u@%d ", "%t ", "%m ",
    "%t [%p]: [%l-1] ", "%t [%p]: [%l-1] user=%u,db=%d ", "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: [%l] user=%u,db=%d,app=%a,client=%h ", "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ", "%m [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%m [%p] user=%u,db=%d,app=%a,client=%h ", "%t:%r:%u@%d:[%p]:", "%m:%r:%u@%d:[%p]:%l:%e:%s:%v:%x:%c:%q%a:",
    "%m [%p] %u@%d ", "%t [%p] %u@%d ", "%m %u@%d ", "%m %u %d ", "%t %u %d ",
    "%m [%p] db=%d,user=%u,app=%a,client=%h ",
    "%t [%p-%l] %q%u@%d ", "%m [%p-%l] %q%u@%d ", "%m [%c] ", "%t-%c-", "[%p] ", "%m %p ", "%t %p ", "%n [%p] ",
    "<%m %u %d %p> ", "< %m > ", "<%t> ", "%m [%p] [%u@%d] ", "%d %u %m [%p] ", "%m %r %u@%d [%p] ",
    "%h %d %u %m [%p] ", "%m-%u-%d-%p-%c-", "%t %u@%d %h ", "%m|%u|%d|%c|",
    "time=%m, pid=%p %q db=%d, usr=%u, client=%h , app=%a, line=%l ",
)  # fmt: skip

# The last resort: whatever stands before the severity, with a time and a process number if some are there.
_ANY = re.compile(
    rf"(?=[^\x00-\x1f]{{0,200}}?(?P<time>{_TIME}))?(?=[^\x00-\x1f]{{0,200}}?\[(?P<pid>\d{{1,10}})[\]-])?"
    rf"[^\x00-\x1f]{{0,400}}?(?<![A-Z])(?:{_SEVERITY})".encode()
)


@lru_cache(maxsize=64)
def compile_prefix(prefix: str | None) -> re.Pattern[bytes]:
    """Matches the beginning of a message up to its text. Groups: ``severity`` and those of ``time``, ``epoch``,
    ``pid``, ``session``, ``user``, ``database`` that the prefix has. None stands for any prefix.

    Raises UsageError for an escape that Postgres does not know.
    """
    if prefix is None:
        return _ANY
    pattern = ""
    seen: set[str] = set()
    optional = False
    loose = 0
    for part in _PART.finditer(prefix):
        escape = part.group("escape")
        if escape is None:
            pattern += re.escape(part.group("text"))
        elif escape == "%":
            pattern += "%"
        elif escape == "q":
            pattern += "" if optional else "(?:"
            optional = True
        elif escape in _FIELDS:
            name = _NAMES.get(escape)
            field = _FIELDS[escape]
            following = prefix[part.end() : part.end() + 1]
            if escape in _WORDY or (field.startswith("[^") and following in ("", "%")):
                loose += 1
                if loose > _MOST_LOOSE:
                    field = _until(_ENDING, following)
            else:
                field = _until(field, following)
            field = f"(?P<{name}>{field})" if name and name not in seen else f"(?:{field})"
            seen.add(name or "")
            padding = int(part.group("pad") or 0)
            pattern += (" {0,200}" if padding > 0 else "") + field + (" {0,200}" if padding < 0 else "")
        else:
            raise UsageError(f"log_line_prefix has %{escape}, which Postgres does not know")
    if optional:
        pattern += ")?"
    return re.compile((pattern + _SEVERITY).encode())


def guess_prefix(lines: Sequence[bytes]) -> tuple[str | None, float]:
    """(prefix, share): the known prefix that fits most of the lines, and the share that it fits; (None, share) when any
    text before a severity fits more. Lines that continue a message (they begin with a tab) are left out."""
    heads = [line[:2048] for line in lines if line[:1] not in (b"\t", b"\r", b"\n", b"")]
    if not heads:
        return None, 0.0
    best: tuple[int, int, int] = (0, 0, 0)
    chosen: str | None = None
    for prefix in _KNOWN:
        pattern = compile_prefix(prefix)
        matches = [match for match in map(pattern.match, heads) if match]
        told = sum(value is not None for match in matches for value in match.groupdict().values())
        has_users = any(match.groupdict().get("user") for match in matches)
        # The longer prefix says more of the same text, but only where that text was seen.
        score = (len(matches), told, len(prefix) if has_users else -len(prefix))
        if matches and score > best:
            best, chosen = score, prefix
    loose = sum(_ANY.match(head) is not None for head in heads)
    if loose > best[0]:
        return None, loose / len(heads)
    return chosen, best[0] / len(heads)


def _until(field: str, following: str) -> str:
    """The field without the character that ends it, so that there is nothing to try back and forth."""
    if following in ("", " ", "%") or not field.startswith("[^"):
        return field
    return field.replace("[^", "[^" + re.escape(following), 1)
