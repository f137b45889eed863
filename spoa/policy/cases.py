"""Policy tests (`kind: tests`): what a document states about requests and their verdicts, read into values.

A certificate is written as a map of attributes or names a file; what a map leaves out of the subject and the
alternative names is absent, what it leaves out of the rest is unavailable. Names of issuers, lists, switches and
identities are those of the policy; whoever runs the tests is elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from spoa.facts import ABSENT, UNAVAILABLE, Certificate, Request
from spoa.policy import oids
from spoa.policy.bricks import Bricks
from spoa.policy.casegrammar import NEGATION, TESTS
from spoa.policy.conditions import COLUMNS, IDENTITY_CONDITIONS
from spoa.policy.document import Scalar, Sequence, items_of, read_document
from spoa.policy.load import MAX_POLICY_SIZE, resolve_path
from spoa.policy.model import Who
from spoa.policy.reading import INVALID, Reading, quoted, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spoa.facts import Missing
    from spoa.policy.document import Node
    from spoa.policy.model import Bearer, Conjunction, PolicyModel, RequestValues
    from spoa.policy.reading import Report

__all__ = [
    "BLANK",
    "NO_CERTIFICATE",
    "UNKNOWN_ISSUER",
    "Case",
    "CaseFile",
    "Expectation",
    "Invariant",
    "Specimen",
    "read_cases",
]

#: In place of a certificate's name: there is none.
NO_CERTIFICATE: Final = "none"
#: In place of an issuer's name: signed by nobody that the policy knows.
UNKNOWN_ISSUER: Final = "unknown"

#: A certificate that says nothing: P-256, for clients; what can only be looked up is not known.
BLANK: Final = Certificate(
    sha256=UNAVAILABLE,
    sha1=UNAVAILABLE,
    spki_sha256=UNAVAILABLE,
    serial=UNAVAILABLE,
    subject={},
    dns_san=(),
    uri_san=(),
    email_san=(),
    ip_san=(),
    eku=UNAVAILABLE,
    policy_oids=UNAVAILABLE,
    is_ca=False,
    has_digital_signature=True,
    key_type="EC",
    key_bits=256,
    signature_hash="sha256",
    not_before=0,
    not_after=0,
)

_IDENTITY_KEYS: Final = (*IDENTITY_CONDITIONS, "subject", "issuer")


# -- values -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Specimen:
    """A certificate as a test gives it: a file, or what it says.

    Attributes:
        file: relative to the policy directory; empty for a map.
        certificate: what the map says, valid at no time until `at` makes it so.
        issuer: who signed it, as the policy names it; empty for nobody known.
        lists: lists that the map says it is on.
        place: where a problem with it is reported.
    """

    file: str
    certificate: Certificate | None
    issuer: str
    lists: Mapping[str, bool | Missing]
    place: tuple[Node, str]

    def at(self, now: int) -> Certificate:
        """Return what the map says, in date at *now* and for no longer, so that no issuer finds it too long-lived."""
        assert self.certificate is not None
        return replace(self.certificate, not_before=now, not_after=now)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come out; None is not compared."""

    verdict: str
    rule: str | None = None
    reason: str | None = None
    status: int | None = None
    route: str | None = None
    shadow: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One request with what must come out, of a test or of a cell of a matrix.

    Attributes:
        name: as reports show it.
        node, path: where it stands.
        cert: name of a specimen, or `NO_CERTIFICATE`.
        request: without its certificate.
        now: seconds since the epoch; None is the present.
        switches: break-glass switches that are open.
        revocation: what every revocation source says.
        expectation: what must come out.
    """

    name: str
    node: Node
    path: str
    cert: str
    request: Request
    now: int | None
    switches: frozenset[str]
    revocation: str
    expectation: Expectation


@dataclass(frozen=True, slots=True)
class Invariant:
    """What no request may ever be allowed, but for exceptions.

    Attributes:
        name: as reports show it.
        node, path: where it stands.
        identity: matchers of the certificate.
        who: identities by name, or None.
        request: matchers of the request.
        outside: matchers that must not hold, each of them.
        exceptions: who is excepted, and while which switch is open (empty: always).
    """

    name: str
    node: Node
    path: str
    identity: Conjunction
    who: Who | None
    request: Conjunction
    outside: Conjunction
    exceptions: tuple[tuple[Who, str], ...]

    def forbids(self, bearer: Bearer, request: RequestValues, switches: frozenset[str]) -> bool:
        """Tell whether an allow would break it; matches generously, and its exceptions strictly."""
        return (
            self.forbids_bearer(bearer)
            and all(one.holds(request.values.get(one.attribute, UNAVAILABLE), generous=True) for one in self.request)
            and not any(
                one.holds(request.values.get(one.attribute, UNAVAILABLE), generous=False) for one in self.outside
            )
            and not self.excepts(bearer, switches)
        )

    def forbids_bearer(self, bearer: Bearer) -> bool:
        """Tell whether it speaks of the bearer."""
        if self.identity and bearer.is_anonymous:
            return False
        return (self.who is None or self.who.holds(bearer, generous=True)) and all(
            one.holds(bearer.values.get(one.attribute, UNAVAILABLE), generous=True) for one in self.identity
        )

    def excepts(self, bearer: Bearer, switches: frozenset[str]) -> bool:
        """Tell whether the bearer is excepted while *switches* are open."""
        return any(
            (not switch or switch in switches) and who.holds(bearer, generous=False) for who, switch in self.exceptions
        )


@dataclass(frozen=True, slots=True)
class CaseFile:
    """What one document states."""

    specimens: Mapping[str, Specimen]
    cases: tuple[Case, ...]
    invariants: tuple[Invariant, ...]


# -- reading ----------------------------------------------------------------------------------------------------


def read_cases(text: bytes, file: str, model: PolicyModel, report: Report) -> CaseFile | None:
    """Read a tests document; None when it is beyond reading. What has a problem is reported and left out.

    Args:
        text: the file's bytes.
        file: its name, relative to the policy directory.
        model: the policy whose names the tests use.
        report: takes every problem.
    """
    node, problems = read_document(text, file, max_size=MAX_POLICY_SIZE)
    report.add(*problems)
    if node is None:
        if not problems:
            report.file_problem(file, "the file is empty; tests begin with apiVersion and `kind: tests`", "empty-file")
        return None
    reading = TESTS.read(node, report, "")
    if reading is INVALID:
        return None
    assert isinstance(reading, Reading)
    return _CaseReader(reading, model, report).read()


class _CaseReader:
    """Resolves the names of one document."""

    def __init__(self, document: Reading, model: PolicyModel, report: Report) -> None:
        self._document = document
        self._report = report
        self._issuers = {issuer.name: issuer for issuer in model.issuers}
        self._lists = {source.name: source for source in model.lists}
        self._switches = {switch.name: switch for switch in model.switches}
        self._bricks = Bricks(report, self._issuers, self._lists)
        self._bricks.identities.update({identity.name: identity for identity in model.identities})
        self._specimens: dict[str, Specimen] = {}
        self._names: dict[str, Node] = {}

    def read(self) -> CaseFile:
        certs = self._document.value.get("certs")
        if certs is not None:
            for name, reading in certs.value.items():
                self._read_specimen(certs, name, reading)
        cases = [*self._tests(), *self._cells()]
        return CaseFile(self._specimens, tuple(cases), tuple(self._invariants()))

    def _problem(self, node: Node, path: str, message: str, code: str) -> None:
        self._report.problem(node, path, message, code)

    def _unknown(self, node: Node, path: str, what: str, name: str, known: Iterable[str]) -> None:
        self._problem(node, path, f"unknown {what} {quoted(name)}{suggestion(name, known)}", "unknown-name")

    # -- certificates ------------------------------------------------------------------------------------------

    def _read_specimen(self, certs: Reading, name: str, reading: Reading) -> None:
        place: tuple[Node, str] = (certs.keys[name], certs.path_of(name))
        if name == NO_CERTIFICATE:
            self._problem(*place, "`none` means that there is no certificate; choose another name", "reserved-name")
            return
        value = reading.value
        if "pem" in value:
            place = (reading.at("pem"), reading.path_of("pem"))
            self._specimens[name] = Specimen(resolve_path(reading.node.file, value["pem"]), None, "", {}, place)
            return
        issuer = value.get("issuer")
        if issuer is not None and issuer not in {*self._issuers, UNKNOWN_ISSUER}:
            known = [*self._issuers, UNKNOWN_ISSUER]
            self._unknown(reading.at("issuer"), reading.path_of("issuer"), "issuer", issuer, known)
        named = _tuple(value.get("in_list", ()))
        for one in named:
            if one not in self._lists:
                self._unknown(reading.at("in_list"), reading.path_of("in_list"), "list", one, self._lists)
        # Whoever names lists is on no others, unless those can be asked by a digest or number; see `Subject`.
        others = () if "in_list" not in value or _NUMBERS & value.keys() else self._lists
        lists: dict[str, bool | Missing] = {one: one in named for one in (*others, *named)}
        known_issuer = issuer if issuer in self._issuers else ""
        self._specimens[name] = Specimen("", _certificate(reading), known_issuer, lists, place)

    def _check_cert(self, name: str, node: Node, path: str) -> bool:
        certs = self._document.value.get("certs")
        known = (*(certs.keys if certs is not None else ()), NO_CERTIFICATE)
        if name not in known:
            self._unknown(node, path, "certificate", name, known)
        return name == NO_CERTIFICATE or name in self._specimens

    # -- requests ----------------------------------------------------------------------------------------------

    def _tests(self) -> Iterator[Case]:
        for reading in self._document.value.get("tests", ()):
            value = reading.value
            line = reading.at("request")
            shown = f" {line.text}" if isinstance(line, Scalar) else ""
            name = value.get("name", f"{value.get('cert', '')}{shown}")
            self._check_name(name, reading)
            is_known = "cert" in value and self._check_cert(value["cert"], reading.at("cert"), reading.path_of("cert"))
            switches = self._open(reading)
            if not reading.is_complete or not is_known:
                continue
            expectation = Expectation(
                value["expect"], *(value.get(key) for key in ("rule", "reason", "status", "route", "shadow"))
            )
            method, path = value.get("request", (UNAVAILABLE, UNAVAILABLE))
            request = _request(value, method, path)
            yield self._case(name, reading, value["cert"], request, switches, expectation)

    def _cells(self) -> Iterator[Case]:
        for reading in self._document.value.get("matrix", ()):
            switches = self._open(reading)
            certs = reading.value.get("certs", ())
            known = [name for name in certs if self._check_cert(name, reading.at("certs"), reading.path_of("certs"))]
            verdicts = self._verdicts(reading, certs)
            if not reading.is_complete:
                continue
            lines = [node.text for node in items_of(reading.at("requests")) if isinstance(node, Scalar)]
            for cert in known:
                for line, (method, path) in zip(lines, reading.value["requests"], strict=True):
                    if cert not in verdicts:
                        continue
                    name = f"matrix/{cert}/{line}"
                    self._check_name(name, reading)
                    request = _request(reading.value, method, path)
                    yield self._case(name, reading, cert, request, switches, Expectation(verdicts[cert]))

    def _verdicts(self, reading: Reading, certs: tuple[str, ...]) -> Mapping[str, str]:
        """Return the verdict for each certificate of a matrix; each must have one."""
        expect = reading.value.get("expect", {})
        if not isinstance(expect, Reading):
            return dict.fromkeys(certs, expect)
        for name in expect.keys:
            if name not in certs:
                self._unknown(expect.keys[name], expect.path_of(name), "certificate of this matrix", name, certs)
        for name in certs:
            if name not in expect.keys:
                message = f"nothing is expected of {quoted(name)}; say `allow` or `deny`"
                self._problem(expect.node, expect.path, message, "missing-key")
        verdicts: Mapping[str, str] = expect.value
        return verdicts

    def _case(
        self,
        name: str,
        reading: Reading,
        cert: str,
        request: Request,
        switches: frozenset[str],
        expectation: Expectation,
    ) -> Case:
        now = reading.value.get("now", self._document.value.get("now"))
        revocation = reading.value["revocation"]
        return Case(name, reading.node, reading.path, cert, request, now, switches, revocation, expectation)

    def _open(self, reading: Reading) -> frozenset[str]:
        names = frozenset(reading.value.get("open", ()))
        for name in sorted(names - self._switches.keys()):
            self._unknown(reading.at("open"), reading.path_of("open"), "break_glass switch", name, self._switches)
        return names

    def _check_name(self, name: str, reading: Reading) -> None:
        first = self._names.setdefault(name, reading.node)
        if first is not reading.node or name.startswith("matrix/") != reading.path.startswith("matrix"):
            message = f"{quoted(name)} is already the name of the test on line {first.line}"
            self._problem(reading.at("name"), reading.path, message, "duplicate-name")

    # -- invariants --------------------------------------------------------------------------------------------

    def _invariants(self) -> Iterator[Invariant]:
        for reading in self._document.value.get("invariants", ()):
            if "name" in reading.value:
                self._check_name(reading.value["name"], reading)
            exceptions = tuple(self._exceptions(reading))
            never = reading.value.get("never_allow")
            if never is None:
                continue
            who = self._bricks.who(never, "who")
            identity = self._bricks.conjunction(_only(never, _IDENTITY_KEYS))
            if reading.is_complete and None not in exceptions:
                yield Invariant(
                    reading.value["name"],
                    reading.node,
                    reading.path,
                    identity,
                    who,
                    self._bricks.columns(_only(never, tuple(COLUMNS))),
                    self._bricks.columns(_negated(never)),
                    tuple(one for one in exceptions if one is not None),
                )

    def _exceptions(self, reading: Reading) -> Iterator[tuple[Who, str] | None]:
        node = reading.at("except")
        places = node.items if isinstance(node, Sequence) else (node,)
        for text, place in zip(reading.value.get("except", ()), places, strict=False):
            name, _, switch = text.partition("@")
            words = {"any_certificate": Who(any_certificate=True), "anonymous": Who(anonymous=True)}
            identities = self._bricks.identities
            who = Who((identities[name],)) if name in identities else words.get(name)
            if who is None:
                self._unknown(place, reading.path_of("except"), "identity", name, [*identities, *words])
            if switch and switch not in self._switches:
                self._unknown(place, reading.path_of("except"), "break_glass switch", switch, self._switches)
                who = None
            yield None if who is None else (who, switch)


def _only(reading: Reading, keys: tuple[str, ...]) -> Reading:
    return replace(reading, value={key: value for key, value in reading.value.items() if key in keys})


def _negated(reading: Reading) -> Reading:
    """Return the `not_` keys of a reading under the names of what they negate."""
    value = {key.removeprefix(NEGATION): value for key, value in reading.value.items() if key.startswith(NEGATION)}
    return replace(reading, value=value)


def _request(value: Mapping[str, Any], method: Any, path: Any) -> Request:
    """Return the request that a test describes; what isn't given is unavailable, but for the SNI, which is absent."""
    headers = value.get("headers")
    return Request(
        cert=ABSENT,
        used=False,
        source=value.get("source", UNAVAILABLE),
        method=method,
        path=path,
        host=value.get("host", UNAVAILABLE),
        sni=value.get("sni", ABSENT),
        tls=value.get("tls", UNAVAILABLE),
        headers={} if headers is None else {name.lower(): text for name, text in headers.value.items()},
    )


#: Keys of a certificate by which lists find it.
_NUMBERS: Final = frozenset({"fingerprint", "spki", "serial"})


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _certificate(reading: Reading) -> Certificate:
    """Return the certificate that a map describes; its validity is filled in when it is used."""
    value = reading.value
    subject: dict[str, tuple[str, ...]] = {}
    named = value.get("subject")
    for key, oid in (("cn", oids.CN), ("ou", oids.OU), ("o", oids.O)):
        if key in value:
            subject[oid] = _tuple(value[key])
    for oid, texts in named.value.items() if named is not None else ():
        subject[oid] = (*subject.get(oid, ()), *_tuple(texts))
    key_type, key_bits = value.get("key", ("EC", 256))
    return replace(
        BLANK,
        sha256=value.get("fingerprint", UNAVAILABLE),
        spki_sha256=value.get("spki", UNAVAILABLE),
        serial=value.get("serial", UNAVAILABLE),
        subject={oid: texts for oid, texts in subject.items() if texts},
        dns_san=_tuple(value.get("dns_san", ())),
        uri_san=_tuple(value.get("uri_san", ())),
        email_san=_tuple(value.get("email_san", ())),
        ip_san=_tuple(value.get("ip_san", ())),
        eku=(_tuple(value["eku"]) or ABSENT) if "eku" in value else UNAVAILABLE,
        policy_oids=(_tuple(value["policy_oid"]) or ABSENT) if "policy_oid" in value else UNAVAILABLE,
        key_type=key_type,
        key_bits=key_bits,
    )
