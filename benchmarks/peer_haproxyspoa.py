"""An agent on the library haproxyspoa that answers "allow"; run with the port as its argument (see peers.py)."""

from __future__ import annotations

import sys
from typing import Any

from haproxyspoa.payloads.ack import AckPayload
from haproxyspoa.spoa_server import SpoaServer

agent = SpoaServer()


@agent.handler("authorize")  # type: ignore[untyped-decorator]  # the library isn't installed here
async def allow(**_arguments: Any) -> Any:
    return AckPayload().set_txn_var("verdict", "allow")


if __name__ == "__main__":
    agent.run(host="127.0.0.1", port=int(sys.argv[1]))
