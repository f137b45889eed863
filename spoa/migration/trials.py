"""Requests that tell a draft from its original, made of what conditions mention: names, paths, methods, addresses.

They are what the drafted tests state, and what `--verify` sends.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from spoa.authorizer import Subject
from spoa.facts import ABSENT, Request
from spoa.migration.notes import is_utf8
from spoa.migration.patterns import Expression, regular_expression
from spoa.migration.simulation import Sample
from spoa.policy import oids
from spoa.policy.automaton import Regex
from spoa.policy.cases import BLANK
from spoa.policy.hosts import normal_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.haproxy_config.acl import Comparison
    from spoa.migration.atoms import ListFile
    from spoa.migration.clauses import Refusal, Switch

__all__ = ["Client", "Trials", "request_of", "subject_of", "trials_of"]

#: Most clients, and most requests in all.
_MOST_CLIENTS: Final = 40
_MOST: Final = 1_200
_OUTSIDE: Final = "203.0.113.9"
_STRANGER: Final = "stranger"


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends requests.

    Attributes:
        name: of the client in tests.
        subject: attribute in upper case → values; None where there is no certificate.
        lists: lists of the draft that it is on.
    """

    name: str
    subject: Mapping[str, tuple[str, ...]] | None
    lists: tuple[str, ...] = ()


@dataclass(slots=True)
class Trials:
    """What is tried: every client, and requests without one, the telling ones first.

    Attributes:
        headers: names that conditions mention.
    """

    clients: list[Client] = field(default_factory=list)
    requests: list[Sample] = field(default_factory=list)
    headers: tuple[str, ...] = ()

    def pairs(self) -> Iterator[tuple[Client, Sample]]:
        """Yield clients with requests, up to a bound."""
        each = max(1, _MOST // max(1, len(self.clients)))
        for request in self.requests[:each]:
            for client in self.clients:
                yield client, replace(request, subject=client.subject)


class _Mentioned:
    """What conditions mention, by kind."""

    def __init__(self, comparisons: Iterable[Comparison], read: Any) -> None:
        self.subject: dict[str, dict[str, None]] = {}
        self.paths: dict[str, None] = {}
        self.methods: dict[str, None] = {}
        self.sources: dict[str, None] = {}
        self.hosts: dict[str, None] = {}
        self.names: dict[str, None] = {}
        self.headers: dict[str, dict[str, None]] = {}
        for one in comparisons:
            texts = [*one.patterns, *(line for file in one.files for line in _lines(read(file)))]
            for text in list(filter(is_utf8, texts))[:20]:
                self._take(one, text)

    def _take(self, one: Comparison, text: str) -> None:
        argument = "".join(one.arguments[:1])
        if one.fetch == "ssl_c_s_dn" and argument:
            self.subject.setdefault(argument.upper(), {}).update(dict.fromkeys(_texts(one, text)))
        elif one.fetch in {"path", "url", "pathq", "capture.req.uri"}:
            self.paths.update(dict.fromkeys(path for path in _paths(one, text) if path.startswith("/")))
        elif one.fetch in {"method", "capture.req.method"}:
            self.methods[text.upper()] = None
        elif one.fetch == "src":
            self.sources.update(dict.fromkeys(_addresses(text)))
        elif one.fetch == "ssl_fc_sni":
            self.names.update(dict.fromkeys(_hosts(one, text)))
        elif one.fetch in {"hdr", "req.hdr", "req.fhdr"} and argument:
            if argument.lower() == "host":
                self.hosts.update(dict.fromkeys(_hosts(one, text)))
            else:
                self.headers.setdefault(argument.lower(), {}).update(dict.fromkeys(_texts(one, text)))


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip() and not line.startswith("#")]


def _texts(one: Comparison, text: str) -> list[str]:
    ways = {
        "beg": [text, f"{text}-x"],
        "end": [text, f"x-{text}"],
        "sub": [text, f"x-{text}-y"],
        "dom": [text, f"x.{text}"],
        "reg": _examples(text) if one.match == "reg" else [],
        "str": [text],
    }
    found = ways.get(one.match, [])
    return [*found, *([text.swapcase()] if one.ignores_case and one.match == "str" else [])]


def _hosts(one: Comparison, text: str) -> list[str]:
    """Return names of hosts; in other letters one is the same host to the draft, which a note says."""
    found = [value.lower() for value in _texts(one, text)]
    # Half a name, such as `.example.org` behind `-m end`, is none; what stands for the rest makes it one.
    whole = {"beg": f"{text}x", "end": f"x{text}", "sub": f"x{text}x"}.get(one.match, "").lower()
    return list(dict.fromkeys(value for value in (*found, whole) if normal_host(value) is not None))


def _examples(text: str) -> list[str]:
    try:
        patterns = regular_expression(text, generous=False, ignores_case=False)
    except ValueError:
        return []
    sources = [pattern.source for pattern in patterns if isinstance(pattern, Expression)]
    return [example for source in sources if (example := Regex(source).example())]


def _paths(one: Comparison, text: str) -> list[str]:
    base = text.rstrip("/")
    ways = {
        "str": [text, f"{base}/x", base.upper()],
        "beg": [text, f"{base}/x", f"{base}istrator", base.upper() or "/"],
        "end": [f"/x{text}"],
        "sub": [f"/x{text}y", text],
        "dir": [f"/x/{text.strip('/')}/y"],
        "reg": _examples(text) if one.match == "reg" else [],
    }
    return ways.get(one.match, [])


def _addresses(text: str) -> list[str]:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return []
    return [str(network.network_address + (1 if network.num_addresses > 1 else 0))]


def trials_of(
    refusals: Iterable[Refusal],
    switches: Iterable[Switch],
    lists: Mapping[str, ListFile],
    read: Any,
    *,
    allows_anonymous: bool,
    is_tcp: bool = False,
) -> Trials:
    """Return what tells a draft from its original.

    Args:
        refusals: of the original.
        switches: of the original.
        lists: fingerprint lists of the draft.
        read: from the name of a `-f` file to its text.
        allows_anonymous: requests without a certificate are judged.
        is_tcp: connections are judged and no requests.
    """
    terms = [*(term for one in refusals for term in one.terms), *(term for one in switches for term in one.terms)]
    comparisons = dict.fromkeys(test for term in terms for literal in term for test in literal.acl.tests)
    mentioned = _Mentioned(comparisons, read)
    clients = _clients(mentioned, lists, allows_anonymous=allows_anonymous)
    if is_tcp:
        return Trials(clients, _connections(mentioned))
    return Trials(clients, _requests(mentioned), tuple(mentioned.headers))


def _clients(mentioned: _Mentioned, lists: Mapping[str, ListFile], *, allows_anonymous: bool) -> list[Client]:
    subjects: list[dict[str, tuple[str, ...]]] = [{"CN": (_STRANGER,)}]
    values = {attribute: list(found) for attribute, found in mentioned.subject.items()}
    for attribute, found in values.items():
        subjects += [_with_name({attribute: (value,)}) for value in found]
    for (first, ones), (second, others) in product(values.items(), repeat=2):
        if first < second:
            subjects += [{first: (one,), second: (other,)} for one, other in product(ones[:3], others[:3])]
    for attribute, found in values.items():
        if attribute != "CN" and found:
            subjects += [_with_name({attribute: ("other", value)}) for value in found[:3]]
            subjects += [_with_name({attribute: (found[0], "other")})]
    unique = {repr(sorted(subject.items())): subject for subject in subjects}
    clients = [Client(f"client-{number}", subject) for number, subject in enumerate(unique.values(), 1)]
    clients = clients[:_MOST_CLIENTS]
    origins: dict[tuple[object, ...], list[str]] = {}
    for name, one in lists.items():
        origins.setdefault((one.files or name.removesuffix("-denied"), one.digits), []).append(name)
    for number, names in enumerate(origins.values(), 1):
        clients.append(Client(f"listed-{number}", {"CN": (f"listed-{number}",)}, tuple(names)))
    return [*clients, *([Client("none", None)] if allows_anonymous else [])]


def _with_name(subject: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return subject if "CN" in subject else {**subject, "CN": (_STRANGER,)}


def _requests(mentioned: _Mentioned) -> list[Sample]:
    """Return requests that differ in one thing from a plain one, then in two."""
    plain = Sample("GET", "/", source=_OUTSIDE)
    paths = [*mentioned.paths, "/elsewhere"]
    methods = dict.fromkeys([*mentioned.methods, "GET", "POST", "PROPFIND"])
    sources = [*mentioned.sources, _OUTSIDE]
    hosts = [*mentioned.hosts, "localhost"]
    headers = [{name: value} for name, values in mentioned.headers.items() for value in values] + [{}]
    found = [plain]
    found += [replace(plain, path=path) for path in paths]
    found += [replace(plain, method=method) for method in methods]
    found += [replace(plain, source=source) for source in sources]
    found += [replace(plain, host=host) for host in hosts]
    found += [replace(plain, headers=header) for header in headers]
    found += [replace(plain, path=path, method=method) for path, method in product(paths, methods)]
    found += [replace(plain, path=path, source=source) for path, source in product(paths, sources)]
    found += [replace(plain, path=path, host=host) for path, host in product(paths, hosts)]
    found += [replace(plain, path=path, headers=header) for path, header in product(paths, headers)]
    found += [replace(plain, source=source, method=method) for source, method in product(sources, methods)]
    unique: dict[str, Sample] = {}
    for sample in found:
        unique.setdefault(repr(sample), sample)
    return list(unique.values())


def _connections(mentioned: _Mentioned) -> list[Sample]:
    """Return connections that differ in the address that they come from, and in the name that they ask for."""
    sources, names = dict.fromkeys([_OUTSIDE, *mentioned.sources]), dict.fromkeys(["", *mentioned.names])
    return [Sample("", "", source=source, host="", sni=name) for name, source in product(names, sources)]


# -- for the evaluator ------------------------------------------------------------------------------------------


def request_of(sample: Sample, headers: Iterable[str] = ()) -> Request:
    """Return the request of a sample, without its certificate, as HAProxy would describe it.

    Args:
        sample: the request.
        headers: names that HAProxy sends, so that those which the sample doesn't have are absent.
    """
    found = Request(
        cert=ABSENT,
        used=False,
        verify=0,
        source=ipaddress.ip_address(sample.source).packed,
        sni=sample.sni or ABSENT,
        tls="TLSv1.3",
    )
    if sample.method:
        found.method, found.path, found.host = sample.method, sample.path, sample.host
        found.headers = {**dict.fromkeys(headers, ABSENT), **sample.headers}
    return found


def subject_of(client: Client, issuer: str, lists: Sequence[str], now: int) -> Subject | None:
    """Return a client's certificate, signed by an issuer of the draft; None where it has none."""
    if client.subject is None:
        return None
    subject = {oids.SUBJECT[_known(name)]: values for name, values in client.subject.items()}
    certificate = replace(BLANK, subject=subject, not_before=now, not_after=now)
    return Subject(certificate, issuer, {name: name in client.lists for name in lists})


def _known(attribute: str) -> str:
    return next(name for name in oids.SUBJECT if name.upper() == attribute)
