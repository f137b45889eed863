"""Object identifiers as DER writes them, and as people do (ITU-T X.690 section 8.19)."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["dotted"]

_GROUP_BITS = 7
_MORE = 0x80
_ARC_SIZE = 40
_MAX_ROOT = 2
_MAX_OCTETS = 64


@lru_cache(maxsize=256)
def dotted(content: bytes) -> str:
    """Write the content of an OBJECT IDENTIFIER in dotted form.

    Raises:
        ValueError: it is no object identifier in DER, or one of more than 64 octets.
    """
    if not 0 < len(content) <= _MAX_OCTETS or content[-1] & _MORE:
        raise ValueError(f"not an object identifier: {content[:_MAX_OCTETS].hex()}")
    arcs: list[int] = []
    number, is_first_octet = 0, True
    for octet in content:
        if is_first_octet and octet == _MORE:
            raise ValueError("an object identifier with a padded number")
        number = number << _GROUP_BITS | octet & ~_MORE
        is_first_octet = not octet & _MORE
        if is_first_octet:
            arcs.append(number)
            number = 0
    root = min(arcs[0] // _ARC_SIZE, _MAX_ROOT)
    return ".".join(map(str, (root, arcs[0] - root * _ARC_SIZE, *arcs[1:])))
