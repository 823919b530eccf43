"""A transport that reads no more of an answer than an answer can have."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2

MOST_BYTES = 8 * 1024**2


class _CappedStream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for chunk in self._stream:
            read += len(chunk)
            if read > MOST_BYTES:
                raise httpx2.DecodingError(f"the answer has more than {MOST_BYTES:,} bytes")
            yield chunk

    def close(self) -> None:
        self._stream.close()


class Capped(httpx2.BaseTransport):
    """``inner``, whose answers end with an error once they have too many bytes."""

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._inner.handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _CappedStream(response.stream)
        return response

    def close(self) -> None:
        self._inner.close()
