"""Samples of the client's certificate, as whom a policy means."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from spoa.migration.atoms import ALWAYS, ANONYMOUS, ANY, NEVER, Atom, ListFile
from spoa.migration.patterns import Every, literal, text_pattern
from spoa.migration.truths import asks_for_true, check_integer, includes_zero
from spoa.policy import oids

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.migration.atoms import Authority, Holder, PlacedTest

__all__ = ["fingerprint", "has_certificate", "issuer", "serial", "subject", "verified"]

_DIGESTS: Final = {
    ("ssl_c_sha1", ("hex",)): 40,
    ("ssl_c_sha1", ()): 40,
    ("ssl_c_der", ("sha1", "hex")): 40,
    ("ssl_c_der", ("sha1",)): 40,
    ("ssl_c_der", ("sha2", "hex")): 64,
    ("ssl_c_der", ("sha2",)): 64,
}
_SHA1_DIGITS: Final = 40


def _issuer_note(one: PlacedTest) -> None:
    names = [authority.issuer for authority in one.around.authorities]
    if len(names) > 1:
        one.note("unsafe-issuer", f"{one.test}: any of {', '.join(names)} can issue it; take away those that don't")


def subject(one: PlacedTest) -> Atom:
    """Translate a test of the subject: of one attribute, or of the whole name.

    Raises:
        ValueError: it has none, and why.
    """
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


def _whole_subject(one: PlacedTest) -> Atom:
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


def issuer(one: PlacedTest) -> Atom:
    """Translate a test of an issuer's name: the issuers of the bind line that have it.

    Raises:
        ValueError: it has none, and why.
    """
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
    return Atom("who", ((("issuer", tuple(chosen)),),)) if chosen else NEVER


def _names(authority: Authority, one: PlacedTest, texts: list[str]) -> bool:
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


def verified(one: PlacedTest) -> Atom:
    """Translate a test of what verification said: a gate denies whatever was not verified.

    Raises:
        ValueError: it is none of a number.
    """
    check_integer(one.test)
    if not includes_zero(one.test.patterns):
        # Where it restricts, a gate says the same of every request.
        one.why, one.is_worth_noting = "a gate denies whatever was not verified", not one.generous
        return NEVER
    what = f"{one.test}: 0 also where there is no certificate at all"
    if one.generous:
        one.note("unsafe-certificate-test", what)
        return ALWAYS
    one.note("unsafe-certificate-test", f"{what}; the draft wants one")
    return Atom("who", (ANY,))


def has_certificate(one: PlacedTest) -> Atom:
    """Translate a test of whether there is a certificate.

    Raises:
        ValueError: it has none, and why.
    """
    is_wanted = asks_for_true(one.test)
    if one.test.fetch == "ssl_fc_has_crt":
        one.note("unsafe-certificate-test", f"{one.test}: false on a resumed session, certificate or not")
    return Atom("who", (ANY if is_wanted else ANONYMOUS,))


def fingerprint(one: PlacedTest) -> Atom:
    """Translate a test of a digest: whoever is on a list of such.

    Raises:
        ValueError: it has none, and why.
    """
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


def _list_name(one: PlacedTest) -> str:
    file = "".join(one.test.files[:1]).rpartition("/")[2].partition(".")[0] or f"line-{one.test.line.number}"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", file).strip("-") or "listed"


def serial(one: PlacedTest) -> Atom:
    """Translate a test of the serial number, in hex.

    Raises:
        ValueError: it has none, and why.
    """
    if one.converters != ("hex",) or one.test.match != "str":
        raise ValueError("what is made of the serial number")
    _issuer_note(one)
    return Atom("who", tuple(_keyed("serial", text) for text in one.texts() if re.fullmatch("[0-9A-Fa-f]+", text)))
