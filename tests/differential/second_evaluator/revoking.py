"""What the answers of revocation sources mean for an issuer's certificates."""

from dataclasses import dataclass

FAILURES = ("stale", "unreachable", "not_loaded", "undetermined")


@dataclass(frozen=True)
class Source:
    """One source and what it softens."""

    on_unknown: str = "deny"
    on_failure: str = "deny"

    def softens(self, state: str) -> bool:
        """Whether a state other than good and revoked passes."""
        return (self.on_unknown if state == "unknown" else self.on_failure) == "allow"


@dataclass(frozen=True)
class Revocation:
    """An issuer's `revocation`; neither source where it is `none:`."""

    ocsp: Source | None = None
    crl: Source | None = None
    combine: str = "any_revoked"


def reason_of(state: str) -> str:
    """The reason of a state that denies."""
    return "certificate_revoked" if state == "revoked" else f"revocation_{state}"


def revocation_reason(settings: Revocation, ocsp: str, crl: str, *, by_hand: bool) -> str | None:
    """The reason of the deny, None where the certificate passes.

    "any `revoked` denies; else an `unknown` goes by `on_unknown` and no other source overrules it; else one `good`
    suffices; else every source's `on_failure` must be allow. `first_answer`: OCSP, then CRL; the first `good`,
    `revoked` or `unknown` decides".
    """
    if by_hand:
        return "certificate_revoked"
    answers = [(source, state) for source, state in ((settings.ocsp, ocsp), (settings.crl, crl)) if source is not None]
    if settings.combine == "first_answer":
        answers = next(([one] for one in answers if one[1] in {"good", "revoked", "unknown"}), answers)
    states = [state for _, state in answers]
    if "revoked" in states:
        return "certificate_revoked"
    unknown = [source for source, state in answers if state == "unknown"]
    if unknown:
        return None if all(source.softens("unknown") for source in unknown) else "revocation_unknown"
    if "good" in states:
        return None
    denying = [state for source, state in answers if not source.softens(state)]
    return reason_of(denying[0]) if denying else None
