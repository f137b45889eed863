"""What `status` and the metrics show of issuers and lists, from counts and from what others tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spoa.revocation.combine import State

if TYPE_CHECKING:
    from spoa.metrics import Samples

__all__ = ["checked", "first_soft_fails", "policy_samples", "soft_fails"]


def soft_fails(counts: Samples, source: str, issuer: str) -> float:
    """Return how many requests of an issuer passed although a source gave no assurance."""
    return counts.get(("revocation_soft_fails_total", (issuer, source)), 0)


def _failures(counts: Samples, issuer: str) -> dict[str, int]:
    """Return how often no source could say enough of a certificate of this issuer, by the reason."""
    found: dict[str, int] = {}
    for (name, labels), count in counts.items():
        if name == "revocation_failures_total" and labels[0] == issuer:
            found[labels[2]] = found.get(labels[2], 0) + int(count)
    return found


def checked(crl: dict[str, Any], ocsp: dict[str, Any], counts: Samples) -> dict[str, Any]:
    """Return what `status` shows of each issuer whose certificates are checked: its sources, and the worst of them."""
    found: dict[str, Any] = {}
    for name in sorted({*crl, *ocsp}):
        sources = {source: rows[name] for source, rows in (("ocsp", ocsp), ("crl", crl)) if name in rows}
        worst = max(sources.values(), key=lambda row: row["state"] != State.GOOD)
        found[name] = {
            "revocation": {
                "state": worst["state"],
                "reason": worst["reason"],
                "failures": _failures(counts, name),
                "sources": sources,
            }
        }
    return found


def first_soft_fails(counts: Samples) -> Samples:
    """Return a zero for each source that has let nobody pass unchecked yet, so that the first time is a rise."""
    sources = {labels[:2] for name, labels in counts if name == "revocation_state"}
    keys = (("revocation_soft_fails_total", source) for source in sorted(sources))
    return {key: 0 for key in keys if key not in counts}


def policy_samples(policy: dict[str, Any]) -> Samples:
    """Return what the metrics show of a policy, given its status: when CA certificates and entries of lists expire."""
    found: Samples = {}
    for name, entry in policy.get("authorities", {}).items():
        if entry["soonest_expiry"] is not None:
            found["issuer_certificate_expiry_timestamp_seconds", (name,)] = entry["soonest_expiry"]
    for name, entry in policy.get("lists", {}).items():
        found["list_entries", (name,)] = entry["entries"]
        if entry.get("soonest_expiry") is not None:
            found["list_soonest_expiry_timestamp_seconds", (name,)] = entry["soonest_expiry"]
    return found
