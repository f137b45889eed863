"""From a test of HAProxy's to what a policy looks at: tables of samples, each with the patterns that it becomes.

A test is translated for a *restricting* place, where it may match more than HAProxy's did, or for a *granting* one,
where it may match less; what differs is noted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from spoa.migration.hosts import host_name, server_name
from spoa.migration.notes import is_utf8, note_unmatched
from spoa.migration.patterns import (
    Every,
    Pattern,
    file_patterns,
    header_pattern,
    host_patterns,
    literal,
    networks,
    path_patterns,
    text_pattern,
)
from spoa.migration.truths import asks_for_true, check_boolean, check_integer, includes_zero
from spoa.policy import oids
from spoa.policy.conditions import read_header_name
from spoa.policy.reading import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.haproxy_config.acl import Comparison
    from spoa.migration.notes import Notes

__all__ = ["ANONYMOUS", "ANY", "Atom", "Authority", "Holder", "ListFile", "Surroundings", "translate"]

#: Keys of an identity, as pairs; `issuer` among them only where it is bound to some.
Holder: TypeAlias = "tuple[tuple[str, Any], ...]"
ANY: Final[Holder] = ()
ANONYMOUS: Final[Holder] = (("", "anonymous"),)

_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "TRACE")
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_TLS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_FOLDING: Final = frozenset({"lower", "upper", "url_dec"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_DIGESTS: Final = {
    ("ssl_c_sha1", ("hex",)): 40,
    ("ssl_c_sha1", ()): 40,
    ("ssl_c_der", ("sha1", "hex")): 40,
    ("ssl_c_der", ("sha1",)): 40,
    ("ssl_c_der", ("sha2", "hex")): 64,
    ("ssl_c_der", ("sha2",)): 64,
}
_SHA1_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA of the bind line.

    Attributes:
        issuer: its name in the draft.
        subject: attribute type as HAProxy writes it, in upper case → first value.
    """

    issuer: str
    subject: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListFile:
    """A list that the draft has.

    Attributes:
        name: in the draft.
        digits: the length of its digests in hex.
        files: of HAProxy's that it comes from.
        lines: those that match.
        unmatched: lines that never matched.
    """

    name: str
    digits: int
    files: tuple[str, ...]
    lines: tuple[str, ...]
    unmatched: tuple[str, ...]


@dataclass(slots=True)
class Surroundings:
    """What a translation needs beside the test.

    Attributes:
        notes: takes what differs.
        read: from the name of a `-f` file to its text, or None where it can't be read.
        authorities: CAs of the bind lines; empty where they could not be read.
        lists: lists of fingerprints that tests named, by name.
    """

    notes: Notes
    read: Callable[[str], str | None]
    authorities: tuple[Authority, ...] = ()
    lists: dict[str, ListFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Atom:
    """One condition of a policy.

    Attributes:
        kind: `who`, `path`, `method`, `host`, `sni`, `source`, `tls`, `header:NAME`, `always` or `never`.
        values: any of which will do: `Holder`s for `who`, patterns otherwise.
    """

    kind: str
    values: tuple[Any, ...] = ()


_ALWAYS: Final = Atom("always")
_NEVER: Final = Atom("never")


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
    one = _Test(test, around, generous=generous, is_route=is_route)
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
    return _NEVER


class _Test:
    """One test with what it is translated in."""

    def __init__(self, test: Comparison, around: Surroundings, *, generous: bool, is_route: bool) -> None:
        self.test = test
        self.around = around
        self.generous = generous
        self.is_route = is_route
        self.converters = tuple(name for name, _ in test.converters)
        self.argument = (test.arguments or ("",))[0]
        #: Why nothing matches, where nothing does, and whether that has to be said.
        self.why = "nothing that gets past the gates matches it"
        self.is_worth_noting = True

    def of(self, test: Comparison) -> _Test:
        """Return another test in the same place."""
        return _Test(test, self.around, generous=self.generous, is_route=self.is_route)

    def note(self, code: str, text: str) -> None:
        self.around.notes.add(self.test.line, code, text)

    def texts(self) -> list[str]:
        """Return the patterns, those of files included."""
        found = list(self.test.patterns)
        for file in self.test.files:
            content = self.around.read(file)
            if content is None:
                raise ValueError(f"the file {file}, which can't be read")
            found += file_patterns(file, content)
        return found

    def plain(self) -> None:
        """Refuse converters but those that fold."""
        others = set(self.converters) - _FOLDING
        if others:
            raise ValueError(f"the converter {min(others)}")
        if not self.generous and self.converters:
            raise ValueError(f"the converter {self.converters[0]} in what grants access")

    def patterns(
        self, read: Callable[..., list[Pattern]], *, folds: bool = False, **further: Any
    ) -> tuple[Pattern, ...]:
        """Read each pattern; `folds` where values have no case."""
        self.plain()
        ignores_case = self.test.ignores_case or bool(self.converters)
        if ignores_case and not self.generous and not folds and self.test.match != "found":
            self.note("narrowed", f"{self.test}: granted only as it is written, not in upper and lower case alike")
            ignores_case = self.test.match == "reg"
        texts = self.texts() if self.test.match != "found" else [""]
        found = [
            pattern
            for text in texts
            for pattern in read(self.test.match, text, generous=self.generous, ignores_case=ignores_case, **further)
        ]
        return tuple(dict.fromkeys(found))


# -- the request ------------------------------------------------------------------------------------------------


def _path(one: _Test) -> Atom:
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
    return Atom("path", patterns) if patterns else _NEVER


def _note_prefix(one: _Test, text: str) -> None:
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


def _method(one: _Test) -> Atom:
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


def _host(one: _Test) -> Atom:
    name = host_name(one.test)
    if not one.generous and name.note:
        one.note("host-spelling", f"{one.test}: {name.note}; to the draft it doesn't")
    return Atom("host", one.of(name.test).patterns(host_patterns, folds=True))


def _sni(one: _Test) -> Atom:
    return Atom("sni", one.of(server_name(one.test)).patterns(host_patterns, folds=True))


def _header(one: _Test) -> Atom:
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


def _source(one: _Test) -> Atom:
    one.plain()
    return Atom("source", tuple(networks(one.texts())))


def _tls_version(one: _Test) -> Atom:
    one.plain()
    versions = tuple(text for text in one.texts() if text in _TLS)
    if one.test.match != "str" or len(versions) < len(one.texts()):
        raise ValueError("a TLS version that is none")
    return Atom("tls", versions)


def _is_tls(one: _Test) -> Atom:
    check_boolean(one.test)
    return Atom("tls", _TLS)


# -- the certificate --------------------------------------------------------------------------------------------


def _issuer_note(one: _Test) -> None:
    names = [authority.issuer for authority in one.around.authorities]
    if len(names) > 1:
        one.note("unsafe-issuer", f"{one.test}: any of {', '.join(names)} can issue it; take away those that don't")


def _subject(one: _Test) -> Atom:
    test = one.test
    if not one.argument:
        return _whole_subject(one)
    occurrence = test.arguments[1] if len(test.arguments) > 1 else ""
    if occurrence not in {"", "0", "1", "-1"} and not one.generous:
        raise ValueError(f"occurrence {occurrence} of a name")
    key = _subject_key(one.argument)
    patterns = one.patterns(text_pattern)
    if test.match in {"sub", "beg", "end"}:
        what = {"sub": "anywhere in", "beg": "at the beginning of", "end": "at the end of"}[test.match]
        one.note("unsafe-substring", f"{test}: whoever has {' or '.join(one.texts())} {what} the name; list the names")
    _issuer_note(one)
    if key == "cn":
        return Atom("who", tuple(_keyed(key, pattern) for pattern in patterns))
    spoken = one.argument.upper()
    if one.generous:
        one.note("unsafe-first-ou", f"{test}: HAProxy saw one {spoken} only; the draft matches any")
        return Atom("who", tuple(_keyed(key, pattern) for pattern in patterns))
    one.note("unsafe-first-ou", f"{test}: HAProxy saw one {spoken} only; the draft grants where each is listed")
    return Atom("who", (_keyed(key, Every(patterns)),))


def _subject_key(attribute: str) -> str:
    name = attribute.upper()
    if name in {"CN", "OU", "O"}:
        return name.lower()
    known = next((key for key in oids.SUBJECT if key.upper() == name), None)
    if known is None:
        raise ValueError(f"the attribute {attribute}")
    return f"subject.{known}"


def _keyed(key: str, value: Any) -> Holder:
    return ((key, value),)


def _whole_subject(one: _Test) -> Atom:
    test = one.test
    one.plain()
    holders = []
    for text in one.texts():
        parts = re.findall(r"/?([A-Za-z]+)=([^/]*)", text)
        is_whole = test.match == "str" and "".join(f"/{name}={value}" for name, value in parts) == text
        is_part = test.match == "sub" and len(parts) == 1 and not one.generous
        if not (is_whole or is_part):
            raise ValueError(f"`-m {test.match}` of a whole name, whose order and quoting a client's CA chooses")
        keys = [(_subject_key(name), literal(value)) for name, value in parts]
        if len({key for key, _ in keys}) < len(keys):
            raise ValueError("a name with several values of one kind")
        holders.append(tuple((key, value if one.generous else Every((value,))) for key, value in keys))
    one.note("unsafe-substring", f"{test}: a name is no text; compared are these attributes, whatever else it has")
    _issuer_note(one)
    return Atom("who", tuple(holders))


def _issuer(one: _Test) -> Atom:
    authorities = one.around.authorities
    if not authorities or not one.argument:
        why = ", as long as the CA certificates are not known" if one.argument else " as a whole"
        raise ValueError(f"the issuer's name{why}")
    one.plain()
    texts = one.texts()
    chosen = [authority.issuer for authority in authorities if _names(authority, one, texts)]
    strange = [text for text in texts if not any(_names(authority, one, [text]) for authority in authorities)]
    if strange:
        one.why = (
            f"no CA certificate of the bind line has {' or '.join(map(repr, strange))} as its {one.argument.upper()}"
        )
        if chosen:
            one.note("unmatched", f"{one.test}: {one.why}")
    if len(chosen) == len({authority.issuer for authority in authorities}):
        return Atom("who", (ANY,))
    return Atom("who", ((("issuer", tuple(chosen)),),)) if chosen else _NEVER


def _names(authority: Authority, one: _Test, texts: list[str]) -> bool:
    value = authority.subject.get(one.argument.upper(), "")
    if one.test.ignores_case or one.converters:
        value, texts = value.lower(), [text.lower() for text in texts]
    ways: dict[str, Callable[[str], bool]] = {
        "str": lambda text: value == text,
        "sub": lambda text: text in value,
        "beg": value.startswith,
        "end": value.endswith,
    }
    way = ways.get(one.test.match)
    if way is None:
        raise ValueError(f"`-m {one.test.match}` of an issuer's name")
    return any(map(way, texts))


def _verified(one: _Test) -> Atom:
    """Translate a test of what verification said: a gate denies whatever was not verified."""
    check_integer(one.test)
    if not includes_zero(one.test.patterns):
        # Where it restricts, a gate says the same of every request.
        one.why, one.is_worth_noting = "a gate denies whatever was not verified", not one.generous
        return _NEVER
    what = f"{one.test}: 0 also where there is no certificate at all"
    if one.generous:
        one.note("unsafe-certificate-test", what)
        return _ALWAYS
    one.note("unsafe-certificate-test", f"{what}; the draft wants one")
    return Atom("who", (ANY,))


def _has_certificate(one: _Test) -> Atom:
    is_wanted = asks_for_true(one.test)
    if one.test.fetch == "ssl_fc_has_crt":
        one.note("unsafe-certificate-test", f"{one.test}: false on a resumed session, certificate or not")
    return Atom("who", (ANY if is_wanted else ANONYMOUS,))


def _fingerprint(one: _Test) -> Atom:
    digits = _DIGESTS.get((one.test.fetch, one.converters))
    if digits is None or one.test.match not in {"str", "bin"}:
        raise ValueError("what is made of the certificate")
    is_text = one.converters[-1:] == ("hex",) and one.test.match == "str"
    if digits == _SHA1_DIGITS:
        one.note("unsafe-fingerprint", f"{one.test}: SHA-1; `spoa-authz fingerprint CERT` prints SHA-256")
    missing = [file for file in one.test.files if one.around.read(file) is None]
    if missing:
        one.note("placeholder", f"{missing[0]} can't be read; the list that stands for it is empty")
    texts = one.texts() if not missing else list(one.test.patterns)
    folds = one.test.ignores_case or not is_text
    strict = [text for text in texts if re.fullmatch(f"[0-9A-F]{{{digits}}}", text.upper() if folds else text)]
    loose = [text for text in texts if re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", text.replace(":", ""))]
    matched = loose if one.generous else strict
    unmatched = tuple(text for text in texts if text not in matched)
    for text in unmatched:
        one.note("untranslated", f"{one.test}: {text} is no {digits} hex digits in upper case, and never matched")
    name = _list_name(one) + ("-denied" if one.generous and strict != loose else "")
    listed = ListFile(name, digits, one.test.files, tuple(matched), unmatched)
    same = (known for known in one.around.lists.values() if replace(known, name=name) == listed)
    known = next(same, listed)
    while known is listed and listed.name in one.around.lists:
        known = listed = replace(listed, name=f"{listed.name}-2")
    one.around.lists[known.name] = known
    return Atom("who", ((("in_list", known.name),),))


def _list_name(one: _Test) -> str:
    file = "".join(one.test.files[:1]).rpartition("/")[2].partition(".")[0] or f"line-{one.test.line.number}"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", file).strip("-") or "listed"


def _serial(one: _Test) -> Atom:
    if one.converters != ("hex",) or one.test.match != "str":
        raise ValueError("what is made of the serial number")
    _issuer_note(one)
    return Atom("who", tuple(_keyed("serial", text) for text in one.texts() if re.fullmatch("[0-9A-Fa-f]+", text)))


def _constant(one: _Test) -> Atom:
    check_boolean(one.test)
    return _ALWAYS if one.test.fetch == "always_true" else _NEVER


_SAMPLES: Final[Mapping[str, Callable[[_Test], Atom]]] = {
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
    "ssl_c_s_dn": _subject,
    "ssl_c_i_dn": _issuer,
    "ssl_c_verify": _verified,
    "ssl_c_used": _has_certificate,
    "ssl_fc_has_crt": _has_certificate,
    "ssl_c_sha1": _fingerprint,
    "ssl_c_der": _fingerprint,
    "ssl_c_serial": _serial,
    "always_true": _constant,
    "always_false": _constant,
}
