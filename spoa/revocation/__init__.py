"""Whether a certificate is revoked, by CRLs and OCSP responses (RFC 5280 section 6.3, RFC 6960).

`check` judges one certificate by given evidence; it is the very code that the agent runs. Nothing here fetches,
reads files or looks at a clock.
"""

from __future__ import annotations

from spoa.revocation.check import check
from spoa.revocation.status import Depth, IdpMatching, NonceMode, Reason, Result, Rules, Status

__all__ = ["Depth", "IdpMatching", "NonceMode", "Reason", "Result", "Rules", "Status", "check"]
