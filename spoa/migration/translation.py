"""From a test of HAProxy's to what a policy looks at: tables of samples, each with the patterns that it becomes.

A test is translated for a *restricting* place, where it may match more than HAProxy's did, or for a *granting* one,
where it may match less; what differs is noted. What is said of certificates stands in `certificates`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from spoa.migration import certificates
from spoa.migration.atoms import ALWAYS, NEVER, Atom, PlacedTest
from spoa.migration.hosts import host_name, server_name
from spoa.migration.notes import is_utf8, note_unmatched
from spoa.migration.patterns import header_pattern, host_patterns, networks, path_patterns
from spoa.migration.truths import check_boolean
from spoa.policy.conditions import read_header_name
from spoa.policy.reading import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.haproxy_config.acl import Comparison
    from spoa.migration.atoms import Surroundings

__all__ = ["translate"]

_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_TLS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def translate(test: Comparison, around: Surroundings, *, generous: bool, is_route: bool = False) -> Atom:
    """Return what a test is in a policy.

    Args:
        test: of HAProxy's.
        around: files, CAs and notes.
        generous: for a restricting place.
        is_route: for a route, where whatever is not matched goes elsewhere.

    Raises:
        ValueError: nothing, and why.
    """
    one = PlacedTest(test, around, generous=generous, is_route=is_route)
    if not is_utf8(str(replace(test, written=""))):
        raise ValueError("text that isn't UTF-8, as all of a policy is; write the file in UTF-8")
    row = _SAMPLES.get(test.fetch)
    if row is None:
        if test.fetch in {"req.hdr_ip", "hdr_ip"}:
            raise ValueError("a header that clients write is no source; take addresses by `accept-proxy`")
        raise ValueError(f"the sample {test.fetch}")
    atom = row(one)
    if atom.values or atom.kind == "always":
        return atom
    if one.is_worth_noting and row is not _constant:
        note_unmatched(test, around.notes, one.why, generous=generous, is_route=is_route)
    return NEVER


# -- the request ------------------------------------------------------------------------------------------------


def _path(one: PlacedTest) -> Atom:
    test = one.test
    if test.fetch in {"url", "pathq", "capture.req.uri"}:
        if test.match not in {"beg", "str"} or (test.match == "str" and not one.generous):
            raise ValueError(f"`-m {test.match}` of a URL with its query")
        one.note("unsafe-url", f"{test}: judged is the path without the query")
    if one.is_route and (test.ignores_case or test.converters):
        raise ValueError("a path that ignores case")
    patterns = one.patterns(path_patterns, is_exact=one.is_route)
    if test.ignores_case and one.generous and test.match != "found":
        one.note(
            "folded", f"{test}: in upper and lower case alike, as all that the draft restricts; it grants as written"
        )
    if test.match == "beg":
        for text in one.texts():
            if text.startswith("/") and text.rstrip("/"):
                _note_prefix(one, text)
    return Atom("path", patterns) if patterns else NEVER


def _note_prefix(one: PlacedTest, text: str) -> None:
    name = text.rstrip("/")
    if one.is_route:
        if not text.endswith("/"):
            one.note("unsafe-prefix", f"{text} covers {name}x as well; `{name}/**` alone is likely what is meant")
    elif one.generous:
        covers = "" if text.endswith("/") else f"covers {name}x as well, and "
        folded = "" if one.test.ignores_case or one.converters else f"{name.upper()}, "
        likely = "" if text.endswith("/") else f"; `{name}/**` alone is likely what is meant"
        one.note("unsafe-prefix", f"{text} {covers}missed {folded}/.{name} and /{name}{likely}")
    elif not text.endswith("/"):
        one.note("unsafe-prefix", f"{text} covered {name}x as well; only {name} and what is below it stays")


def _method(one: PlacedTest) -> Atom:
    if one.test.match != "str":
        raise ValueError(f"`-m {one.test.match}` of a method")
    one.plain()
    names = tuple(dict.fromkeys(text.upper() if one.generous else text for text in one.texts()))
    if not all(map(_TOKEN.fullmatch, names)):
        raise ValueError("a method that is none")
    if one.generous and not _WRITES.isdisjoint(names):
        if set(names) >= _WRITES:
            rest = tuple(name for name in names if name not in _WRITES)
            what = f"{one.test}: other methods than these passed; the draft's `write` is all but GET, HEAD and OPTIONS"
            one.note("unsafe-verb-list", what)
            return Atom("method", ("write", *rest))
        one.note("unsafe-verb-list", f"{one.test}: other methods than these pass")
    return Atom("method", names)


def _host(one: PlacedTest) -> Atom:
    name = host_name(one.test)
    if not one.generous and name.note:
        one.note("host-spelling", f"{one.test}: {name.note}; to the draft it doesn't")
    return Atom("host", one.of(name.test).patterns(host_patterns, folds=True))


def _sni(one: PlacedTest) -> Atom:
    return Atom("sni", one.of(server_name(one.test)).patterns(host_patterns, folds=True))


def _header(one: PlacedTest) -> Atom:
    if not one.argument:
        raise ValueError("a header without a name")
    if one.argument.lower() == "host":
        return _host(one)
    try:
        name = read_header_name(one.argument)
    except ValueError:
        raise ValueError(f"a name that no header has: {visible(one.argument)}") from None
    one.note("unsafe-header", f"{one.test}: a client may send any {one.argument} it likes")
    return Atom(f"header:{name}", one.patterns(header_pattern, is_list=not one.test.fetch.endswith("fhdr")))


def _source(one: PlacedTest) -> Atom:
    one.plain()
    return Atom("source", tuple(networks(one.texts())))


def _tls_version(one: PlacedTest) -> Atom:
    one.plain()
    versions = tuple(text for text in one.texts() if text in _TLS)
    if one.test.match != "str" or len(versions) < len(one.texts()):
        raise ValueError("a TLS version that is none")
    return Atom("tls", versions)


def _is_tls(one: PlacedTest) -> Atom:
    check_boolean(one.test)
    return Atom("tls", _TLS)


def _constant(one: PlacedTest) -> Atom:
    check_boolean(one.test)
    return ALWAYS if one.test.fetch == "always_true" else NEVER


_SAMPLES: Final[Mapping[str, Callable[[PlacedTest], Atom]]] = {
    "path": _path,
    "url": _path,
    "pathq": _path,
    "capture.req.uri": _path,
    "method": _method,
    "capture.req.method": _method,
    "src": _source,
    "hdr": _header,
    "req.hdr": _header,
    "req.fhdr": _header,
    "ssl_fc_sni": _sni,
    "req.ssl_sni": _sni,
    "ssl_fc": _is_tls,
    "ssl_fc_protocol": _tls_version,
    "ssl_c_s_dn": certificates.subject,
    "ssl_c_i_dn": certificates.issuer,
    "ssl_c_verify": certificates.verified,
    "ssl_c_used": certificates.has_certificate,
    "ssl_fc_has_crt": certificates.has_certificate,
    "ssl_c_sha1": certificates.fingerprint,
    "ssl_c_der": certificates.fingerprint,
    "ssl_c_serial": certificates.serial,
    "always_true": _constant,
    "always_false": _constant,
}
