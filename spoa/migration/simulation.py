"""What HAProxy makes of a request, told from its configuration alone, as far as that can be told."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from spoa.haproxy_config.acl import Comparison, Literal, Term
    from spoa.migration.clauses import Refusal, Switch

__all__ = ["Outcome", "Sample", "simulate"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A request as it is made up for a trial.

    Attributes:
        method, path, host: empty in TCP mode, where a connection is judged and no request.
        subject: attribute in upper case → values, in order; None where there is no certificate.
        issuer: the issuer's subject in the same form.
        sha1, sha256: digests in upper-case hex; empty where they are not known.
        headers: name in lower case → value.
        sni: the server name that TLS asks for; empty for none.
    """

    method: str
    path: str
    subject: Mapping[str, tuple[str, ...]] | None = None
    issuer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sha1: str = ""
    sha256: str = ""
    serial: str = ""
    source: str = "127.0.0.1"
    host: str = "localhost"
    headers: Mapping[str, str] = field(default_factory=dict)
    sni: str = ""

    @property
    def line(self) -> str:
        """What is asked, in a few words."""
        return f"{self.method} {self.path}" if self.method else "connection"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of it.

    Attributes:
        verdict: `allow`, `deny` (also where there is no backend for it), or empty where that can't be told.
        backend: where it goes; empty where that can't be told, or nowhere.
    """

    verdict: str
    backend: str = ""


def simulate(
    sample: Sample,
    refusals: Iterable[Refusal],
    switches: Iterable[Switch],
    read: Callable[[str], str | None],
) -> Outcome:
    """Return what HAProxy does with a request.

    Args:
        sample: the request.
        refusals: as `clauses` finds them.
        switches: as `clauses` finds them.
        read: from the name of a `-f` file to its text.
    """
    held = [_any(refusal.terms, sample, read) for refusal in refusals]
    if True in held:
        return Outcome("deny")
    if None in held:
        return Outcome("")
    has_switches = False
    for switch in switches:
        has_switches = True
        value = _any(switch.terms, sample, read)
        if value is None:
            return Outcome("allow")
        if value:
            return Outcome("allow", switch.backend)
    # Without a backend HAProxy answers 503; a `listen` section without a switch serves by itself.
    return Outcome("deny" if has_switches else "allow")


def _any(terms: Sequence[Term], sample: Sample, read: Callable[[str], str | None]) -> bool | None:
    values = [_all(term, sample, read) for term in terms]
    return True if True in values else None if None in values else False


def _all(term: Iterable[Literal], sample: Sample, read: Callable[[str], str | None]) -> bool | None:
    values = [_literal(literal, sample, read) for literal in term]
    return False if False in values else None if None in values else True


def _literal(literal: Literal, sample: Sample, read: Callable[[str], str | None]) -> bool | None:
    values = [_test(test, sample, read) for test in literal.acl.tests] or [None]
    value = True if True in values else None if None in values else False
    return value if value is None else value is literal.is_positive


def _test(test: Comparison, sample: Sample, read: Callable[[str], str | None]) -> bool | None:
    """Return whether a test holds; None where that can't be told."""
    texts = list(test.patterns)
    for file in test.files:
        content = read(file)
        if content is None:
            return None
        texts += [line.strip() for line in content.splitlines() if line.strip() and not line.startswith("#")]
    values = _values(test, sample)
    try:
        return None if values is None else _matches(test, values, texts)
    except ValueError:
        # A pattern that is no number or no address, with which HAProxy doesn't start.
        return None


def _matches(test: Comparison, values: list[str], texts: list[str]) -> bool | None:
    if test.match == "found":
        return bool(values)
    if test.match == "bool":
        # Patterns of a boolean are ignored; what a converter makes of it is none any more.
        return None if test.converters else bool(values and values[0])
    if test.match == "int":
        return _integer(int(values[0] or "0"), texts) if values else False
    if test.match == "ip":
        return any(_in_network(value, text) for value in values for text in texts)
    way = _WAYS.get(test.match)
    if way is None:
        return None
    if test.ignores_case and test.match != "reg":
        values, texts = [value.lower() for value in values], [text.lower() for text in texts]
    flags = "(?i)" if test.ignores_case and test.match == "reg" else ""
    try:
        return any(way(value, flags + text) for value in values for text in texts)
    except re.error:
        return None


_WAYS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "str": lambda value, text: value == text,
    "beg": lambda value, text: value.startswith(text),
    "end": lambda value, text: value.endswith(text),
    "sub": lambda value, text: text in value,
    "reg": lambda value, text: re.search(text, value) is not None,
    "dir": lambda value, text: f"/{text.strip('/')}/" in f"/{value.strip('/')}/",
    "dom": lambda value, text: f".{text.strip('.')}." in f".{value.partition(':')[0]}.",
}


def _in_network(value: str, text: str) -> bool:
    address, network = ipaddress.ip_address(value), ipaddress.ip_network(text, strict=False)
    return address.version == network.version and address in network


def _integer(number: int, words: Iterable[str]) -> bool | None:
    operator = "eq"
    ways: dict[str, Callable[[int], bool]] = {
        "eq": lambda other: number == other,
        "ge": lambda other: number >= other,
        "gt": lambda other: number > other,
        "le": lambda other: number <= other,
        "lt": lambda other: number < other,
    }
    for word in (one for text in words for one in text.split()):
        if word in ways:
            operator = word
            continue
        low, _, high = word.partition(":")
        if int(low) <= number <= int(high) if high else ways[operator](int(low)):
            return True
    return False


_CONVERTERS: Final[Mapping[str, Callable[[str], str]]] = {
    "lower": str.lower,
    "upper": str.upper,
    "hex": str,
    "host_only": lambda value: re.sub(r":\d*$", "", value.lower()),
    "field(1,:)": lambda value: value.split(":", 1)[0],
}


def _values(test: Comparison, sample: Sample) -> list[str] | None:
    """Return the values of a sample, in order; None where it isn't known."""
    found = _raw(test, sample)
    if found is None:
        return None
    for name, words in test.converters:
        if name in {"sha1", "sha2"}:
            continue
        way = _CONVERTERS.get(name if not words else f"{name}({','.join(words)})")
        if way is None:
            return None
        found = [way(value) for value in found]
    return found


def _raw(test: Comparison, sample: Sample) -> list[str] | None:
    row = _SAMPLES.get(test.fetch)
    return None if row is None else row(test, sample)


def _of_certificate(sample: Sample, value: str) -> list[str]:
    return [value] if sample.subject is not None else []


def _name(test: Comparison, name: Mapping[str, tuple[str, ...]] | None) -> list[str] | None:
    attribute, occurrence = (*test.arguments, "", "")[:2]
    if not attribute or occurrence not in {"", "0", "1"}:
        return None
    return list((name or {}).get(attribute.upper(), ())[:1])


def _digest(test: Comparison, sample: Sample) -> list[str] | None:
    digests = {"sha1": sample.sha1, "sha2": sample.sha256}
    digest = digests.get("".join(name for name, _ in test.converters[:1]))
    return None if digest is None else _of_certificate(sample, digest)


def _header(test: Comparison, sample: Sample) -> list[str]:
    name = "".join(test.arguments[:1]).lower()
    value = sample.host if name == "host" else sample.headers.get(name)
    if value is None:
        return []
    return [value] if test.fetch == "req.fhdr" else [part.strip() for part in value.split(",")]


_SAMPLES: Final[Mapping[str, Callable[[Comparison, Sample], list[str] | None]]] = {
    "path": lambda _, sample: [sample.path],
    "method": lambda _, sample: [sample.method],
    "src": lambda _, sample: [sample.source],
    "ssl_fc": lambda *_: ["1"],
    "ssl_fc_sni": lambda _, sample: [sample.sni] if sample.sni else [],
    "always_true": lambda *_: ["1"],
    "always_false": lambda *_: [""],
    "ssl_c_verify": lambda *_: ["0"],
    "ssl_c_used": lambda _, sample: ["1" if sample.subject is not None else ""],
    "ssl_fc_has_crt": lambda _, sample: ["1" if sample.subject is not None else ""],
    "ssl_c_sha1": lambda _, sample: _of_certificate(sample, sample.sha1),
    "ssl_c_serial": lambda _, sample: _of_certificate(sample, sample.serial),
    "ssl_c_der": _digest,
    "ssl_c_s_dn": lambda test, sample: _name(test, sample.subject),
    "ssl_c_i_dn": lambda test, sample: _name(test, sample.issuer if sample.subject is not None else None),
    **dict.fromkeys(("hdr", "req.hdr", "req.fhdr"), _header),
}
