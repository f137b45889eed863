"""The agent's answer is variables, and nothing but its engine may set them: not even before it, for it may stay silent.

Whole lines are searched, not only rules: the converter `set-var` sets a variable in any sample, of whatever directive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from spoa.doctor.findings import Finding, found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spoa.haproxy_config.proxies import Proxy

__all__ = ["variable_findings"]

_CHANGE: Final = re.compile(r"\b(?P<way>set-var|set-var-fmt|unset-var)\(\s*txn\.(?P<prefix>[\w.]+)\.(?P<name>\w+)")
#: What decides nothing but how a refusal looks, and refusals themselves; the shipped configuration sets such.
_HARMLESS: Final = re.compile(
    r"(?:http-request|http-response|http-after-response|tcp-request content) "
    r"(?P<change>set-var\(txn\.[\w.]+\.(?:verdict(?:,\w+)*\) str\(deny\)|reason(?:,\w+)*\) str\([^(),]*\)"
    r"|status(?:,\w+)*\) int\(\d+\))"
    r"|set-var-fmt\(txn\.[\w.]+\.(?:verdict(?:,\w+)*\) deny|(?:reason|status)(?:,\w+)*\) [\w-]+))"
    r"(?= (?:if|unless) |$)"
)


def variable_findings(proxy: Proxy, prefixes: Iterable[str]) -> Iterator[Finding]:
    """Yield lines of a proxy, or of the defaults whose rules it runs, that change a variable of the agent's."""
    known = frozenset(prefixes)
    for line in (line for one in (*proxy.parents[:1], proxy) for line in one.section.lines):
        text = " ".join(line.texts)
        harmless = _HARMLESS.match(text)
        for change in _CHANGE.finditer(text):
            if change["prefix"] not in known or (harmless and harmless.start("change") == change.start()):
                continue
            is_verdict = change["name"] == "verdict" and change["way"] != "unset-var"
            code = "verdict-overwritten" if is_verdict else "variable-overwritten"
            yield found(code, line, f"{proxy.name}: {line}")
