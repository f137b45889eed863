"""From a configuration to the files of a policy directory: the policy, its tests, CA files, CRLs and lists."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from spoa.allowlist import parse_plain
from spoa.authorizer import Policy
from spoa.exceptions import CertificateError
from spoa.identity import identity_from_der
from spoa.issuers import Issuers
from spoa.listindex import ListIndex, write_index
from spoa.migration.atoms import Authority, ListFile, Surroundings
from spoa.migration.clauses import Refusal, Switch, refusals, switches
from spoa.migration.notes import Note, Notes, as_utf8
from spoa.migration.rules import Drafter, DraftRoute
from spoa.migration.writing import Identities, policy_text
from spoa.pem import read_blocks, write_block
from spoa.pki import CertificateAuthority, Template
from spoa.policy import oids
from spoa.policy.evaluator import Evaluator
from spoa.policy.load import load_policies
from spoa.policy.reading import Report, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from spoa.haproxy_config.proxies import Proxies, Proxy
    from spoa.haproxy_config.reading import Configuration, Line

__all__ = ["Draft", "asks_for_certificates", "choose_frontend", "draft_policy", "policy_of", "with_issuers"]

#: How long SHA-1 lines of an imported list count, and how long a placeholder's CA is valid, in days.
_SHA1_DAYS: Final = 180
_PLACEHOLDER_DAYS: Final = 3650
_DAY: Final = 86_400
#: So many frontends are named where it can't be told which is meant, and so many characters of each name.
_NAMED: Final = 8
_NAME_SHOWN: Final = 60
_SHA1_DIGITS: Final = 40
_NAMES: Final = {oid: name.upper() for name, oid in reversed(tuple(oids.SUBJECT.items()))}


@dataclass(slots=True)
class Draft:
    """A policy directory that was drafted.

    Attributes:
        frontend: what it was drafted from.
        files: path below the directory → content.
        notes: what differs.
        issuers: issuer → its CA certificates, DER.
        lists: fingerprint lists by name.
        refusals, switches: what the original amounts to.
        allows_anonymous: requests without a certificate are judged.
    """

    frontend: Proxy
    files: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    issuers: dict[str, list[bytes]] = field(default_factory=dict)
    lists: dict[str, ListFile] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    allows_anonymous: bool = False

    @property
    def is_tcp(self) -> bool:
        """The original says `mode tcp`: connections are judged, once each, and no requests."""
        return self.frontend.setting("mode") is not None and self.frontend.mode == "tcp"


def asks_for_certificates(frontend: Proxy) -> bool:
    """Tell whether a bind line asks clients for certificates."""
    return any(_after(line, "verify") in {"required", "optional"} for line in _tls_binds(frontend))


def choose_frontend(proxies: Proxies, name: str) -> Proxy:
    """Return the frontend of that name; without one, the only one that asks for certificates, or the only one at all.

    Raises:
        LookupError: there is none, or it can't be told which is meant; the sentence names the first few that there are.
    """
    frontends = proxies.frontends
    chosen = [frontend for frontend in frontends if not name or frontend.name == name]
    if not name and len(chosen) > 1:
        chosen = [frontend for frontend in chosen if asks_for_certificates(frontend)]
    if len(chosen) == 1:
        return chosen[0]
    raise LookupError(f"say which frontend is meant with --frontend; there are: {_names_of(chosen or frontends)}")


def _names_of(frontends: Sequence[Proxy]) -> str:
    names = [visible(frontend.name) for frontend in frontends[:_NAMED]]
    shown = [name if len(name) <= _NAME_SHOWN else f"{name[: _NAME_SHOWN - 1]}…" for name in names]
    more = f" and {len(frontends) - _NAMED} more" if len(frontends) > _NAMED else ""
    return (", ".join(shown) or "none") + more


def draft_policy(
    configuration: Configuration, proxies: Proxies, frontend: Proxy, read: Callable[[str], bytes | None], now: int
) -> Draft:
    """Draft a policy from what a frontend, its defaults and its backends say.

    Args:
        configuration: as it was read.
        proxies: of the configuration.
        frontend: one of them.
        read: from the name of a file that the configuration names to its content, or None.
        now: seconds since the epoch, for dates in the draft.
    """
    notes = Notes()
    for problem in (*configuration.problems, *proxies.problems):
        notes.take(Note(problem.file, problem.number, "unreadable", problem.why))
    for line in configuration.joined:
        notes.add(line, "not-joined", "a line that ends with a backslash")
    found = Draft(frontend)
    trust = _Trust(frontend, read, notes, now)
    found.files.update(trust.files)
    found.issuers = trust.issuers
    found.allows_anonymous = trust.allows_anonymous

    def text_of(name: str) -> str | None:
        content = read(name)
        return None if content is None else content.decode("utf-8", "surrogateescape")

    around = Surroundings(notes, text_of, tuple(trust.authorities))
    drafter = Drafter(around, allows_anonymous=trust.allows_anonymous)
    found.refusals = refusals(frontend, proxies, notes)
    for refusal in found.refusals:
        drafter.refuse(refusal)
    found.switches = switches(frontend, notes)
    routes = drafter.routes(found.switches)
    found.lists = around.lists
    found.files["policy.yaml"] = as_utf8(_policy(found, trust, drafter, routes, now)).encode()
    found.notes = notes.all
    return found


def _policy(found: Draft, trust: _Trust, drafter: Drafter, routes: Sequence[DraftRoute], now: int) -> str:
    for number, rule in enumerate(drafter.allows, 1):
        rule.id = "allowed" if number == 1 else f"allowed-{number}"
    identities = Identities(list(trust.issuers), drafter.names)
    head: dict[str, Any] = {"metadata": {"name": _name(found.frontend.name), "owner": "FILL-IN"}}
    if trust.allows_anonymous:
        head["defaults"] = {"no_certificate": "anonymous"}
    head["issuers"] = {name: {"ca": f"trust/{name}.pem", "revocation": trust.revocation} for name in trust.issuers}
    # Rules first: they say which lists and identities there are.
    comments = [
        f"Drafted by `spoa-authz import` from the frontend {found.frontend.name}. Read it before you use it:",
        "what could not be translated or was unsafe stands in import-notes.txt, with file and line.",
    ]
    rules = [*drafter.rules, *drafter.allows]
    text = policy_text(head, comments, rules, routes, identities, drafter.everyone)
    found.lists = {name: one for name, one in found.lists.items() if name in identities.lists}
    for name, one in found.lists.items():
        found.files[f"lists/{name}.txt"] = as_utf8(_list_text(one)).encode()
    if found.lists:
        head["lists"] = {name: _list_entry(one, now) for name, one in found.lists.items()}
        text = policy_text(head, comments, rules, routes, identities, drafter.everyone)
    return text


def _list_entry(one: ListFile, now: int) -> dict[str, str]:
    entry = {"file": f"lists/{one.name}.txt"}
    if one.digits == _SHA1_DIGITS:
        entry["accept_sha1_until"] = (
            dt.datetime.fromtimestamp(now, dt.UTC).date() + dt.timedelta(_SHA1_DAYS)
        ).isoformat()
    return entry


def _list_text(one: ListFile) -> str:
    lines = ["# Imported; one fingerprint a line.", *one.lines]
    lines += [f"# never matched: {text}" for text in one.unmatched]
    return "\n".join(lines) + "\n"


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._") or "imported"


def _tls_binds(frontend: Proxy) -> list[Line]:
    return [line for line in frontend.lines("bind") if "ssl" in line.texts]


def _after(line: Line, keyword: str) -> str:
    words = line.texts
    return "".join(words[words.index(keyword) + 1 :][:1]) if keyword in words else ""


class _Trust:
    """CAs and CRLs of a frontend's bind lines.

    Attributes:
        issuers: issuer → CA certificates.
        authorities: the same with their names.
        files: what is written for them.
        revocation: as each issuer has it.
        allows_anonymous: a bind line lets clients in that have no certificate.
    """

    def __init__(self, frontend: Proxy, read: Callable[[str], bytes | None], notes: Notes, now: int) -> None:
        self._read = read
        self._notes = notes
        self._now = now
        self.issuers: dict[str, list[bytes]] = {}
        self.authorities: list[Authority] = []
        self.files: dict[str, bytes] = {}
        self.revocation: dict[str, Any] = {"none": "drafted: HAProxy checked no revocation here"}
        binds = _tls_binds(frontend)
        verified = [line for line in binds if _after(line, "verify") in {"required", "optional"}]
        self.allows_anonymous = not binds or any(_after(line, "verify") != "required" for line in binds)
        for line in frontend.lines("bind"):
            if binds and line not in binds:
                what = "what comes here has no certificate, and the draft denies it; give it a frontend of its own"
                notes.add(line, "narrowed", f"{line}: {what}")
        ders = {der: line for line in verified for der in self._certificates(line, frontend)}
        self._name_issuers(ders)
        if not self.issuers:
            self._put_placeholder(verified[0] if verified else frontend.section.line)
        for name, certificates in self.issuers.items():
            self.files[f"trust/{name}.pem"] = b"".join(write_block("CERTIFICATE", der) for der in certificates)
        self._revocation(verified)

    def _certificates(self, line: Line, frontend: Proxy) -> Iterator[bytes]:
        file = _after(line, "ca-file")
        content = self._read(file) if file else None
        if content is None:
            what = f"the CA certificates of {frontend.name} ({file or 'no ca-file'}) can't be read"
            self._notes.add(line, "placeholder", f"{what}; put them into trust/ and name them in `issuers`")
            return
        if _after(line, "ca-verify-file"):
            self._notes.add(line, "narrowed", "only CAs of ca-file are issuers, not those of ca-verify-file")
        for block in read_blocks(content, "CERTIFICATE"):
            try:
                Issuers({"one": [block.der]})
            except CertificateError as error:
                self._notes.add(
                    line, "narrowed", f"a certificate of {file} is no CA and can't be an issuer: {error.detail}"
                )
            else:
                yield block.der

    def _name_issuers(self, ders: Mapping[bytes, Line]) -> None:
        issuers: dict[str, list[bytes]] = {}
        for der in ders:
            subject = identity_from_der(der).subject
            name = _name("".join(subject.get(oids.CN, ())[:1]).lower())[:40] if len(ders) > 1 else "clients"
            while name in issuers:
                name += "-2"
            issuers[name] = [der]
        try:
            Issuers(issuers)
        except CertificateError:
            # Two certificates of one key: an issuer that has several.
            issuers = {"clients": list(ders)}
        self.issuers = issuers
        for name, certificates in issuers.items():
            for der in certificates:
                subject = identity_from_der(der).subject
                named = {_NAMES[oid]: values[0] for oid, values in subject.items() if oid in _NAMES}
                self.authorities.append(Authority(name, named))

    def _put_placeholder(self, line: Line) -> None:
        self._notes.add(line, "placeholder", "trust/clients.pem is a CA whose key was thrown away; put yours there")
        template = Template(
            not_before=self._now - _DAY,
            not_after=self._now + _PLACEHOLDER_DAYS * _DAY,
            cn=("placeholder: put your CA here",),
            is_ca=True,
        )
        self.issuers = {"clients": [CertificateAuthority.root(template).issued.der]}

    def _revocation(self, verified: Sequence[Line]) -> None:
        files = dict.fromkeys(file for line in verified if (file := _after(line, "crl-file")))
        names = []
        for file in files:
            name = f"crl/{_name(file.rpartition('/')[2])}"
            names.append(name)
            content = self._read(file)
            line = next(line for line in verified if _after(line, "crl-file") == file)
            if content is None:
                self._notes.add(line, "placeholder", f"{file} can't be read; until {name} is there all are denied")
            else:
                self.files[name] = content
                self._notes.add(line, "kept", f"{name} is a copy of {file}; have your CA's job write there, too")
        if names:
            self.revocation = {"crl": {"files": names if len(names) > 1 else names[0]}}


def policy_of(found: Draft, now: float) -> Policy:
    """Return the draft as a policy that can be asked, without its revocation lists.

    Raises:
        PolicyError: it is none, which would be a defect.
    """
    report = Report()
    model = load_policies({"policy.yaml": found.files["policy.yaml"]}, report, now=now)
    listings = {}
    for source in model.lists if model is not None else ():
        listing, problems = parse_plain(
            found.files[source.file], source.file, accept_sha1_until=source.accept_sha1_until
        )
        report.add(*problems)
        listings[source.name] = ListIndex(write_index(listing.sections))
    report.refuse_errors()
    assert model is not None
    return Policy(Evaluator.of(model), Issuers(found.issuers), listings, "draft")


def with_issuers(found: Draft, issuers: Mapping[str, list[bytes]]) -> Draft:
    """Return a draft with other CA certificates in the place of its own, for trying it out."""
    files = dict(found.files)
    for name, certificates in issuers.items():
        files[f"trust/{name}.pem"] = b"".join(write_block("CERTIFICATE", der) for der in certificates)
    return replace(found, files=files, issuers=dict(issuers))
