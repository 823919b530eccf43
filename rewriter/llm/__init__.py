"""The language model: any OpenAI-compatible endpoint. The only room that imports ``openai``.

What leaves is made here (``redaction``), what it may cost is bounded here (``purse``), what was said is kept as it was
said (``exchanges``). What a model answers is data: text that the parser's guard and the verifier judge.
"""

from rewriter.llm.answers import Answer, read_answer
from rewriter.llm.client import Ask, Model, Reply, Token
from rewriter.llm.endpoint import Capabilities, Endpoint, Prices
from rewriter.llm.exchanges import Exchange, Exchanges, InMemory
from rewriter.llm.purse import Account, Limit, Purse
from rewriter.llm.redaction import Redaction

__all__ = [
    "Account",
    "Answer",
    "Ask",
    "Capabilities",
    "Endpoint",
    "Exchange",
    "Exchanges",
    "InMemory",
    "Limit",
    "Model",
    "Prices",
    "Purse",
    "Redaction",
    "Reply",
    "Token",
    "read_answer",
]
