"""Lists of groups that nobody wants to hear of again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rewriter.errors import UsageError

_KEY = re.compile(r"[0-9A-Za-z_-]{1,80}\Z")


def ignored_keys(given: Iterable[str]) -> set[str]:
    """The group keys among ``given`` and in the files among them: a key a line, blank lines and what stands behind a
    ``#`` left out. Raises UsageError, naming the line."""
    keys: set[str] = set()
    for one in given:
        path = Path(one)
        if path.is_file():
            keys |= _read(path)
        elif _KEY.match(one):
            keys.add(one)
        else:
            raise UsageError(
                f"there is no file {one}, and it is no group key", hint="reports name the key of each group"
            )
    return keys


def _read(path: Path) -> set[str]:
    keys: set[str] = set()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    for number, line in enumerate(text.splitlines(), start=1):
        key = line.partition("#")[0].strip()
        if key and not _KEY.match(key):
            raise UsageError(f"{path}, line {number}: not a group key", hint="one key a line; comments begin with #")
        if key:
            keys.add(key)
    return keys
