"""The one place that knows both vocabularies: arguments of a message become a request, a judgement becomes variables.

Two tables: `ARGUMENTS` for what HAProxy sends in the message `authorize`, `VARIABLES` for what it gets. What the tables
don't name is skipped or never sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.exceptions import ProtocolError
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.policy.sans import packed_address
from spoa.spop import DataType, Scope, read_arguments, write_set_var

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from spoa.authorizer import Judgement
    from spoa.facts import Missing
    from spoa.policy.decision import Decision
    from spoa.spop import Value

__all__ = ["ARGUMENTS", "MESSAGE", "VARIABLES", "Answers", "read_for_log", "read_request"]

MESSAGE: Final = b"authorize"

_INTEGERS: Final = frozenset({DataType.INT32, DataType.UINT32, DataType.INT64, DataType.UINT64})
_ADDRESSES: Final = frozenset({DataType.IPV4, DataType.IPV6})
_TEXT: Final = frozenset({DataType.STRING})


class ArgumentRow(NamedTuple):
    """How an argument becomes a field of the request.

    Attributes:
        field: of `facts.Request`.
        types: that it may have beside NULL.
        read: value → field's value.
        null: what NULL means.
    """

    field: str
    types: frozenset[DataType]
    read: Callable[[bytes], object] | None
    null: Any


def _latin(value: bytes) -> str:
    return value.decode("latin-1")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


#: What the message may hold; the names are those of the contract with HAProxy's configuration.
ARGUMENTS: Final[Mapping[bytes, ArgumentRow]] = {
    b"cert": ArgumentRow("cert", frozenset({DataType.BINARY}), None, ABSENT),
    b"used": ArgumentRow("used", frozenset({DataType.BOOL}), None, UNAVAILABLE),
    b"verify": ArgumentRow("verify", _INTEGERS, None, UNAVAILABLE),
    b"resumed": ArgumentRow("resumed", frozenset({DataType.BOOL}), None, False),  # noqa: FBT003 -- the row says of what
    b"src": ArgumentRow("source", _ADDRESSES, packed_address, UNAVAILABLE),
    b"method": ArgumentRow("method", _TEXT, _latin, UNAVAILABLE),
    b"path": ArgumentRow("path", _TEXT, _latin, ABSENT),
    b"host": ArgumentRow("host", _TEXT, _latin, UNAVAILABLE),
    b"sni": ArgumentRow("sni", _TEXT, _latin, ABSENT),
    b"tls": ArgumentRow("tls", _TEXT, _latin, UNAVAILABLE),
    b"id": ArgumentRow("id", _TEXT, _text, ""),
}
_HEADER: Final = b"hdr."
_HEADER_COUNT: Final = b"hdrcnt."


class _Wanted:
    """What each argument is: a row of the table, or the lower-case name of a header's argument."""

    def __init__(self) -> None:
        self._rows = dict(ARGUMENTS)

    def get(self, name: bytes) -> ArgumentRow | bytes | None:
        row = self._rows.get(name)
        if row is None and name.startswith((_HEADER, _HEADER_COUNT)):
            return name.lower()
        return row


_WANTED: Final = _Wanted()


def read_request(payload: bytes) -> Request | None:
    """Return the request that a NOTIFY describes, or None when it holds no `authorize` message.

    What can be decoded but breaks the contract (a wrong type, an argument twice, `cert` or `verify` missing, two
    messages) is told in the request's `malformed`.

    Raises:
        ProtocolError: status 4, when the payload can't be decoded to its end.
    """
    arguments: list[tuple[ArgumentRow | bytes, int, Value]]
    messages, arguments = read_arguments(payload, MESSAGE, _WANTED)
    if not messages:
        return None
    request = Request()
    headers: list[tuple[bytes, int, Value]] = []
    seen: set[str] = set()
    for row, data_type, value in arguments:
        if isinstance(row, bytes):
            headers.append((row, data_type, value))
            continue
        field, types, read, null = row
        if field in seen:
            request.malformed = f"the argument {field} stands twice"
        seen.add(field)
        if data_type == DataType.NULL:
            setattr(request, field, null)
        elif data_type in types:
            setattr(request, field, value if read is None else read(value))  # type: ignore[arg-type] # as the row says
        else:
            request.malformed = f"the argument {field} has a wrong type"
    if headers:
        _read_headers(request, headers)
    if messages > 1:
        request.malformed = "two authorize messages in one NOTIFY"
    elif "cert" not in seen or "verify" not in seen:
        request.malformed = "cert and verify must be in the message"
    return request


def read_for_log(payload: bytes) -> Request:
    """Return what can be read of a NOTIFY that could not be answered as it should; never raises."""
    try:
        return read_request(payload) or Request()
    except ProtocolError:
        return Request()


def _read_headers(request: Request, arguments: Iterable[tuple[bytes, int, Value]]) -> None:
    """Fill in the headers: NULL is absent, and unless the count is 0 or 1 a header is unavailable."""
    values: dict[bytes, str | Missing] = {}
    counts: dict[bytes, int | None] = {}
    for name, data_type, value in arguments:
        kind, _, header = name.partition(b".")
        found: dict[bytes, Any] = counts if kind == b"hdrcnt" else values
        if header in found:
            request.malformed = "a header's argument stands twice"
        if data_type == DataType.NULL:
            found[header] = None if found is counts else ABSENT
        elif found is counts and data_type in _INTEGERS:
            found[header] = value
        elif found is values and data_type == DataType.STRING and isinstance(value, bytes):
            found[header] = _text(value)
        else:
            request.malformed = "a header's argument has a wrong type"
    for header, text in values.items():
        # A value that was counted as none is a contradiction, and not to be relied on.
        fits = counts.get(header) == 1 or (counts.get(header) == 0 and text is ABSENT)
        request.headers[_text(header)] = text if fits else UNAVAILABLE


# -- variables --------------------------------------------------------------------------------------------------


def _set_text(name: bytes, value: str) -> bytes:
    return write_set_var(Scope.TRANSACTION, name, DataType.STRING, value.encode("utf-8", "surrogateescape"))


def _set_integer(name: bytes, value: int) -> bytes:
    return write_set_var(Scope.TRANSACTION, name, DataType.INT64, value)


#: Variables in the order of sending.
VARIABLES: Final = (
    "verdict",
    "status",
    "reason",
    "rule",
    "identity",
    "route",
    "shadow",
    "revision",
    "path",
    "days_left",
)
#: Those that are a decision's fields, and those of them that are sent only if they say something.
_OF_DECISION: Final = VARIABLES[:7]
_SELDOM: Final = frozenset({"route", "shadow"})
#: Decisions of which the actions are remembered; they are few, unless a policy makes many and forgets them itself.
REMEMBERED: Final = 65536


class Answers:
    """Judgements as LIST-OF-ACTIONS; what is the decision's own is written once for each decision.

    One belongs to one revision and goes with it.
    """

    def __init__(self, revision: str) -> None:
        self._revision = _set_text(b"revision", revision)
        self._written: dict[Decision, bytes] = {}
        self._days: dict[int, bytes] = {}

    def actions_for(self, judgement: Judgement | None) -> bytes:
        """Return the actions that tell HAProxy of *judgement*, which a NOTIFY may not have asked for."""
        if judgement is None:
            return self._revision
        actions = self.without_days(judgement)
        return actions if judgement.days_left is None else actions + self.days_left(judgement.days_left)

    def without_days(self, judgement: Judgement) -> bytes:
        """Return the actions but `days_left`, which differs between certificates that are judged alike."""
        actions = self.of_decision(judgement.decision)
        return actions + self.path(judgement.path) if judgement.path else actions

    def of_decision(self, decision: Decision) -> bytes:
        """Return the actions that are the same wherever *decision* is the answer."""
        actions = self._written.get(decision)
        if actions is None:
            if len(self._written) >= REMEMBERED:
                self._written.clear()
            actions = self._written[decision] = self._write(decision)
        return actions

    def path(self, text: str) -> bytes:
        """Return the action that sets `path`."""
        return _set_text(b"path", text)

    def days_left(self, days: int) -> bytes:
        """Return the action that sets `days_left`."""
        action = self._days.get(days)
        if action is None:
            action = self._days[days] = _set_integer(b"days_left", days)
        return action

    def _write(self, decision: Decision) -> bytes:
        parts = []
        for name in _OF_DECISION:
            value = getattr(decision, name)
            if isinstance(value, int):
                parts.append(_set_integer(name.encode(), value))
            elif value or name not in _SELDOM:
                parts.append(_set_text(name.encode(), value))
        return b"".join(parts) + self._revision
