"""Paths of all sorts, the programs that read them, and the rule that no two readings may meet in one verdict.

A reader turns the path of a request line into the place that it would serve. What leads to a protected place for any of
them must be refused, or judged as that place; what is judged to be a public place must be one for all of them.
"""

from __future__ import annotations

import posixpath
import random
import re
import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from yarl import URL

from spoa.policy.path import PathPattern, canonical_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spoa.policy.path import CanonicalPath

__all__ = ["MODES", "READERS", "forwarded", "judged", "made_up", "objection", "place_of"]

_SHUT: Final = PathPattern("/admin/**")
_OPEN: Final = PathPattern("/public/**")
#: How a policy may have paths judged: `path_on_ambiguity: normalise`, `path_parameters: allow`.
MODES: Final = tuple((normalise, parameters) for normalise in (False, True) for parameters in (False, True))

_NAMES: Final = ("admin", "public", "x", "ADMIN", "Admin", "adm\u0131n", "\uff41dmin", "admin ", "administrator")
_TRICKS: Final = (
    *(
        "",
        ".",
        "..",
        "...",
        "%2e",
        "%2E%2e",
        ".%2e",
        "%252e%252e",
        "..;",
        ";",
        ";x",
        "..;x=y",
        "%3b",
        ";/..",
        "..%00",
        "%00",
    ),
    *(
        "%2f",
        "%2F..",
        "..%2f",
        "%5c",
        "\\",
        "..\\",
        "%5C..",
        "%25",
        "%252f",
        "%c0%ae",
        "%c0%af",
        "%e0%80%af",
        "%ef%bc%8f",
    ),
    *("%ef%bc%8e%ef%bc%8e", "%u002e", "%u0061dmin", "%61dmin", "%41DMIN", "%61%64%6d%69%6e", "%2561dmin", "adm%69n"),
    *(
        "admin%20",
        "%20admin",
        "admin.",
        "admin%2e",
        "admin;",
        "admin;x",
        "admin%3bx",
        "admin%00",
        "admin%0d%0a",
        "%0aadmin",
    ),
    *(
        "?",
        "?x",
        "#",
        "#x",
        "%23",
        "%3f",
        "%",
        "%2",
        "%zz",
        "%7e",
        "~",
        "*",
        ":",
        "@",
        "!",
        "+",
        "a+b",
        "%C3%A9",
        "\xe9",
    ),
    *("&", "=", "$", "(", "'", "|", "^", "`", "{", "<", "%09", "%7f", "%80", "%FF", "%E2%80%AE", "%CC%81", "e%CC%81"),
)


def made_up(count: int, seed: int) -> Iterator[bytes]:
    """Make up request targets of a few names and tricks each; the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        pieces = []
        for _ in range(chance.randrange(1, 6)):
            piece = chance.choice(_NAMES) if chance.random() < 0.4 else chance.choice(_TRICKS)
            if chance.random() < 0.15:
                piece += chance.choice(_TRICKS)
            pieces.append(piece)
            pieces.append("/" if chance.random() < 0.8 else chance.choice(("//", "", "/./", "/../", "\\")))
        path = "/" + "".join(pieces if chance.random() < 0.5 else pieces[:-1])
        found = path.encode("latin-1" if chance.random() < 0.1 and _is_latin(path) else "utf-8")
        if chance.random() < 0.1:
            place = chance.randrange(1, len(found) + 1)
            found = found[:place] + bytes([chance.randrange(0x21, 0x7F)]) + found[place:]
        yield found.replace(b" ", b"%20")


def _is_latin(path: str) -> bool:
    return all(ord(character) < 256 for character in path)


# -- readers ----------------------------------------------------------------------------------------------------


def place_of(path: bytes) -> tuple[str, ...]:
    """Return the segments of a decoded path as the least exact of file systems would take them."""
    text = unicodedata.normalize("NFKC", path.decode(errors="replace")).casefold()
    segments: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            segments[-1:] = []
        elif segment not in {"", "."}:
            segments.append(segment)
    return tuple(segments)


def _split(path: bytes) -> bytes:
    return urlsplit("http://h" + path.decode("latin-1")).path.encode("latin-1")


def _urlsplit(path: bytes) -> bytes:
    return unquote_to_bytes(_split(path))


def _urljoin(path: bytes) -> bytes:
    joined = urljoin("http://h/", "/" + path.decode("latin-1").lstrip("/"))
    return unquote_to_bytes(urlsplit(joined).path.encode("latin-1"))


def _normpath_first(path: bytes) -> bytes:
    return unquote_to_bytes(posixpath.normpath(_split(path)))


def _normpath_last(path: bytes) -> bytes:
    return posixpath.normpath(_urlsplit(path))


def _pathlib(path: bytes) -> bytes:
    return str(PurePosixPath(_urlsplit(path).decode("latin-1"))).encode("latin-1")


def _yarl(path: bytes) -> bytes:
    return URL("http://h" + path.decode("latin-1")).path.encode("utf-8", "surrogateescape")


def _without_parameters(path: bytes) -> bytes:
    return unquote_to_bytes(re.sub(rb";[^/]*", b"", _split(path)))


def _without_parameters_at_last(path: bytes) -> bytes:
    return re.sub(rb";[^/]*", b"", _urlsplit(path))


def _with_backslashes(path: bytes) -> bytes:
    return posixpath.normpath(_urlsplit(path).replace(b"\\", b"/"))


def _decoded_twice(path: bytes) -> bytes:
    return posixpath.normpath(unquote_to_bytes(_urlsplit(path)))


def _up_to_nul(path: bytes) -> bytes:
    return _urlsplit(path).partition(b"\0")[0]


#: What reads a path without a process of its own. A reader may refuse, by `ValueError`.
READERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "urllib": _urlsplit,
    "urljoin": _urljoin,
    "normpath, then decoded": _normpath_first,
    "decoded, then normpath": _normpath_last,
    "pathlib": _pathlib,
    "yarl": _yarl,
    "a server that drops parameters": _without_parameters,
    "a server that drops parameters after decoding": _without_parameters_at_last,
    "a server that takes backslashes for slashes": _with_backslashes,
    "a server that decodes twice": _decoded_twice,
    "a server that ends at NUL": _up_to_nul,
}


# -- the rule ---------------------------------------------------------------------------------------------------


def judged(path: bytes, mode: tuple[bool, bool]) -> CanonicalPath | None:
    """Return what the agent makes of a path, None where it refuses it."""
    normalise, parameters = mode
    return canonical_path(path.decode("latin-1"), normalise=normalise, parameters=parameters)


def forwarded(path: bytes, found: CanonicalPath, mode: tuple[bool, bool]) -> bytes:
    """Return what the server behind gets: the path as it came, or the canonical one where HAProxy applies it."""
    return found.text.encode("latin-1") if mode[0] else path


def objection(path: bytes, mode: tuple[bool, bool], read: Callable[[bytes], bytes | None]) -> str:
    """Return why a reader and the agent must not differ so about a path; empty where they don't."""
    found = judged(path, mode)
    if found is None:
        return ""
    try:
        served = read(forwarded(path, found, mode))
    except ValueError:
        return ""
    if served is None:
        return ""
    place = place_of(served)
    if place[:1] == ("admin",) and not _SHUT.matches(found, generous=True):
        return f"{path!r} is served as {served!r}, and judged as {found.text}, which no deny of /admin/** covers"
    if _OPEN.matches(found, generous=False) and place[:1] != ("public",):
        return f"{path!r} is served as {served!r}, and judged as {found.text}, which an allow of /public/** covers"
    return ""
