"""The original beside the draft: the same requests through a real HAProxy and through the evaluator.

HAProxy runs on what decides in the configuration, and on nothing else: its ACLs and rules, with a socket of our own in
the place of its addresses, throw-away CAs in the place of its own, and backends that answer with their names. In `mode
tcp` they pass the connection on to a frontend for each, which does.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from spoa.identity import fingerprints, identity_from_der
from spoa.migration.drafting import policy_of, with_issuers
from spoa.migration.rules import NOWHERE
from spoa.migration.trials import request_of, trials_of
from spoa.pki import SERVER_AUTH, CertificateAuthority, Issued, Template
from spoa.policy import oids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spoa.haproxy_config.proxies import Proxies
    from spoa.haproxy_config.reading import Configuration, Line
    from spoa.migration.drafting import Draft
    from spoa.migration.simulation import Sample
    from spoa.migration.trials import Client
    from spoa.policy.decision import Decision

__all__ = ["Compared", "HaproxyRefusedError", "reduced", "reenact"]

_MARK: Final = "x-import-backend"
_SECONDS: Final = 10.0
_DAY: Final = 86_400
_KEPT: Final = frozenset(
    {"acl", "http-request", "tcp-request", "use_backend", "default_backend", "capture", "declare", "redirect"}
)
#: Rules with one of these words are left out: they need more than is left, or mean an address that isn't there.
_LEFT_OUT: Final = frozenset({"use-service", "expect-proxy", "expect-netscaler-cip"})
#: What a rule may need that isn't a condition or a verdict.
_BESIDE: Final = frozenset({"userlist"})
#: Most clients that a client certificate is made for, in all.
_MOST_CLIENTS: Final = 60


class HaproxyRefusedError(RuntimeError):
    """HAProxy doesn't start on what is left of the configuration.

    Attributes:
        printed: what it said.
    """

    def __init__(self, printed: str) -> None:
        super().__init__(printed)
        self.printed = printed

    def __str__(self) -> str:
        return f"HAProxy doesn't start on what the draft was made from:\n{self.printed}"


@dataclass(frozen=True, slots=True)
class Compared:
    """One request with both answers.

    Attributes:
        client: who sent it.
        sample: what was sent.
        status: of HAProxy's answer.
        backend: where HAProxy sent it; empty where nowhere.
        decision: the draft's.
    """

    client: Client
    sample: Sample
    status: int
    backend: str
    decision: Decision

    @property
    def tag(self) -> str:
        """`same`, `newly_allowed`, `newly_denied`, `other_backend`, or `not_compared` for HAProxy's own answers."""
        allowed = self.decision.verdict == "allow" and self.decision.route != NOWHERE
        if not self.backend and self.status < http.client.BAD_REQUEST:
            return "not_compared"
        if bool(self.backend) is not allowed:
            return "newly_allowed" if allowed else "newly_denied"
        return "other_backend" if allowed and self.decision.route not in {"", self.backend} else "same"


# -- what is left of the configuration --------------------------------------------------------------------------


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", "\\n")
    return f'"{escaped}"'


def reduced(configuration: Configuration, proxies: Proxies, draft: Draft, bind: str, files: Mapping[str, str]) -> str:
    """Return the part of a configuration that decides, as text for HAProxy.

    Args:
        configuration: the original.
        proxies: of the original.
        draft: says which frontend.
        bind: what stands behind `bind`.
        files: name of a `-f` file, or any other word → what stands in its place.
    """
    parts = ["global\n    maxconn 200\n"]
    frontend = draft.frontend
    mode = "tcp" if draft.is_tcp else "http"
    answers = _Answers(bind, is_tcp=draft.is_tcp)
    sections = {id(proxy.section): proxy for proxy in proxies.all}
    for section in configuration.sections:
        proxy = sections.get(id(section))
        if section.kind in _BESIDE:
            parts.append(_section(str(section.line), section.lines, files))
        elif section.kind == "defaults":
            body = _section(_head(section.kind, section.name, section.parent), _kept(section.lines), files)
            parts.append(
                f"{body}    mode {mode}\n    timeout client 20s\n    timeout server 20s\n    timeout connect 5s\n"
            )
        elif proxy is frontend or (proxy is not None and section.kind == "backend"):
            kind = "frontend" if proxy is frontend else "backend"
            body = _section(_head(kind, section.name, section.parent), _kept(section.lines), files)
            if proxy is frontend:
                body += f"    mode {mode}\n    bind {bind}\n    timeout client 20s\n"
                if section.kind == "listen" or not draft.switches:
                    # One that says nowhere where to go is taken to serve by itself.
                    body += "    default_backend import-listen\n"
                    parts.append(answers.of("import-listen", section.name))
            else:
                body += answers.of("", section.name)
            parts.append(body)
    missing = {switch.backend for switch in draft.switches} - proxies.backends.keys()
    parts += [answers.of(name, name) for name in sorted(missing)]
    return "\n".join([*parts, *answers.frontends])


def _head(kind: str, name: str, parent: str) -> str:
    return " ".join([kind, *([name] if name else []), *(["from", parent] if parent else [])])


def _kept(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.texts[0] in _KEPT and _LEFT_OUT.isdisjoint(line.texts)]


def _section(head: str, lines: Iterable[Line], files: Mapping[str, str]) -> str:
    body = []
    for line in lines:
        words = [files.get(word, word) for word in line.texts]
        if words[:2] == ["tcp-request", "connection"]:
            # Run before the address is known that the PROXY protocol gives; those of the session are run behind it.
            words[1] = "session"
        body.append("    " + " ".join([words[0], *map(_quoted, words[1:])]) + "\n")
    return f"{head}\n{''.join(body)}"


class _Answers:
    """What backends answer: their names, in TCP mode through frontends of their own.

    Attributes:
        frontends: sections of those.
    """

    def __init__(self, bind: str, *, is_tcp: bool) -> None:
        self._folder = bind.partition(" ")[0].rpartition("/")[0]
        self._is_tcp = is_tcp
        self.frontends: list[str] = []

    def of(self, section: str, name: str) -> str:
        """Return the lines of a backend, behind its first line where *section* names it."""
        head = f"backend {section}\n" if section else ""
        answer = f"    http-request return status 200 hdr {_MARK} {_quoted(name)}\n"
        if not self._is_tcp:
            return f"{head}    mode http\n    timeout server 20s\n{answer}"
        number = len(self.frontends)
        socket_name = f"{self._folder}/back-{number}.sock"
        self.frontends.append(
            f"frontend import-answer-{number}\n    mode http\n    bind {socket_name}\n    timeout client 20s\n{answer}"
        )
        return f"{head}    mode tcp\n    timeout server 20s\n    timeout connect 5s\n    server import {socket_name}\n"


# -- certificates -----------------------------------------------------------------------------------------------


class _Pki:
    """Throw-away CAs with the names of the draft's, a server certificate, and a certificate for each client."""

    def __init__(self, draft: Draft, now: int) -> None:
        self._now = now
        self.authorities = {
            issuer: CertificateAuthority.root(self._template(_names(ders[0]), is_ca=True))
            for issuer, ders in draft.issuers.items()
        }
        first = next(iter(self.authorities.values()))
        self.server = first.issue(replace(self._template({"CN": ("localhost",)}), eku=(SERVER_AUTH,)))

    def _template(self, subject: Mapping[str, tuple[str, ...]], *, is_ca: bool = False) -> Template:
        own = {"O", "OU", "CN"}
        return Template(
            not_before=self._now - _DAY,
            not_after=self._now + _DAY,
            o=subject.get("O", ()),
            ou=subject.get("OU", ()),
            cn=subject.get("CN", ()),
            attributes=tuple(
                (_oid(name), value) for name, values in subject.items() if name not in own for value in values
            ),
            is_ca=is_ca,
        )

    def issue(self, client: Client, issuer: str) -> Issued:
        """Issue a client's certificate."""
        assert client.subject is not None
        return self.authorities[issuer].issue(self._template(client.subject))

    def ders(self) -> dict[str, list[bytes]]:
        """Return issuer → its CA certificate."""
        return {issuer: [authority.issued.der] for issuer, authority in self.authorities.items()}


def _names(der: bytes) -> dict[str, tuple[str, ...]]:
    known = {oid: name.upper() for name, oid in reversed(tuple(oids.SUBJECT.items()))}
    return {known[oid]: values for oid, values in identity_from_der(der).subject.items() if oid in known}


def _oid(name: str) -> str:
    return next(oid for known, oid in oids.SUBJECT.items() if known.upper() == name)


# -- requests ---------------------------------------------------------------------------------------------------


class _Conversation:
    """Requests of one client from one address, on as few connections as HAProxy allows."""

    def __init__(self, path: str, source: str, certificate: Path | None) -> None:
        self._path = path
        self._source = source
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        if certificate is not None:
            self._context.load_cert_chain(certificate)
        self._connection: ssl.SSLSocket | None = None

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, sample: Sample) -> tuple[int, str]:
        """Return the status and the backend's name."""
        if not sample.method:
            self.close()  # a connection is judged once
        if self._connection is not None:
            try:
                return self._asked(sample)
            except (OSError, http.client.HTTPException):
                self.close()
        try:
            self._connect(sample.sni or None)
            return self._asked(sample)
        except (OSError, http.client.HTTPException):
            # A rule that closes the connection without an answer refuses as well.
            self.close()
            return http.client.FORBIDDEN, ""

    def _connect(self, sni: str | None) -> None:
        plain = socket.socket(socket.AF_UNIX)
        try:
            plain.settimeout(_SECONDS)
            plain.connect(self._path)
            version = ipaddress.ip_address(self._source).version
            here = "127.0.0.1" if version == 4 else "::1"  # noqa: PLR2004 -- the PROXY protocol names both the same way
            plain.sendall(f"PROXY TCP{version} {self._source} {here} 40000 443\r\n".encode())
            self._connection = self._context.wrap_socket(plain, server_hostname=sni)
        except OSError:
            plain.close()
            raise

    def _asked(self, sample: Sample) -> tuple[int, str]:
        assert self._connection is not None
        method = sample.method or "GET"
        lines = [f"{method} {sample.path or '/'} HTTP/1.1", f"Host: {sample.host or 'localhost'}"]
        lines += [f"{name}: {value}" for name, value in sample.headers.items()]
        lines += ["Content-Length: 0"] if method not in {"GET", "HEAD"} else []
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = http.client.HTTPResponse(self._connection, method=method)
        answer.begin()
        answer.read()
        if answer.will_close:
            self.close()
        return answer.status, answer.headers.get(_MARK, "")


def _printed(folder: Path, text: str, status: int | None) -> str:
    """Return what HAProxy printed, with lines of the configuration in the place of numbers in a file that is gone."""
    printed = (folder / "haproxy.log").read_text(errors="replace").strip()
    if not printed:
        return (
            f"it ended with status {status} and printed nothing" if status is not None else "it accepts no connections"
        )
    lines = dict(enumerate(text.splitlines(), start=1))
    place = re.compile(rf"{re.escape(str(folder))}/haproxy\.cfg:(\d+)")
    printed = place.sub(lambda found: f"`{lines.get(int(found[1]), '').strip()}`", printed)
    return printed.replace(f"{folder}/", "")


@contextlib.contextmanager
def _running(binary: Path, folder: Path, text: str) -> Iterator[None]:
    (folder / "haproxy.cfg").write_text(text, encoding="utf-8", errors="surrogateescape")
    with (folder / "haproxy.log").open("wb") as log:
        try:
            process = subprocess.Popen(  # noqa: S603 -- HAProxy itself, on a file that was just written
                [binary, "-db", "-f", folder / "haproxy.cfg"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise HaproxyRefusedError(f"{binary} can't be run: {error.strerror}") from error
    try:
        deadline = time.monotonic() + _SECONDS
        while not _accepts(folder / "edge.sock"):
            status = process.poll()
            if status is not None or time.monotonic() > deadline:
                raise HaproxyRefusedError(_printed(folder, text, status))
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS)
        process.kill()  # does nothing to one that has ended
        process.wait(_SECONDS)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(path))
        except OSError:
            return False
    return True


# -- both -------------------------------------------------------------------------------------------------------


def reenact(
    draft: Draft,
    configuration: Configuration,
    proxies: Proxies,
    read: Callable[[str], str | None],
    binary: Path,
    folder: Path,
    now: int,
) -> list[Compared]:
    """Send the trials of a draft through a real HAProxy, and ask the draft about the same requests.

    Args:
        draft: with its refusals and switches.
        configuration: the original.
        proxies: of the original.
        read: from the name of a `-f` file to its text.
        binary: HAProxy, 2.2 or newer.
        folder: an empty directory with a short name, for its socket.
        now: seconds since the epoch.

    Raises:
        HaproxyRefusedError: it doesn't start.
    """
    pki = _Pki(draft, now)
    trials = trials_of(
        draft.refusals,
        draft.switches,
        draft.lists,
        read,
        allows_anonymous=draft.allows_anonymous,
        is_tcp=draft.is_tcp,
    )
    members = _members(trials.clients, pki, folder)
    files, lists = _lists(draft, read, members, folder)
    tried = with_issuers(draft, pki.ders())
    tried.files.update(lists)
    policy = policy_of(tried, now)
    (folder / "ca.pem").write_bytes(b"".join(one.issued.pem for one in pki.authorities.values()))
    (folder / "server.pem").write_bytes(pki.server.bundle_pem)
    verify = "optional" if draft.allows_anonymous else "required"
    bind = f"unix@{folder}/edge.sock accept-proxy ssl crt {folder}/server.pem ca-file {folder}/ca.pem verify {verify}"
    found = []
    with _running(binary, folder, reduced(configuration, proxies, draft, bind, files)):
        for (_, _, source), trial in _grouped(trials.pairs(), members).items():
            (client, issued, certificate), _ = trial[0]
            conversation = _Conversation(f"{folder}/edge.sock", source, certificate)
            for _, sample in trial:
                status, backend = conversation.ask(sample)
                request = request_of(sample, trials.headers)
                if issued is not None:
                    request.cert, request.used = issued.der, True
                decision = policy.judge(request, now, revocation="good").decision
                found.append(Compared(client, sample, status, backend, decision))
            conversation.close()
    return found


_Member = tuple["Client", "Issued | None", "Path | None"]


def _members(clients: Sequence[Client], pki: _Pki, folder: Path) -> dict[str, list[_Member]]:
    """Return each client with its certificates, one of each issuer while there are not too many."""
    found: dict[str, list[_Member]] = {}
    issuers = list(pki.authorities)
    per_client = max(1, min(len(issuers), _MOST_CLIENTS // max(1, len(clients))))
    for number, client in enumerate(clients):
        if client.subject is None:
            found[client.name] = [(client, None, None)]
            continue
        for issuer in issuers[: 1 if client.lists else per_client]:
            try:
                issued = pki.issue(client, issuer)
            except ValueError:
                continue  # a name that no certificate can have, such as a country of five letters
            path = folder / f"client-{number}-{issuers.index(issuer)}.pem"
            path.write_bytes(issued.bundle_pem)
            found.setdefault(client.name, []).append((client, issued, path))
    return found


def _lists(
    draft: Draft, read: Callable[[str], str | None], members: Mapping[str, list[_Member]], folder: Path
) -> tuple[dict[str, str], dict[str, bytes]]:
    """Put the digests of clients that are to be on a list into HAProxy's files and lines, and the draft's lists."""
    digests: dict[str, list[str]] = {}
    for client, issued, _ in (member for several in members.values() for member in several):
        if issued is None:
            continue
        sha256, sha1 = fingerprints(issued.der)
        for name in client.lists:
            digest = sha1 if draft.lists[name].digits == len(sha1) * 2 else sha256
            digests.setdefault(name, []).append(digest.hex().upper())
    files: dict[str, str] = {}
    lists = {f"lists/{name}.txt": "\n".join(found).encode() for name, found in digests.items()}
    for number, file in enumerate(dict.fromkeys(_named_files(draft))):
        names = [name for name, one in draft.lists.items() if file in one.files]
        more = [digest for name in names for digest in digests.get(name, ())]
        copy = folder / f"file-{number}.lst"
        copy.write_text("\n".join([read(file) or "", *more]) + "\n", encoding="utf-8", errors="surrogateescape")
        files[file] = str(copy)
    for name, found in digests.items():
        # Digests that stand in the line itself: a client's takes the place of the first.
        one = draft.lists[name]
        files.update({one.lines[0]: found[0]} if one.lines and not one.files else {})
    return files, lists


def _named_files(draft: Draft) -> Iterator[str]:
    terms: list[Any] = [term for one in draft.refusals for term in one.terms]
    terms += [term for one in draft.switches for term in one.terms]
    for test in (test for term in terms for literal in term for test in literal.acl.tests):
        yield from test.files


def _grouped(
    pairs: Iterable[tuple[Client, Sample]], members: Mapping[str, list[_Member]]
) -> dict[tuple[str, int, str], list[tuple[_Member, Sample]]]:
    """Put together what one connection can carry: of one client, with one certificate, from one address."""
    found: dict[tuple[str, int, str], list[tuple[_Member, Sample]]] = {}
    for client, sample in pairs:
        if not sample.path.isascii() or not sample.path.isprintable() or " " in sample.path:
            continue
        for number, member in enumerate(members.get(client.name, ())):
            found.setdefault((client.name, number, sample.source), []).append((member, sample))
    return found
