"""`python -m spoa` is `spoa-authz`."""

from __future__ import annotations

from spoa.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
