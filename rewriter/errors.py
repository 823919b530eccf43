"""The one tree of errors that a user may see.

RewriterError
├── InputError                 exit 2: what was handed in cannot be used
│   ├── QueryRejected          the guard or the parser refuses the text (see ``code``)
│   ├── UnknownName            a relation or column that the catalog does not have
│   ├── SchemaError            DDL text or a pair's schema cannot be read
│   ├── RuleFileError          a rule document is malformed
│   ├── NotFound               what was asked for is not there, or not for this caller
│   ├── Conflict               it does not fit with what was done before
│   └── UsageError             options that do not fit together, settings out of range
├── TargetError                exit 3: the database cannot be used at all
│   ├── TargetUnreachable      no server, wrong password, unknown database
│   └── TargetLost             the server or the child process went away during work
├── EngineError                exit 4: the engine refuses or gives up one statement
│   ├── BindError              the statement does not bind (names, types)
│   ├── ExecutionError         it binds and fails while running (division by zero, overflow)
│   ├── QueryTimeout           stopped at its time limit
│   └── ResourcesExceeded      stopped at a memory, row or file limit, or the child crashed on it
├── ModelError                 exit 7: the language model gives no answer that can be used
│   ├── ModelUnreachable       no answer in time
│   ├── ModelRefused           the endpoint does not accept the key, the model or the request
│   ├── BadAnswer              what it answers is no completion, or not what was asked for
│   └── BudgetExceeded         the answer might cost more than is allowed; nothing was sent
├── AccessError                exit 8: the service does not let this caller do that
│   ├── Unauthenticated        no key, or none that is valid
│   ├── Forbidden              the key's role does not allow it
│   └── TooManyRequests        more than the key's rate or budget
├── StoreError                 exit 5: the record of past work cannot be read or written
└── SnapshotError              exit 9: a snapshot of approved rewrites cannot be used (see ``code``)

Every message says what was wrong and where; ``hint`` says what to do. Neither holds a password, and the
message of a rejected query holds at most the offending word, never the statement.
"""

from __future__ import annotations


class RewriterError(Exception):
    """Base of all errors shown to users.

    ``code`` is a stable slug for programs; ``hint`` is one sentence of advice (may be empty);
    ``exit_code`` is what the command line returns.
    """

    code = "error"
    exit_code = 70

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class InputError(RewriterError):
    code = "bad-input"
    exit_code = 2


class QueryRejected(InputError):
    """``code`` is one of: empty-query, too-large, too-deep, syntax-error, multiple-statements,
    unsupported-statement, unsupported-feature, forbidden-function."""

    code = "query-rejected"


class UnknownName(InputError):
    code = "unknown-name"


class SchemaError(InputError):
    code = "bad-schema"


class RuleFileError(InputError):
    code = "bad-rule-file"


class UsageError(InputError):
    code = "usage"


class NotFound(InputError):
    code = "not-found"


class Conflict(InputError):
    code = "conflict"


class TargetError(RewriterError):
    code = "target"
    exit_code = 3


class TargetUnreachable(TargetError):
    code = "target-unreachable"


class TargetLost(TargetError):
    code = "target-lost"


class EngineError(RewriterError):
    code = "engine"
    exit_code = 4


class BindError(EngineError):
    code = "bind-error"


class ExecutionError(EngineError):
    code = "execution-error"


class QueryTimeout(EngineError):
    code = "query-timeout"


class ResourcesExceeded(EngineError):
    code = "resources-exceeded"


class ModelError(RewriterError):
    code = "model"
    exit_code = 7


class ModelUnreachable(ModelError):
    """``wait``: seconds after which the endpoint wants to be asked again."""

    code = "model-unreachable"
    wait: float = 0.0


class ModelRefused(ModelError):
    code = "model-refused"


class BadAnswer(ModelError):
    code = "bad-answer"


class BudgetExceeded(ModelError):
    code = "budget-exceeded"


class AccessError(RewriterError):
    code = "access"
    exit_code = 8


class Unauthenticated(AccessError):
    code = "unauthenticated"


class Forbidden(AccessError):
    code = "forbidden"


class TooManyRequests(AccessError):
    """``wait``: seconds after which the caller may ask again."""

    code = "too-many-requests"
    wait: float = 0.0


class StoreError(RewriterError):
    code = "store"
    exit_code = 5


class SnapshotError(RewriterError):
    """``code`` is one of: bad-signature, malformed-snapshot, unknown-version, wrong-target, snapshot-expired,
    snapshot-rollback, snapshot-unreachable."""

    code = "snapshot"
    exit_code = 9


def place_of(error: BaseException) -> str:
    """The function and line that raised an error, for logs: its text may quote SQL."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else "?"
