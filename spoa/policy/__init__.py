"""The policy language: documents, matching, rules and what they decide; pure, and unaware of SPOP."""
