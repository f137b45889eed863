"""The words of a revocation judgement: status, reason, and what may be configured about it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FOREVER",
    "REVOCATION_REASONS",
    "SHA1_SUNSET",
    "Depth",
    "IdpMatching",
    "NonceMode",
    "Reason",
    "Result",
    "Rules",
    "Status",
    "most_specific",
]

FOREVER: Final = 2**63 - 1
"""The `valid_until` of what no time changes; seconds since the epoch."""

SHA1_SUNSET: Final = 1_483_228_800
"""2017-01-01T00:00:00Z, from which public CAs used SHA-1 no more; seconds since the epoch."""

#: CRLReason (RFC 5280 section 5.3.1) by number; 7 is not used.
REVOCATION_REASONS: Final[dict[int, str]] = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}


class Status(enum.StrEnum):
    """What the evidence says of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    UNDETERMINED = "undetermined"


class Depth(enum.StrEnum):
    """Which certificates of a chain are asked about: the first, or all below the anchor."""

    LEAF = "leaf"
    CHAIN = "chain"


class IdpMatching(enum.StrEnum):
    """Whether a CRL's distribution point must be one that the certificate names (RFC 5280 section 6.3.3 b).

    `TRUST_CONFIG` is for CAs that name one in their CRLs and none in their certificates: the operator bound the CRL to
    the CA by hand. Indirect CRLs stay strict.
    """

    STRICT = "strict"
    TRUST_CONFIG = "trust-config"


class NonceMode(enum.StrEnum):
    """Whether an OCSP response must repeat the nonce that was sent.

    `SEND` takes a response without one, since pre-signed responses can't have it (RFC 5019 section 4); in either mode
    another nonce than ours makes it unusable.
    """

    SEND = "send"
    REQUIRE = "require"


class Reason(enum.StrEnum):
    """Why a status is undetermined, unknown or good, the least specific first.

    Where several pieces of evidence failed, the last of their reasons in this order is the one to report: it belongs
    to the piece that came closest to an answer.
    """

    OK = "ok"
    NOT_LOADED = "not_loaded"
    NO_RESPONDER = "no_responder"
    UNREACHABLE = "unreachable"
    WRONG_CERTIFICATE = "wrong_certificate"
    PARSE_ERROR = "parse_error"
    TOO_LARGE = "too_large"
    RESPONDER_ERROR = "responder_error"
    WRONG_SCOPE = "wrong_scope"
    SIGNER_UNKNOWN = "signer_unknown"
    BAD_SIGNATURE = "bad_signature"
    WEAK_SIGNATURE = "weak_signature"
    RESPONDER_NOT_AUTHORIZED = "responder_not_authorized"
    CRL_SIGN_MISSING = "crl_sign_missing"
    SIGNER_NOT_TRUSTED = "signer_not_trusted"
    SIGNER_REVOKED = "signer_revoked"
    SIGNER_UNDETERMINED = "signer_undetermined"
    NUMBER_MISSING = "number_missing"
    UNKNOWN_CRITICAL = "unknown_critical"
    UNSUPPORTED = "unsupported"
    NONCE_MISMATCH = "nonce_mismatch"
    ROLLBACK = "rollback"
    DELTA_WITHOUT_BASE = "delta_without_base"
    NO_NEXT_UPDATE = "no_next_update"
    NOT_YET_VALID = "not_yet_valid"
    STALE = "stale"
    SOME_REASONS_ONLY = "some_reasons_only"
    RESPONDER_UNKNOWN = "responder_unknown"
    # Of the certificate rather than of the evidence.
    CERTIFICATE_UNPARSABLE = "certificate_unparsable"
    ISSUER_UNKNOWN = "issuer_unknown"
    CERTIFICATE_NOT_VALID_NOW = "certificate_not_valid_now"


_RANK: Final = {reason: rank for rank, reason in enumerate(Reason)}


def most_specific(*reasons: Reason) -> Reason:
    """Return the reason to report for all of these; `NOT_LOADED` for none."""
    return max(reasons, key=_RANK.__getitem__, default=Reason.NOT_LOADED)


class Result(NamedTuple):
    """The answer for one certificate or chain.

    Attributes:
        status: see `Status`.
        reason: a `Reason`; for a revoked certificate the CA's, by its RFC 5280 name (`keyCompromise`, …).
        position: which certificate it is about: 0 for the certificate itself, 1 for its issuer, and so on.
        valid_until: the answer holds before this instant; seconds since the epoch, or `FOREVER`.
        is_late: it rests on evidence past its nextUpdate that `Rules` still allow.
        is_on_hold: revoked for certificateHold, the one revocation that newer evidence may lift.
    """

    status: Status
    reason: str
    position: int = 0
    valid_until: int = FOREVER
    is_late: bool = False
    is_on_hold: bool = False


class Rules(NamedTuple):
    """What may be configured about the judgement of evidence; the defaults are the strict ones. Times in seconds.

    Attributes:
        skew: so far may a thisUpdate lie in the future; excuses nothing else.
        max_stale: so long past its nextUpdate a CRL still counts.
        stale_grace: the same of an OCSP response.
        idp: see `IdpMatching`.
        max_age_without_next_update: so long past its thisUpdate an OCSP response without nextUpdate counts.
        crl_max_age_without_next_update: the same of a CRL, for which RFC 5280 section 5.1.2.5 demands a nextUpdate.
        sha1_until: signatures on evidence may use SHA-1 when judged as of an earlier instant; MD5 never. The default
            was over before the first collision was found: it lets the past be judged, and nothing that is served now.
        is_number_required: a version 2 CRL without cRLNumber does not count (RFC 5280 section 5.2.3).
        is_nocheck_required: a delegated OCSP responder without ocsp-nocheck, and without a CRL for it, does not count.
        nonce: see `NonceMode`; asked only where a nonce was sent.
    """

    skew: int = 300
    max_stale: int = 0
    stale_grace: int = 0
    idp: IdpMatching = IdpMatching.STRICT
    max_age_without_next_update: int = 3600
    crl_max_age_without_next_update: int = 0
    sha1_until: int = SHA1_SUNSET
    is_number_required: bool = True
    is_nocheck_required: bool = False
    nonce: NonceMode = NonceMode.SEND

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Rules:
        """Read what `_asdict` returned and a text format has carried since.

        Raises:
            ValueError, TypeError: it is none.
        """
        rules = cls(**values)
        return rules._replace(idp=IdpMatching(rules.idp), nonce=NonceMode(rules.nonce))
