"""The console's static files: each under an address that holds its hash, so that it may be kept for ever.

What comes from others is below ``static/vendor``; ``MANIFEST.sha256`` there holds the hash of every such file, and
``THIRD_PARTY.md`` where it is from.
"""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from rewriter.errors import NotFound

STATIC = Path(__file__).parent / "static"
FOREVER = "public, max-age=31536000, immutable"
SERVED = frozenset({".css", ".js", ".svg", ".txt"})

router = APIRouter(prefix="/static")


@cache
def _hashes() -> dict[str, str]:
    """By path below ``static``: the first 16 digits of the file's SHA-256."""
    files = (path for path in STATIC.rglob("*") if path.is_file() and path.suffix in SERVED)
    return {str(path.relative_to(STATIC)): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files}


def address(path: str) -> str:
    """Where a static file is served. Raises KeyError for one that does not exist."""
    return f"/console/static/{_hashes()[path]}/{path}"


@router.get("/{tag}/{path:path}")
def read_static(tag: str, path: str) -> Response:
    """A file, under the hash that it has now. Raises NotFound."""
    if _hashes().get(path) != tag:
        raise NotFound("there is no such file")
    kind = mimetypes.guess_type(path)[0] or "text/plain"
    return Response((STATIC / path).read_bytes(), media_type=kind, headers={"Cache-Control": FOREVER})
