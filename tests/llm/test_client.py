"""The client against a real server: what goes wrong with real endpoints, budgets, records."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.errors import BadAnswer, BudgetExceeded, ModelError, ModelRefused, ModelUnreachable
from rewriter.llm import Ask, InMemory, Limit, Prices, Purse
from rewriter.llm.exchanges import Mode
from rewriter.llm.probe import probe
from rewriter.llm.scripted import Line
from rewriter.llm.transport import MOST_BYTES
from tests.llm.conftest import Connect, Serve

HELLO = Ask("test/1", ({"role": "user", "content": "say something"},))


def test_an_answer_with_its_usage(serve: Serve, connect: Connect) -> None:
    server = serve(Line("SELECT 1"))
    model = connect(server.url, prices=Prices(1.0, 0.5, 2.0))
    reply = model.ask(HELLO)
    assert reply.text == "SELECT 1"
    assert reply.complete
    assert reply.completion_tokens == 2
    assert model.purse.tokens == reply.prompt_tokens + 2
    assert reply.cost == model.purse.cost > 0


def test_rate_limits_and_server_errors_are_asked_again(serve: Serve, connect: Connect) -> None:
    server = serve(Line(status=429, retry_after=0.05, times=1), Line(status=503, times=1), Line("now"))
    model = connect(server.url)
    assert model.ask(HELLO).text == "now"
    assert len(server.requests) == 3
    assert model.purse.attempts == 3


def test_an_endpoint_that_stays_broken_is_given_up(serve: Serve, connect: Connect) -> None:
    server = serve(Line(status=500))
    with pytest.raises(ModelUnreachable):
        connect(server.url).ask(HELLO)
    assert len(server.requests) == 4


def test_a_refused_key_is_not_tried_again(serve: Serve, connect: Connect) -> None:
    server = serve(Line(status=401))
    with pytest.raises(ModelRefused):
        connect(server.url).ask(HELLO)
    assert len(server.requests) == 1


def test_a_dead_endpoint_is_told_within_its_time(connect: Connect) -> None:
    model = connect("http://127.0.0.1:9/v1")
    started = time.monotonic()
    with pytest.raises(ModelUnreachable):
        model.ask(HELLO)
    assert time.monotonic() - started < 3


def test_a_hanging_endpoint_is_left_at_the_deadline(serve: Serve, connect: Connect) -> None:
    server = serve(Line("late", delay=3.0))
    model = connect(server.url)
    model.deadline = time.monotonic() + 0.5
    started = time.monotonic()
    with pytest.raises(ModelUnreachable):
        model.ask(HELLO)
    assert time.monotonic() - started < 2.5


def test_what_may_have_been_charged_counts(serve: Serve, connect: Connect) -> None:
    model = connect(serve(Line("late", delay=1.0)).url, timeout=0.1)
    with pytest.raises(ModelUnreachable):
        model.ask(HELLO)
    assert model.purse.tokens > 0


@pytest.mark.parametrize(
    "body",
    ["", "nonsense", "[]", "{}", '{"choices": []}', '{"choices": [{"message": {"content": null}}]}', "null", "1"],
)
def test_malformed_answers_are_no_answers(serve: Serve, connect: Connect, body: str) -> None:
    with pytest.raises(BadAnswer):
        connect(serve(Line(body=body)).url).ask(HELLO)


def test_an_endless_answer_is_cut(serve: Serve, connect: Connect) -> None:
    with pytest.raises((BadAnswer, ModelUnreachable)):
        connect(serve(Line("x" * (MOST_BYTES + 1))).url).ask(HELLO)


def test_nothing_is_sent_that_could_cost_too_much(serve: Serve, connect: Connect) -> None:
    server = serve(Line("fine"))
    model = connect(server.url, tokens=1_000)
    model.ask(HELLO)
    with pytest.raises(BudgetExceeded):
        all(model.ask(Ask("test/1", HELLO.messages, turn=turn)) for turn in range(1, 1_000))
    assert model.purse.tokens <= 1_000
    sent = len(server.requests)
    with pytest.raises(BudgetExceeded):
        model.ask(Ask("test/1", HELLO.messages, turn=-1))
    assert len(server.requests) == sent


def test_retries_are_within_the_budget(serve: Serve, connect: Connect) -> None:
    model = connect(serve(Line("late", delay=0.5)).url, tokens=1_200, timeout=0.05)
    with pytest.raises((BudgetExceeded, ModelUnreachable)):
        all(model.ask(Ask("test/1", HELLO.messages, turn=turn)) for turn in range(50))
    assert model.purse.tokens <= 1_200


@given(
    limit=st.integers(0, 5_000),
    attempts=st.lists(st.tuples(st.integers(0, 2_000), st.floats(0, 1)), max_size=20),
)
def test_no_purse_is_ever_overspent(limit: int, attempts: list[tuple[int, float]]) -> None:
    purse = Purse({"query": Limit(limit)})
    for tokens, share in attempts:
        try:
            purse.reserve(tokens, 0.0)
        except BudgetExceeded:
            continue
        purse.settle(tokens, 0.0, used_tokens=int(tokens * share), used_cost=0.0)
    assert purse.tokens <= limit


def test_each_query_has_a_budget_of_its_own_and_the_day_one_for_all() -> None:
    purse = Purse({"query": Limit(100), "day": Limit(150)})
    for _ in range(2):
        purse.renew("query")
        purse.reserve(70, 0.0)
        purse.settle(70, 0.0, used_tokens=70, used_cost=0.0)
        with pytest.raises(BudgetExceeded):
            purse.reserve(70, 0.0)
    purse.renew("query")
    with pytest.raises(BudgetExceeded):
        purse.reserve(20, 0.0)


def test_a_known_question_is_not_asked_again(serve: Serve, connect: Connect) -> None:
    server = serve(Line("one", times=1), Line("two"))
    exchanges = InMemory()
    model = connect(server.url, exchanges=exchanges)
    assert [model.ask(HELLO).text, model.ask(HELLO).text] == ["one", "one"]
    assert model.ask(Ask("test/1", HELLO.messages, turn=1)).text == "two"
    assert json.loads(server.requests[0]) == exchanges.made[0].request
    replay = connect("http://127.0.0.1:9/v1", mode=Mode.REPLAY, exchanges=exchanges)
    assert replay.ask(HELLO).text == "one"
    assert replay.ask(HELLO).recorded
    with pytest.raises(ModelUnreachable):
        replay.ask(Ask("test/1", HELLO.messages, turn=2))


def test_what_an_endpoint_does_not_know_is_left_out(serve: Serve, connect: Connect) -> None:
    server = serve(Line("fine"), refuses=("response_format", "logprobs", "temperature"))
    model = connect(server.url)
    assert model.ask(Ask("test/1", HELLO.messages, schema={"type": "object"}, logprobs=2)).text == "fine"
    before = len(server.requests)
    model.ask(Ask("test/1", HELLO.messages, schema={"type": "object"}, logprobs=2, turn=1))
    assert len(server.requests) == before + 1


def test_token_probabilities_and_an_answer_begun(serve: Serve, connect: Connect) -> None:
    model = connect(serve(Line("use IN here", unsure={"IN": {"IN": 0.55, "EXISTS": 0.45}})).url)
    reply = model.ask(Ask("test/1", HELLO.messages, logprobs=2, prefix="use"))
    assert reply.text == " IN here"
    (unsure,) = [token for token in reply.tokens if token.text.strip() == "IN"]
    assert [text.strip() for text, _ in unsure.likeliest] == ["IN", "EXISTS"]
    assert unsure.probability == pytest.approx(0.55)


@pytest.mark.parametrize(("refuses", "there"), [((), True), (("response_format", "logprobs"), False)])
def test_the_probe_finds_what_is_there(serve: Serve, connect: Connect, refuses: tuple[str, ...], there: bool) -> None:
    found = probe(connect(serve(Line('{"ready": true}'), refuses=refuses).url)).capabilities
    assert found.logprobs is there
    assert found.prefix is True


def test_the_key_stands_in_no_record(serve: Serve, connect: Connect) -> None:
    exchanges = InMemory()
    connect(serve(Line("fine")).url, exchanges=exchanges).ask(HELLO)
    assert "key-of-ours" not in repr(exchanges.made)


def test_nobody_is_led_to_another_address(connect: Connect) -> None:
    """A redirect would take prompt and key to wherever the endpoint says."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{server.server_address[1]}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ModelError):
            connect(f"http://127.0.0.1:{server.server_address[1]}/v1").ask(HELLO)
    finally:
        server.shutdown()
        server.server_close()
    assert asked
    assert "/elsewhere" not in asked
