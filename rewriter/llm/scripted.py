"""A server on loopback that speaks like an OpenAI-compatible endpoint and says what a script says: for tests and demos,
over real HTTP, with everything that goes wrong with real ones."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from rewriter.errors import UsageError

_WORDS = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")


@dataclass
class Line:
    """One thing to say, ``times`` times (None: always), to a request whose text matches ``when`` (all messages, joined
    by newlines) and whose begun answer matches ``begun``.

    ``reply`` is the whole answer, with ``%said%`` for how often this line was said by then; of one that was begun, the
    rest is sent. Instead: an HTTP ``status`` (with
    ``retry_after`` seconds), or a raw ``body``. ``delay``: seconds before anything is sent. ``finish``: the finish
    reason. ``unsure``: tokens of the reply with other likely ones: ``{"IN": {"IN": 0.55, "EXISTS": 0.45}}``.
    """

    reply: str = ""
    when: str = ""
    begun: str = ""
    times: int | None = None
    status: int = 200
    retry_after: float | None = None
    body: str | None = None
    delay: float = 0.0
    finish: str = "stop"
    unsure: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    said: int = 0


def read_script(path: Path) -> list[Line]:
    """The lines of a YAML file: a list of objects with the fields of ``Line``. Raises UsageError."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [Line(**entry) for entry in entries]
    except OSError as error:
        raise UsageError(f"cannot read the script {path}: {error.strerror}") from None
    except (yaml.YAMLError, TypeError):
        raise UsageError(f"the script {path} is not a list of lines", hint="see rewriter/llm/scripted.py") from None


class ScriptedServer:
    """Serves until closed. ``requests`` holds the raw bodies received, in order. ``refuses``: parameters that this
    endpoint does not know (``response_format``, ``logprobs``, ``temperature``)."""

    def __init__(self, lines: Iterable[Line], *, refuses: Iterable[str] = (), port: int = 0) -> None:
        self.lines = list(lines)
        self.refuses = frozenset(refuses)
        self.requests: list[bytes] = []
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            scripted = server

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def wait(self) -> None:
        """Until somebody else closes it."""
        self._thread.join()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def line_for(self, text: str, begun: str) -> Line | None:
        with self._lock:
            for line in self.lines:
                if line.times is not None and line.said >= line.times:
                    continue
                if re.search(line.when, text, re.DOTALL) and re.search(line.begun, begun, re.DOTALL):
                    line.said += 1
                    return replace(line, reply=line.reply.replace("%said%", str(line.said)))
        return None


class _Handler(BaseHTTPRequestHandler):
    scripted: ScriptedServer
    protocol_version = "HTTP/1.1"
    # Header and body in one packet: else the client's delayed acknowledgement costs 40 ms a request.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._send(200, json.dumps({"object": "list", "data": [{"id": "scripted", "object": "model"}]}))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.scripted.requests.append(raw)
        request = json.loads(raw)
        refused = sorted(self.scripted.refuses & set(request))
        if refused:
            self._send(400, json.dumps({"error": {"message": f"unsupported parameter: {refused[0]}"}}))
            return
        messages = request["messages"]
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        line = self.scripted.line_for("\n".join(message["content"] for message in messages), begun)
        if line is None:
            self._send(500, json.dumps({"error": {"message": "the script has no line for this"}}))
            return
        time.sleep(line.delay)
        if line.status != 200:
            self._send(line.status, json.dumps({"error": {"message": "as scripted"}}), line.retry_after)
        elif line.body is not None:
            self._send(200, line.body)
        elif request.get("stream"):
            self._stream(line, begun)
        else:
            self._send(200, json.dumps(_completion(line, begun, request, raw)))

    def _send(self, status: int, body: str, retry_after: float | None = None) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, line: Line, begun: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for word in _WORDS.findall(_rest(line.reply, begun)):
            chunk = {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": line.finish}]}
        self.wfile.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are kept, not printed."""


def _completion(line: Line, begun: str, request: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
    text = _rest(line.reply, begun)
    words = _WORDS.findall(text)
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": line.finish,
    }
    if request.get("logprobs"):
        choice["logprobs"] = {"content": list(_probabilities(words, line, int(request.get("top_logprobs") or 0)))}
    prompt = len(raw) // 4
    return {
        "id": "scripted",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": len(words),
            "total_tokens": prompt + len(words),
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def _probabilities(words: Iterable[str], line: Line, most: int) -> Iterator[dict[str, Any]]:
    for word in words:
        space = word[: len(word) - len(word.lstrip())]
        likely = line.unsure.get(word.strip()) or {word.strip(): 0.99}
        listed = [{"token": space + text, "logprob": _log(p)} for text, p in likely.items()][:most]
        yield {"token": word, "logprob": _log(likely.get(word.strip(), 0.01)), "top_logprobs": listed}


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-9))


def _rest(reply: str, begun: str) -> str:
    return reply[len(begun) :] if reply.startswith(begun) else reply
