"""A decision as a line of the decision log: what it holds, and how it is written.

What a header or a query said never gets here: a request's fields are named one by one below, and described in
`spoa.decision_fields`.
"""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Final

from spoa.cache import BoundedCache
from spoa.decision_fields import SCHEMA
from spoa.facts import ABSENT, Missing, Request
from spoa.logsinks.sink import SEPARATORS

if TYPE_CHECKING:
    from spoa.authorizer import Judgement
    from spoa.facts import Certificate
    from spoa.policy.decision import Decision

__all__ = ["Entry", "LineWriter", "row_of"]

_OVERHEAD: Final = 1024
_MICRO: Final = 1_000_000
#: Characters that lines tell of a request, of the longest that is kept with it: escaped, a path is six times as long,
#: and what waits in a queue has its size counted before.
_KEPT: Final = 512
#: Bytes of the longest that is kept with a judgement: what a certificate says is as long as its issuer makes it.
_KEPT_LINE: Final = 2048
#: Parts of lines that are remembered, of each kind, in half of a cache; some 0.5 kB each.
REMEMBERED: Final = 16384


class Entry:
    """What a line is made of.

    Attributes:
        now: when it was judged, seconds since the epoch.
        latency: seconds from the frame read to the answer written.
        request: what was asked.
        id: of this request; the request's own unless it shares that with others.
        sha256: of the certificate that was sent, where nothing else is known of it.
        detail: what exactly was malformed, or could not be read; empty for any other reason.
    """

    __slots__ = ("detail", "id", "judgement", "latency", "now", "request", "revision", "sha256", "switches")

    def __init__(
        self,
        now: float,
        latency: float,
        request: Request,
        judgement: Judgement,
        revision: str,
        sha256: bytes = b"",
        detail: str = "",
        switches: tuple[str, ...] = (),
    ) -> None:
        self.now = now
        self.latency = latency
        self.id = request.id
        self.request = request
        self.judgement = judgement
        self.revision = revision
        self.sha256 = sha256
        self.detail = detail
        self.switches = switches

    def keep(self) -> int:
        """Let go of the certificate and the headers, to be kept; return roughly the memory that is held then, bytes."""
        request = self.request
        self.request = Request(source=request.source, method=request.method, path=request.path, host=request.host)
        return _OVERHEAD + _length(request.path) + _length(request.host)


def _length(text: str | Missing) -> int:
    return len(text) if isinstance(text, str) else 0


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _instant(seconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def _path(request: Request) -> str | None:
    """Return the path; that of `OPTIONS *`, which HAProxy does not send, is told from one that nobody could see."""
    return "*" if request.path is ABSENT and request.method == "OPTIONS" else _text(request.path)


def _text(value: str | Missing) -> str | None:
    return None if isinstance(value, Missing) else value


def _digits(value: bytes | Missing) -> str | None:
    return None if isinstance(value, Missing) else value.hex()


_UNREAD: Final = ("subject", "issuer", "serial", "not_after", "spki_sha256", "sha1", "issuer_name")


def _certificate(certificate: Certificate | None, sha256: bytes, issuer: str | None) -> dict[str, Any] | None:
    if certificate is None:
        return {"sha256": sha256.hex(), **dict.fromkeys(_UNREAD)} if sha256 else None
    serial = certificate.serial
    return {
        "sha256": _digits(certificate.sha256),
        "subject": certificate.subject_text,
        "issuer": certificate.issuer_text,
        "serial": None if isinstance(serial, Missing) else f"{serial:x}",
        "not_after": _instant(certificate.not_after),
        # By these lists find it, too; what names it must be masked with it, as `spoa.masking` says.
        "spki_sha256": _digits(certificate.spki_sha256),
        "sha1": _digits(certificate.sha1),
        "issuer_name": issuer or "",
    }


_DIFFERENCE: Final = ("change", "verdict", "reason", "rule", "route")


def _decision(decision: Decision, revision: str) -> dict[str, Any]:
    return {
        "verdict": decision.verdict,
        "status": decision.status,
        "reason": decision.log_reason,
        "rule": decision.log_rule,
        "rules": list(decision.rules),
        "identity": decision.identity,
        "route": decision.route,
        "revision": revision,
        "shadow": decision.shadow,
    }


def _circumstances(switches: tuple[str, ...], difference: tuple[str, ...] | None) -> dict[str, Any]:
    return {
        "break_glass": list(switches),
        "candidate": None if difference is None else dict(zip(_DIFFERENCE, difference, strict=True)),
        "schema": SCHEMA,
        "masked": [],
    }


def _issuer(entry: Entry) -> str | None:
    standing = entry.judgement.standing
    return None if standing is None else standing.issuer


def row_of(entry: Entry) -> dict[str, Any]:
    """Return what the line of a decision holds."""
    request = entry.request
    return {
        "time": _timestamp(entry.now),
        "id": entry.id,
        **_decision(entry.judgement.decision, entry.revision),
        "revocation": entry.judgement.revocation,
        "cert": _certificate(entry.judgement.certificate, entry.sha256, _issuer(entry)),
        "src": None if isinstance(request.source, Missing) else str(ipaddress.ip_address(request.source)),
        "method": _text(request.method),
        "host": _text(request.host),
        "path": _path(request),
        "latency_us": round(entry.latency * 1e6),
        "detail": entry.detail,
        **_circumstances(entry.switches, entry.judgement.difference),
    }


def _written(value: Any) -> str:
    return json.dumps(value, separators=SEPARATORS)


def _members(values: dict[str, Any]) -> str:
    return _written(values)[1:-1]


def _quoted(text: str | None) -> str:
    return "null" if text is None else quoted(text)


# Hot path: calling `round` and encoding what is almost always empty costs a line a sixth. Benchmark:
# benchmarks/logline.py.
def _rounded(number: float) -> int:
    """Return what `round` does of a number that isn't negative."""
    whole = int(number)
    rest = number - whole
    return whole + (rest > 0.5 or (rest == 0.5 and whole & 1 == 1))  # noqa: PLR2004 -- a half


class LineWriter:
    """Writes the same bytes as encoding `row_of` does, put together from parts that recur. Not for several threads."""

    def __init__(self) -> None:
        # Found by their id, which can't become another's since they are kept: hashing what they say would cost more.
        self._decisions: BoundedCache[int, tuple[Decision, str, str]] = BoundedCache(REMEMBERED)
        self._sources: BoundedCache[bytes, str] = BoundedCache(REMEMBERED)
        self._calm = f'"detail":"",{_members(_circumstances((), None))}}}'.encode()
        self._second = -1
        self._day_and_time = ""
        self._now = self._latency = float("nan")  # which no time is
        self._time = self._nameless = self._duration = self._end = b""

    # Trick: whoever is refused once is so again and again, for the same reason; what is new in a line is a fifth of it,
    # and what a turn answered has the same time. Benchmark: benchmarks/logline.py.
    def line(self, entry: Entry, *, keep: bool = True) -> bytes:
        """Return the line of a decision, without its end; *keep* what `again` needs, unless that is long."""
        judgement = entry.judgement
        said = (
            f",{self._decision(entry)},"
            f'"revocation":{quoted(judgement.revocation)},"cert":{self._certificate(entry)},{self._request(entry.request)}'
        ).encode()
        if entry.detail or entry.switches or judgement.difference is not None:
            circumstances = _members(_circumstances(entry.switches, judgement.difference))
            rest = f'"detail":{quoted(entry.detail)},{circumstances}}}'.encode()
            return self._line(entry.now, entry.latency, entry.id, said, rest)
        if keep and entry.request.line and len(said) <= _KEPT_LINE:
            judgement.line = said
        return self._line(entry.now, entry.latency, entry.id, said, self._calm)

    def again(self, pieces: list[bytes], now: float, latency: float, judgement: Judgement, identifier: str) -> None:
        """Append the pieces of a line, with its end, whose judgement had one, at another time or with another id.

        While no switch is open, that is: lines say so.
        """
        self._set_times(now, latency)
        if identifier:
            pieces += (self._time, quoted(identifier).encode(), judgement.line, self._end)
        else:
            pieces += (self._nameless, judgement.line, self._end)

    def _line(self, now: float, latency: float, identifier: str, said: bytes, rest: bytes) -> bytes:
        self._set_times(now, latency)
        return b"".join((self._time, quoted(identifier).encode(), said, self._duration, rest))

    def _set_times(self, now: float, latency: float) -> None:
        if now != self._now:
            self._now, self._time = now, f'{{"time":"{self._timestamp(now)}","id":'.encode()
            self._nameless = self._time + b'""'
        if latency != self._latency:
            self._latency, self._duration = latency, f',"latency_us":{_rounded(latency * 1e6)},'.encode()
            self._end = self._duration + self._calm + b"\n"

    def _timestamp(self, seconds: float) -> str:
        """Return what `_timestamp` does, of which all but the microseconds is the same for a second."""
        second = int(seconds)
        microseconds = _rounded((seconds - second) * 1e6)
        if microseconds >= _MICRO or seconds < 0:
            return _timestamp(seconds)
        if second != self._second:
            self._second, self._day_and_time = second, _timestamp(second)[:-7]
        return f"{self._day_and_time}{str(_MICRO + microseconds)[1:]}Z"

    def _decision(self, entry: Entry) -> str:
        decision = entry.judgement.decision
        known = self._decisions.get(id(decision))
        if known is None or known[1] != entry.revision:
            known = decision, entry.revision, _members(_decision(decision, entry.revision))
            self._decisions.put(id(decision), known)
        return known[2]

    def _certificate(self, entry: Entry) -> str:
        standing = entry.judgement.standing
        if standing is not None and standing.line:
            return standing.line
        if standing is None or standing.certificate is None:
            return _written(_certificate(None, entry.sha256, None))
        # Kept where the certificate is, and gone with it: a memory of its own would keep what all others have dropped.
        standing.line = _written(_certificate(standing.certificate, b"", standing.issuer))
        return standing.line

    def _request(self, request: Request) -> str:
        # Kept with the request, as `Standing.line` is with the certificate: whoever asks the same again shares it.
        if request.line:
            return request.line
        line = (
            f'"src":{self._source(request.source)},"method":{_quoted(_text(request.method))},'
            f'"host":{_quoted(_text(request.host))},"path":{_quoted(_path(request))}'
        )
        if len(line) <= _KEPT:
            request.line = line
        return line

    def _source(self, source: bytes | Missing) -> str:
        if isinstance(source, Missing):
            return "null"
        text = self._sources.get(source)
        if text is None:
            text = quoted(str(ipaddress.ip_address(source)))
            self._sources.put(source, text)
        return text
