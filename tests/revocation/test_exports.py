from __future__ import annotations

import spoa.revocation


def test_the_public_names_are_these() -> None:
    expected = ["Depth", "IdpMatching", "NonceMode", "Reason", "Result", "Rules", "Status", "check"]
    assert expected == sorted(spoa.revocation.__all__)
    assert all(hasattr(spoa.revocation, name) for name in expected)
