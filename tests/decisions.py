"""Rows of a decision log, for tests of what becomes of them."""

from __future__ import annotations

from typing import Any

__all__ = ["row"]


def row(**changes: Any) -> dict[str, Any]:
    """Return what the line of a deny holds; *changes* replace members, or those of the certificate by `cert_…`."""
    made: dict[str, Any] = {
        "time": "2026-11-20T10:00:00.250000Z",
        "id": "id-1",
        "verdict": "deny",
        "status": 403,
        "reason": "no_rule_allows",
        "rule": "",
        "rules": ["a"],
        "identity": "staff",
        "route": "",
        "revision": "0123456789ab",
        "shadow": "",
        "revocation": "good",
        "cert": {
            "sha256": "ab" * 32,
            "subject": "CN=alice,OU=staff",
            "issuer": "CN=CA",
            "serial": "ff",
            "not_after": "2027-01-01T00:00:00Z",
            "spki_sha256": "cd" * 32,
            "sha1": "ef" * 20,
            "issuer_name": "corp",
        },
        "src": "10.0.0.1",
        "method": "GET",
        "host": "api",
        "path": "/x",
        "latency_us": 123,
        "detail": "",
        "break_glass": [],
        "candidate": None,
        "schema": 1,
        "masked": [],
    }
    made["cert"] |= {name.removeprefix("cert_"): value for name, value in changes.items() if name.startswith("cert_")}
    return made | {name: value for name, value in changes.items() if not name.startswith("cert_")}
