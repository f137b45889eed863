"""An agent on the library spoe-forge that answers "allow"; run with the port as its argument (see peers.py)."""

from __future__ import annotations

import sys
from typing import Any

from spoe_forge import ActionScope, SetVarAction, SpoeForge

agent = SpoeForge(name="bench", debug=False)


@agent.message("authorize")  # type: ignore[untyped-decorator]  # the library isn't installed here
async def allow(_context: Any) -> list[Any]:
    return [SetVarAction(scope=ActionScope.TRANSACTION, name="verdict", value="allow")]


if __name__ == "__main__":
    agent.run(host="127.0.0.1", port=int(sys.argv[1]))
