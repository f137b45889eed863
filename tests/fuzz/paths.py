"""Paths, and the patterns that cover them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from spoa.policy.path import PathPattern, canonical_path
from tests.fuzz.target import Target

__all__ = ["PATHS", "PATTERNS"]

_ALLOWED: Final = re.compile(r"/(?:[!-~]*)")
_EVERYTHING: Final = PathPattern("/**")
_SHUT: Final = PathPattern("/admin/**")


def _read_path(data: bytes) -> None:
    """A path that is accepted is its own canonical form, and decoding moves no segment."""
    raw = data.decode("latin-1")
    for parameters in (False, True):
        strict = canonical_path(raw, parameters=parameters)
        normalised = canonical_path(raw, normalise=True, parameters=parameters)
        assert strict is None or (normalised is not None and strict.text == normalised.text)
        for found in filter(None, (strict, normalised)):
            again = canonical_path(found.text, parameters=parameters)
            assert again is not None, found.text
            assert (again.text, again.strict, again.generous) == (found.text, found.strict, found.generous)
            _assert_one_reading(found.text, parameters=parameters)
            assert _EVERYTHING.matches(found, generous=False)
            assert _EVERYTHING.matches(found, generous=True)
            assert _SHUT.matches(found, generous=True) or not _SHUT.matches(found, generous=False)


def _assert_one_reading(text: str, *, parameters: bool) -> None:
    assert _ALLOWED.fullmatch(text)
    assert "\\" not in text
    assert "#" not in text
    assert "?" not in text
    decoded = unquote_to_bytes(text).decode()
    assert decoded.count("/") == text.count("/")
    assert unquote_to_bytes(decoded.encode()) == decoded.encode() or "%25" in text.upper()
    segments = decoded.split("/")
    assert not {".", ".."} & {segment.partition(";")[0] for segment in segments}
    assert "" not in segments[1:-1]
    assert parameters or ";" not in decoded


def _read_pattern(data: bytes) -> None:
    """A pattern that is accepted covers itself, where it is a path."""
    source = data.decode("latin-1")
    pattern = PathPattern(source)
    path = canonical_path(source, parameters=True)
    if path is not None and "*" not in source:
        assert pattern.matches(path, generous=False)
        assert pattern.matches(path, generous=True)


_WORDS: Final = (
    b"%2f",
    b"%2e",
    b"%5c",
    b"%25",
    b"%3b",
    b"//",
    b"/../",
    b"/./",
    b";x=y",
    b"/admin",
    b"%C3%A9",
    b"%c0%af",
)
PATHS: Final = Target("paths", _read_path, longest=128, words=_WORDS)
PATTERNS: Final = Target("path-patterns", _read_pattern, (ValueError,), longest=128, words=(*_WORDS, b"**", b"\\*"))
