"""HAProxy's side of the conversation: the configuration that asks the agent, made to measure.

`haproxy.cfg` and `spoe-authz.conf` beside this file are those that the project ships and tests; `render` cuts them to
one version of HAProxy and one policy.
"""

from __future__ import annotations

from spoa.haproxy_config.arguments import ALWAYS_SENT, SAMPLES, message_arguments
from spoa.haproxy_config.rendering import SHIPPED, VERSIONS, render

__all__ = ["ALWAYS_SENT", "SAMPLES", "SHIPPED", "VERSIONS", "message_arguments", "render"]
