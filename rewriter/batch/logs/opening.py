"""Files, folders and streams, plain or compressed, as streams of unpacked bytes.

Compression is told from the first bytes (RFC 1952 for gzip, RFC 8878 for Zstandard, the descriptions of bzip2 and xz,
PKWARE's APPNOTE for zip), never from the name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from rewriter.errors import InputError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError, ZstdFile
else:
    from backports.zstd import ZstdError, ZstdFile

HEAD = 256 * 1024  # bytes that detection looks at
_BUFFER = 1 << 18
_MOST_EXPANSION = 500  # real logs reach 100; what expands further is a bomb
_FREE_BYTES = 256 * 1024 * 1024

DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ZstdError)
"""What reading a damaged archive raises, or one that cannot be unpacked here."""


class Bomb(OSError):
    """An archive that expands beyond all reason."""


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files among ``paths`` and below the folders among them, each once; hidden ones in folders are left out.

    Raises InputError when a path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                files = (Path(folder) / name for name in sorted(names) if not name.startswith("."))
                found.extend(file for file in files if file.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"there is no file or folder {path}")
    return list({path.resolve(): path for path in reversed(found)}.values())[::-1]


@contextmanager
def opened(path: Path) -> Iterator[Iterator[tuple[str, BinaryIO]]]:
    """(name, stream) of each content of the file: one, or one for each member of a zip archive.

    A stream is good until the next is asked for. Raises InputError when the file cannot be opened or unpacked here.
    """
    try:
        file = path.open("rb", buffering=_BUFFER)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from None
    with file:
        yield _contents(str(path), cast(io.BufferedReader, file))


def is_plain(path: Path) -> bool:
    """Whether the file is a regular one and not compressed, so that it can be read from any offset."""
    if not path.is_file():  # what is read from a pipe would be lost
        return False
    try:
        with path.open("rb") as file:
            return _kind(file.read(8)) == ""
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from None


def with_head(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The first HEAD bytes, and a stream that still has them. Needs no seeking, so it serves pipes too."""
    head = b""
    while len(head) < HEAD and (more := stream.read(HEAD - len(head))):
        head += more
    return head, cast(BinaryIO, io.BufferedReader(_Joined(head, stream), _BUFFER))


def unpacked(name: str, stream: BinaryIO) -> BinaryIO:
    """A stream that cannot seek (a pipe), unpacked. Raises InputError for an archive that needs seeking."""
    head = stream.read(8)
    joined = cast(BinaryIO, io.BufferedReader(_Joined(head, stream), _BUFFER))
    kind = _kind(head)
    if kind == "zip":
        raise InputError(f"{name} is a zip archive, which cannot be read from a pipe", hint="pass it as a file")
    return _unpack(kind, joined, None) if kind else joined


def skip_bytes(stream: BinaryIO, count: int) -> None:
    """Read on ``count`` bytes and forget them."""
    while count > 0 and (part := stream.read(min(count, 1 << 20))):
        count -= len(part)


def _contents(name: str, file: io.BufferedReader) -> Iterator[tuple[str, BinaryIO]]:
    kind = _kind(file.peek(8)[:8])
    if kind != "zip":
        yield name, _unpack(kind, cast(BinaryIO, file), file) if kind else cast(BinaryIO, file)
        return
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise InputError(f"{name} is not a readable zip archive: {error}") from None
    spent = _Spent()
    with archive:
        for member in archive.infolist():
            if not member.is_dir():
                with closing(_member(archive, member)) as content:
                    guard = _Guarded(cast(BinaryIO, content), file, spent)
                    yield f"{name}:{member.filename}", cast(BinaryIO, io.BufferedReader(guard, _BUFFER))


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(member)
    except (NotImplementedError, RuntimeError) as error:  # another method of compression, or a password
        raise zipfile.BadZipFile(f"{member.filename} cannot be unpacked: {error}") from None


def _kind(head: bytes) -> str:
    """The compression that the first bytes tell; empty for none."""
    magic = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"PK\x03\x04": "zip", b"(\xb5/\xfd": "zst"}
    return next((kind for start, kind in magic.items() if head.startswith(start)), "")


def _unpack(kind: str, packed: BinaryIO, file: BinaryIO | None) -> BinaryIO:
    if kind == "gz":
        content = cast(BinaryIO, gzip.GzipFile(fileobj=packed))
    elif kind == "bz2":
        content = cast(BinaryIO, bz2.BZ2File(packed))
    elif kind == "xz":
        content = cast(BinaryIO, lzma.LZMAFile(packed))  # noqa: SIM115  # closed with the file below it
    else:
        content = cast(BinaryIO, ZstdFile(packed))
    return cast(BinaryIO, io.BufferedReader(_Guarded(content, file, _Spent()), _BUFFER))


class _Joined(io.RawIOBase):
    """Bytes that were read already, and then the rest of their stream."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._head:
            part: bytes | memoryview = self._head[: len(buffer)]
            self._head = self._head[len(part) :]
        else:
            part = self._rest.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


@dataclass(slots=True)
class _Spent:
    """Bytes that were unpacked from a file, of all its members: those of a zip archive may lie over each other."""

    bytes: int = 0


class _Guarded(io.RawIOBase):
    """An unpacked stream that stops when it grows out of proportion to what was read from the file."""

    def __init__(self, content: BinaryIO, file: BinaryIO | None, spent: _Spent) -> None:
        self._content = content
        self._file = file
        self._spent = spent

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._content.read(len(buffer))
        self._spent.bytes += len(part)
        if self._spent.bytes > _FREE_BYTES and self._file is not None:
            packed = os.fstat(self._file.fileno()).st_size  # 0 for pipes
            if packed and self._spent.bytes > packed * _MOST_EXPANSION:
                raise Bomb(f"it expands to more than {_MOST_EXPANSION} times its size")
        buffer[: len(part)] = part
        return len(part)
