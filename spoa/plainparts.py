"""Parts of certificates as almost everybody writes them, read without the parser of all there is.

Theory: a name of short, printable ASCII in a usual string type, one attribute to an RDN, means the same to whoever
reads it; so do alternative names of the four usual kinds; and an extension means the same wherever the same bytes come
again. Nothing here is lenient: whatever is not surely such is None, and the parser is asked. What is not None is what
the parser says of any certificate that it loads, and nothing that it refuses to load; property tests compare the two.
"""

from __future__ import annotations

import re
import sys
from typing import Final, NamedTuple

from spoa.cache import BoundedCache

__all__ = [
    "AlternativeNames",
    "cut_extensions",
    "element_at",
    "plain_alternative_names",
    "plain_subject",
    "plain_subject_from_text",
]

_OCTET_STRING: Final = 0x04
_SEQUENCE: Final = 0x30
_PRINTABLE_STRING: Final = 0x13
#: Lengths from here on don't fit into the byte behind the tag.
_LONG: Final = 0x80
_ONE_OCTET, _TWO_OCTETS = 0x81, 0x82
#: GeneralName (RFC 5280 section 4.2.1.6).
_EMAIL, _DNS, _URI, _IP = 0x81, 0x82, 0x86, 0x87
_ADDRESS_SIZES: Final = (4, 16)
#: Alternative names of a certificate that is read here; the parser counts those of any other.
_MOST_NAMES: Final = 64

#: subjectAltName and subjectKeyIdentifier, the two extensions that differ from client to client, as DER.
_ALTERNATIVE_NAMES: Final = b"\x06\x03\x55\x1d\x11"
_KEY_IDENTIFIER: Final = b"\x06\x03\x55\x1d\x0e"
_OWN: Final = frozenset({_ALTERNATIVE_NAMES, _KEY_IDENTIFIER})
_TYPE_SIZE: Final = 5
_CRITICAL: Final = b"\x01\x01\xff"

#: Attribute types by the names of RFC 4514 section 3; of a country, the values have two letters.
_TYPES: Final = {
    "CN": "2.5.4.3",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "C": "2.5.4.6",
    "STREET": "2.5.4.9",
    "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
}
_NAMES: Final = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x09": "STREET",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
    b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01": "UID",
}
_PLAIN: Final = r"[!$%&'()*\-./0-9:=?@A-Z\[\]^_`a-z{|}~]"
_PLAIN_ATTRIBUTE: Final = re.compile(
    rf"(C)=({_PLAIN}{{2}})|(CN|L|ST|O|OU|STREET|DC|UID)=({_PLAIN}(?:(?:{_PLAIN}|[ #]){{0,62}}{_PLAIN})?)"
)
#: An RDN of one attribute, whose lengths are still to be compared: its type, the tag of its value, and the value.
_RDN: Final = re.compile(rb"\x31.\x30.\x06(?:\x03(\x55\x04.)|\x0a(\x09.{9}))([\x0c\x13\x16]).([ -~]+)", re.DOTALL)
_PRINTABLE: Final = re.compile(rb"[A-Za-z0-9 '()+,\-./:=?]*")

# Trick: clients are many, and the organisations and places in their names are few. Benchmark: benchmarks/hotpath.py,
# certificates never seen.
_rdns: Final[BoundedCache[bytes, tuple[str, str, str]]] = BoundedCache(1024)


class AlternativeNames(NamedTuple):
    """The alternative names that policies read, in order of appearance; addresses are packed."""

    dns: list[str]
    uri: list[str]
    email: list[str]
    ip: list[bytes]


# Hot path: logs name thousands of clients, which the parser of all there is takes ten times as long for. Benchmark:
# benchmarks/replay.py.
def plain_subject_from_text(text: str) -> dict[str, tuple[str, ...]] | None:
    """Return the attributes of a subject, by dotted OID, from its text (RFC 4514) if nothing in it is escaped."""
    values: dict[str, tuple[str, ...]] = {}
    for attribute in reversed(text.split(",")):
        found = _PLAIN_ATTRIBUTE.fullmatch(attribute)
        if found is None:
            return None
        oid = _TYPES[found[1] or found[3]]
        values[oid] = (*values.get(oid, ()), found[2] or found[4])
    return values


# Hot path: the parser makes an object of each attribute, and takes twenty times as long. Benchmark:
# benchmarks/hotpath.py, certificates never seen.
def plain_subject(name: bytes) -> tuple[dict[str, tuple[str, ...]], str] | None:
    """Return the attributes of a subject, by dotted OID, and its text (RFC 4514); None where it is to be parsed.

    Args:
        name: the subject as it stands in a certificate, a whole DER element.
    """
    position, end = element_at(name, 0, _SEQUENCE)
    if end != len(name):
        return None
    values: dict[str, tuple[str, ...]] = {}
    texts: list[str] = []
    while position < end:
        if position + 2 > end:
            return None
        stop = position + 2 + name[position + 1]
        rdn = name[position:stop]
        known = _rdns.get(rdn)
        if known is None:
            known = _attribute_of(rdn)
            if known is None:
                return None
            _rdns.put(rdn, known)
        oid, value, text = known
        values[oid] = (*values[oid], value) if oid in values else (value,)
        texts.append(text)
        position = stop
    texts.reverse()
    return values, ",".join(texts)


def _attribute_of(rdn: bytes) -> tuple[str, str, str] | None:
    """Return the dotted OID, the value and the text of an RDN's only attribute, if it is plain."""
    found = _RDN.fullmatch(rdn)
    if found is None:
        return None
    name, tag, value = _NAMES.get(found[1] or found[2]), found[3][0], found[4]
    size = len(rdn)
    if rdn[1] != size - 2 or rdn[3] != size - 4 or rdn[size - len(value) - 1] != len(value):
        return None
    if name is None or size >= _LONG or (tag == _PRINTABLE_STRING and not _PRINTABLE.fullmatch(value)):
        return None
    said = value.decode("ascii")
    text = f"{name}={said}"
    return (sys.intern(_TYPES[name]), said, text) if _PLAIN_ATTRIBUTE.fullmatch(text) else None


def plain_alternative_names(value: bytes) -> AlternativeNames | None:
    """Return what a subjectAltName says; None where it is to be parsed.

    Args:
        value: of the extension, a whole DER element.
    """
    position, end = element_at(value, 0, _SEQUENCE)
    if end != len(value) or position == end:
        return None
    names = AlternativeNames([], [], [], [])
    count = 0
    while position < end:
        if position + 2 > end or value[position + 1] >= _LONG or count == _MOST_NAMES:
            return None
        kind, stop = value[position], position + 2 + value[position + 1]
        content = value[position + 2 : stop]
        if stop > end or not _add_name(names, kind, content):
            return None
        position = stop
        count += 1
    return names


def _add_name(names: AlternativeNames, kind: int, content: bytes) -> bool:
    """Enter a name of a usual kind; tell whether it is one."""
    if kind == _IP:
        names.ip.append(content)
        return len(content) in _ADDRESS_SIZES
    if not content.isascii():
        return False
    text = content.decode("ascii")
    if kind == _DNS:
        names.dns.append(text)
    elif kind == _URI:
        names.uri.append(text)
    elif kind == _EMAIL:
        names.email.append(text)
    else:
        return False
    return True


def cut_extensions(extensions: bytes) -> tuple[bytes, bytes] | None:
    """Return what extensions say but for what is each client's own, and the value of their subjectAltName.

    Certificates with the same rest have the same extensions but for the values of subjectAltName and
    subjectKeyIdentifier; of that nothing is read, and it is a plain octet string here. The value that is returned is
    empty where there is no subjectAltName. None where that can't be told. Where the parser loaded a certificate with
    that rest, it loads these.

    Args:
        extensions: as they stand one after the other in a certificate.
    """
    rest: list[bytes] = []
    names = b""
    position, end = 0, len(extensions)
    while position < end:
        start, stop = element_at(extensions, position, _SEQUENCE)
        if start < 0:
            return None
        kind = extensions[start : start + _TYPE_SIZE]
        if kind in _OWN:
            at = start + _TYPE_SIZE
            if extensions[at : at + len(_CRITICAL)] == _CRITICAL:
                at += len(_CRITICAL)
            inner, last = element_at(extensions, at, _OCTET_STRING)
            if inner < 0 or last != stop:
                return None
            if kind == _ALTERNATIVE_NAMES:
                if names or inner == stop:  # twice, or of nothing, which is not the same as not at all
                    return None
                names = extensions[inner:stop]
            elif element_at(extensions, inner, _OCTET_STRING)[1] != stop:
                return None
            rest.append(extensions[start:at])
        else:
            rest.append(extensions[position:stop])
        position = stop
    return b"".join(rest), names


# Compiled, a pair of integers is no object.
def element_at(der: bytes, position: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at *position* begins and ends; -1 twice unless it is one with that tag.

    Lengths are in as few octets as they need, two at most (X.690 section 10.1). There is none at -1.
    """
    end = len(der)
    start = position + 2
    if position < 0 or start > end or der[position] != tag:
        return -1, -1
    length = der[position + 1]
    if length < _LONG:  # nearly always
        stop = start + length
        return (start, stop) if stop <= end else (-1, -1)
    if length == _ONE_OCTET and start < end:
        length, shortest = der[start], _LONG
        start += 1
    elif length == _TWO_OCTETS and start + 1 < end:
        length, shortest = der[start] << 8 | der[start + 1], 1 << 8
        start += 2
    else:
        return -1, -1
    stop = start + length
    return (start, stop) if stop <= end and length >= shortest else (-1, -1)
