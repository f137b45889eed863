"""Variables: nothing but its engine may set the agent's, and what others are set from is followed from one to the next.

The agent's may not be set before it either, for it may stay silent.

Whole lines are searched, not only rules: the converter `set-var` sets a variable in any sample, of whatever directive.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from spoa.doctor.findings import Finding, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spoa.haproxy_config.proxies import Proxy

__all__ = ["Variables", "read_names", "variable_findings"]

_CHANGE: Final = re.compile(r"\b(?P<way>set-var|set-var-fmt|unset-var)\(\s*txn\.(?P<prefix>[\w.]+)\.(?P<name>\w+)")
#: What decides nothing but how a refusal looks, and refusals themselves; the shipped configuration sets such.
_HARMLESS: Final = re.compile(
    r"(?:http-request|http-response|http-after-response|tcp-request content) "
    r"(?P<change>set-var\(txn\.[\w.]+\.(?:verdict(?:,\w+)*\) str\(deny\)|reason(?:,\w+)*\) str\([^(),]*\)"
    r"|status(?:,\w+)*\) int\(\d+\))"
    r"|set-var-fmt\(txn\.[\w.]+\.(?:verdict(?:,\w+)*\) deny|(?:reason|status)(?:,\w+)*\) [\w-]+))"
    r"(?= (?:if|unless) |$)"
)

_SETTING: Final = re.compile(r"set-var(?P<format>-fmt)?\(\s*(?P<name>(?:proc|sess|txn|req|res)\.[\w.]+)[^()]*\)")
_READING: Final = re.compile(r"(?<![\w-])(?:var\(|concat\([^,()]*,)\s*((?:proc|sess|txn|req|res)\.[\w.]+)")


def read_names(text: str) -> frozenset[str]:
    """Return the names of the variables, with their scope, that samples in a text read."""
    return frozenset(_READING.findall(text))


class Variables:
    """What variables are set from in some proxies and the defaults whose rules these run, whatever the condition.

    Attributes:
        names: those that are set at all; others are the agent's, or a script's.
    """

    def __init__(self, *proxies: Proxy) -> None:
        lines = (line for proxy in proxies for one in (*proxy.parents[:1], proxy) for line in one.section.lines)
        self._settings = [setting for line in lines for setting in _settings(line.texts)]
        self.names = frozenset(name for name, _ in self._settings)

    def holding(self, is_held: Callable[[str], bool]) -> frozenset[str]:
        """Return the names of those that get, over however many others, what is held by a format such as `%[src]`."""
        found = {name for name, text in self._settings if is_held(text)}
        count = -1
        while count < len(found):
            count = len(found)
            found |= {name for name, text in self._settings if read_names(text) & found}
        return frozenset(found)


def _settings(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each variable that a line sets, with a format of what it is set to."""
    for place, word in enumerate(words):
        for setting in _SETTING.finditer(word):
            if setting.start():  # a converter: of the sample that stands before it
                text = f"%[{word[: setting.start()].rpartition('%[')[2]}]"
            else:
                rest = list(takewhile(lambda one: one not in {"if", "unless"}, words[place + 1 :]))
                text = " ".join(rest) if setting["format"] else f"%[{' '.join(rest)}]"
            yield setting["name"], text


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
