"""What is judged, what is known about the world, and what comes out."""

from dataclasses import dataclass, field
from typing import Any, Final

STRICTLY: Final = False
"""How a pattern is read in what gives access."""
GENEROUSLY: Final = True
"""How a pattern is read in what takes it away."""


class RefusedError(Exception):
    """The policy isn't one: the specification calls this an error."""


class _Mark:
    """A value that is none of the values of its attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MISSING: Final[Any] = _Mark("MISSING")
"""The argument isn't in the message at all."""
NULL: Final[Any] = _Mark("NULL")
"""The argument is in the message, as SPOP NULL."""
UNKNOWN: Final[Any] = _Mark("UNKNOWN")
"""The attribute is *unavailable*: it matches where access is taken away, and not where it is given."""


@dataclass(frozen=True)
class Certificate:
    """What a client certificate says; an empty list or tuple is an attribute that it doesn't have (*absent*)."""

    issuer: str | None
    """The name of the issuer whose key signed it, None where no issuer of the policy did."""
    subject: tuple[tuple[str, str], ...] = ()
    """Attribute short name (or OID) and value, in the order of the subject."""
    dns_san: tuple[str, ...] = ()
    uri_san: tuple[str, ...] = ()
    email_san: tuple[str, ...] = ()
    ip_san: tuple[str, ...] = ()
    fingerprint: Any = UNKNOWN
    sha1: Any = UNKNOWN
    spki: Any = UNKNOWN
    serial: Any = UNKNOWN
    """An integer."""
    eku: Any = UNKNOWN
    """OIDs or names, () where there is no extended key usage."""
    policy_oid: Any = UNKNOWN
    key: tuple[str, int] = ("ec", 256)
    """`rsa`, `dsa` or `ec`, and bits."""
    signature_hash: str = "sha256"
    is_ca: bool = False
    digital_signature: bool = True
    """False only where a keyUsage lacks it."""
    not_before: int = 0
    not_after: int = 2**40
    parses: bool = True


@dataclass(frozen=True)
class Request:
    """One message `authorize`, argument by argument, each a value, NULL or MISSING."""

    cert: Any = NULL
    used: Any = MISSING
    verify: Any = MISSING
    resumed: Any = MISSING
    src: Any = MISSING
    method: Any = MISSING
    path: Any = MISSING
    host: Any = MISSING
    sni: Any = MISSING
    tls: Any = MISSING
    headers: dict[str, Any] = field(default_factory=dict)
    """Lower-case name to a value, NULL (the header isn't in the request) or UNKNOWN (it was sent twice)."""


@dataclass(frozen=True)
class World:
    """What isn't in the message: the time, the switches that are open, blocks, and what revocation sources say."""

    now: int
    clock_usable: bool = True
    open: frozenset[str] = frozenset()
    blocks: frozenset[tuple[str, Any]] = frozenset()
    """`("sha256", hex)`, `("spki", hex)` or `("serial", (issuer, number))`."""
    ocsp: str = "good"
    crl: str = "good"
    revoked_by_hand: bool = False
    """`revocation: revoked` of a policy test: denies under `none:` too."""


@dataclass(frozen=True)
class Verdict:
    """What the specification determines; None where it doesn't."""

    verdict: str
    reason: str
    rule: str
    status: int | None
    route: str
    identity: str | None
    shadow: str | None
    path: str | None
    denying: tuple[str, ...] = ()
    """All rules that deny, in file order."""
