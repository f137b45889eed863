"""What a line of the decision log holds, as one table: the reference page and the JSON Schema are made of it.

The schema has a version, which stands in every line. It rises when a member changes its meaning or goes away; a new
member alone doesn't raise it. Lines without a version are of agents before there was one, and hold the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.exceptions import SpoaError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIELDS", "SCHEMA", "LogField", "NewerLogError", "check_version", "hidden", "json_schema"]

#: Version of the lines that this agent writes, and the newest that it reads.
SCHEMA: Final = 1


class NewerLogError(SpoaError):
    """A line that a newer agent wrote, whose meaning isn't known here.

    Attributes:
        version: the line's.
    """

    def __init__(self, version: object) -> None:
        super().__init__(version)
        self.version = version

    def __str__(self) -> str:
        return (
            f"the decision log has schema {self.version}, and this version of spoa-authz reads up to {SCHEMA}; "
            "use the version that wrote it"
        )


class LogField(NamedTuple):
    """One member of a line: its schema, what it means, and whether every line has it."""

    schema: Mapping[str, Any]
    doc: str
    is_always_there: bool = True


def _text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def _maybe(**more: Any) -> dict[str, Any]:
    return {"type": ["string", "null"], **more}


def _record(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_HEX64: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_OF_CERTIFICATE: Final = (
    "sha256",
    "subject",
    "issuer",
    "serial",
    "not_after",
    "spki_sha256",
    "sha1",
    "issuer_name",
)
_CERTIFICATE: Final = _record({name: _maybe() for name in _OF_CERTIFICATE})
_DIFFERENCE: Final = _record({name: _text() for name in ("change", "verdict", "reason", "rule", "route")})
_LINK: Final = _record(
    {
        "alg": {"enum": ["sha256", "hmac-sha256"]},
        "writer": _text(pattern="^(file|process)-[0-9a-f]{16}$"),
        "seq": {"type": "integer", "minimum": 1},
        "prev": _HEX64,
        "hash": _HEX64,
    }
)
_NAMES: Final = {"type": "array", "items": {"type": "string"}}

#: Member → what it is, in the order of a line.
FIELDS: Final[Mapping[str, LogField]] = {
    "time": LogField(_text(format="date-time"), "When it was judged, UTC with microseconds."),
    "id": LogField(_text(), "HAProxy's unique id, the same as in its own log."),
    "verdict": LogField({"enum": ["allow", "deny"]}, "As answered."),
    "status": LogField({"type": "integer", "minimum": 200, "maximum": 599}, "As answered."),
    "reason": LogField(_text(), "As answered; where shadow mode softened a deny, what would have been answered."),
    "rule": LogField(_text(), "As answered, with the same exception; empty where no rule decided."),
    "rules": LogField(_NAMES, "Ids of all rules that spoke: unmet requirements and denies, and allows that matched."),
    "identity": LogField(_text(), "As answered."),
    "route": LogField(_text(), "As answered."),
    "revision": LogField(_text(), "As answered."),
    "shadow": LogField({"enum": ["", "deny"]}, "As answered."),
    "revocation": LogField(
        _text(),
        "State of the certificate, `not_checked` where the issuer says `none`; empty where no one asked.",
    ),
    "cert": LogField(
        {"oneOf": [{"type": "null"}, _CERTIFICATE]},
        "`sha256`, `subject`, `issuer`, `serial`, `not_after`, `spki_sha256`, `sha1`, `issuer_name` (the issuer as the "
        "policy names it, empty for a stranger); only `sha256` where the certificate wasn't or couldn't be read, null "
        "where none was sent.",
    ),
    "src": LogField(_maybe(), "As sent; null where it wasn't."),
    "method": LogField(_maybe(), "As sent; null where it wasn't."),
    "host": LogField(_maybe(), "As sent; null where it wasn't."),
    "path": LogField(_maybe(), "As sent, never with its query; that of `OPTIONS *` is `*`; null where it wasn't."),
    "latency_us": LogField(
        {"type": "integer", "minimum": 0},
        "Microseconds from the frame read to the answer written, with all that was answered in the same turn.",
    ),
    "detail": LogField(
        _text(),
        "Which argument was malformed, at which stage a certificate couldn't be read, or why revocation has that "
        "state (`keyCompromise`, `bad_signature`, `unreachable` …); else empty.",
    ),
    "break_glass": LogField(_NAMES, "The switches that were open."),
    "candidate": LogField(
        {"oneOf": [{"type": "null"}, _DIFFERENCE]},
        "Null, or how the candidate would have answered where that is otherwise: `change`, `verdict`, `reason`, "
        "`rule`, `route`; such decisions are written whatever `--log-allows` says.",
    ),
    "schema": LogField({"type": "integer", "minimum": 1}, "Version of the schema, 1."),
    "masked": LogField(
        _NAMES,
        "What `--decision-log-mask` replaced, by name; with `sha256` also `spki_sha256` and `sha1`, with `src` also "
        "`id` unless that is a UUID.",
    ),
    "cut": LogField(_NAMES, "Texts that were cut to 512 characters, to fit into a datagram.", is_always_there=False),
    "chain": LogField(
        _LINK,
        "With `--decision-log-chain`: the line's place in the hash chain, as `audit verify` checks it.",
        is_always_there=False,
    ),
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a line; members that it doesn't name are allowed, since newer agents may add some."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A decision of spoa-authz",
        "description": f"One line of the decision log, schema {SCHEMA}.",
        "type": "object",
        "properties": {name: {**field.schema, "description": field.doc} for name, field in FIELDS.items()}
        | {"schema": {"const": SCHEMA, "description": FIELDS["schema"].doc}},
        "required": [name for name, field in FIELDS.items() if field.is_always_there],
    }


def check_version(row: Mapping[str, Any]) -> None:
    """Refuse a line that a newer agent wrote.

    Raises:
        NewerLogError: it is one.
    """
    version = row.get("schema", 0)
    if not isinstance(version, int) or version > SCHEMA:
        raise NewerLogError(version)


def hidden(row: Mapping[str, Any]) -> frozenset[str]:
    """Return what a line has, but not as it was: masked or cut."""
    names = [*_list(row.get("masked")), *_list(row.get("cut"))]
    return frozenset(name for name in names if isinstance(name, str))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
