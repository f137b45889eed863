"""Imports go downward only, and what judges knows no clock, file or socket.

The table is the architecture: a module may import modules of lower layers, those of its own sub-package, and within its
layer only what an arrow names. Imports for type checkers count like all others, but for the few marked here.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1] / "spoa"

#: Layer → its modules and packages (with a dot behind: all that is in it).
LAYERS: Mapping[int, str] = {
    0: "_version alikelines circuit exceptions cache oid",
    1: (
        "spop. facts identity issuers listindex pem signatures pki ocsp_responder addresses egress sdprotocol "
        "decision_fields logchain masking plaincertificate plainparts"
    ),
    2: (
        "policy. revocation. allowlist blocks blockedit chainaudit haproxy_config. learning listaudit "
        "listedit listimport listtext logreading openings recorded"
    ),
    3: (
        "doctor. lint. migration. unlisted assurance authorizer adapter comparison cutting recall remembered "
        "transcript questions nearest explanation coverage solver memberships calls callers circumstances verdicts "
        "difference invariants reach readings rehearsal replay"
    ),
    4: (
        "acceptor accounts admin agent agentprobe announcer answering blocker blockstore builder bundle candidate "
        "connector console. control counts credentials credentials_keeper crew crl_builder crl_fetcher decision_log "
        "departure diagnostics disposal download enquiries evidence_keeper evidence_store expiries fetch followed gate "
        "glass histogram history jobs listeners liststore loading logline logsinks. lookup metrics monitoring. "
        "ocsp_keeper ocsp_records ocsp_store peer pki_directory precedence promotion reenactment reload revisions "
        "selfprobe starvation state statefile supervisor tracing turn watcher worker"
    ),
    5: "settings optiontexts cli. explainer __main__",
}
#: The arrows inside a layer: who may import whom.
ARROWS: Mapping[str, str] = {
    "listtext": "allowlist blocks policy.",
    "listedit": "listtext",
    "listimport": "allowlist listedit listtext policy.",
    "listaudit": "listtext recorded",
    "learning": "listedit listtext policy. recorded",
    "recorded": "policy.",
    "chainaudit": "recorded",
    "decision_log": "logline logsinks. metrics",
    "logline": "logsinks.",
    "histogram": "metrics",
    "identity": "facts plaincertificate plainparts",
    "issuers": "identity pem signatures",
    "plaincertificate": "plainparts",
    "listindex": "facts",
    "signatures": "identity",
    "ocsp_responder": "identity pki",
    "blocks": "policy.",
    "blockedit": "policy. blocks",
    "openings": "policy.",
    "assurance": "unlisted",
    "authorizer": "assurance",
    "adapter": "authorizer",
    "comparison": "assurance authorizer",
    "cutting": "adapter",
    "remembered": "authorizer",
    "recall": "adapter authorizer cutting remembered",
    "transcript": "authorizer",
    "questions": "transcript",
    "nearest": "questions",
    "explanation": "assurance authorizer nearest questions transcript",
    "reach": "authorizer",
    "coverage": "authorizer explanation transcript",
    "calls": "authorizer solver",
    "circumstances": "assurance",
    "callers": "assurance authorizer calls circumstances solver memberships",
    "verdicts": "authorizer callers calls solver memberships",
    "difference": "authorizer circumstances solver memberships transcript verdicts",
    "invariants": "authorizer solver transcript verdicts",
    "readings": "authorizer",
    "replay": "authorizer readings",
    "rehearsal": "authorizer coverage invariants",
    "migration.": "authorizer",
    "acceptor": "gate",
    "agent": "acceptor answering decision_log gate metrics peer tracing turn",
    "answering": "counts decision_log disposal enquiries metrics tracing",
    "counts": "histogram metrics",
    "admin": "console. reload",
    "announcer": "selfprobe",
    "accounts": "metrics",
    "console.": "blockstore jobs reload state statefile",
    "blocker": "blockstore followed",
    "blockstore": "state statefile",
    "statefile": "state",
    "builder": "bundle history jobs",
    "history": "state",
    "monitoring.": "metrics",
    "followed": "control statefile watcher",
    "gate": "metrics",
    "glass": "followed metrics",
    "bundle": "evidence_store loading ocsp_store state",
    "candidate": "metrics promotion reload state watcher",
    "credentials_keeper": "credentials metrics",
    "crew": "control jobs metrics starvation worker",
    "crl_builder": "download evidence_store jobs state",
    "crl_fetcher": "download evidence_store fetch metrics",
    "download": "state",
    "enquiries": "metrics",
    "evidence_keeper": "control crl_fetcher evidence_store fetch jobs metrics watcher",
    "evidence_store": "assurance state",
    "expiries": "metrics",
    "fetch": "connector lookup tracing",
    "liststore": "state",
    "loading": "crl_builder evidence_store state",
    "ocsp_keeper": "enquiries fetch metrics ocsp_records ocsp_store",
    "ocsp_records": "ocsp_store",
    "peer": "answering enquiries turn",
    "turn": "answering",
    "reload": "bundle control histogram history jobs metrics state watcher",
    "supervisor": (
        "accounts admin agent announcer blocker bundle candidate console. control credentials_keeper crew "
        "departure evidence_keeper fetch followed glass history listeners logsinks. metrics ocsp_keeper ocsp_store "
        "reload state tracing watcher worker"
    ),
    "worker": (
        "acceptor agent bundle control credentials decision_log diagnostics disposal evidence_store expiries gate "
        "logsinks. metrics precedence tracing"
    ),
    "cli.": "settings",
    "settings": "optiontexts",
    "explainer": "cli.",
    "__main__": "cli.",
}
#: Upward, with the reason.
EXCUSED: Mapping[tuple[str, str], str] = {
    ("supervisor", "settings"): "a type only: the settings are an argument",
}
#: What would make a judgement depend on anything but its arguments; below the edges.
IMPURE = frozenset({"asyncio", "socket", "time", "os", "logging", "random", "pathlib"})
#: Where a library is at home.
HOMES: Mapping[str, str] = {
    "cryptography": "identity issuers signatures revocation. pki pki_directory ocsp_responder",
    "yaml": "policy.document policy.comments policy.layout",
    "pysat": "solver",
    "msgspec": "logreading",
    "aiohttp": "admin connector console. fetch",
    "yarl": "fetch",
    "watchfiles": "watcher",
    "prometheus_client": "metrics admin",
    "structlog": (
        "acceptor admin agent announcer blocker candidate console. counts credentials_keeper crew crl_fetcher "
        "decision_log departure diagnostics evidence_keeper followed gate glass ocsp_keeper precedence reload "
        "supervisor worker"
    ),
    "click": "cli. explainer",
    "opentelemetry": "tracing",
    "rich": "cli.",
    "uvloop": "worker",
}
#: Modules that are at home below the edges, and yet are edges: tools beside the agent, not part of any judgement.
TOOLS: Mapping[str, str] = {
    "ocsp_responder": "a server for demonstrations and tests",
}


def names() -> dict[str, Path]:
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items() if name != "__init__"}


def is_in(name: str, places: str) -> bool:
    return any(name == place or (place.endswith(".") and f"{name}.".startswith(place)) for place in places.split())


def layer_of(name: str) -> int | None:
    return next((layer for layer, places in LAYERS.items() if is_in(name, places)), None)


def imports_of(source: str, known: Mapping[str, object]) -> Iterator[tuple[str, bool]]:
    """Yield what a module imports: our own by its name without `spoa.`, others by their top; and whether it is ours."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, rest = alias.name.partition(".")
                yield (rest, True) if top == "spoa" and rest else (top, False)
        elif isinstance(node, ast.ImportFrom):
            top, _, rest = (node.module or "").partition(".")
            if node.level:
                yield "relative imports", True
            elif top != "spoa":
                yield top, False
            else:
                for alias in node.names:
                    below = f"{rest}.{alias.name}" if rest else alias.name
                    yield below if below in known else rest, True


def wrong_imports(name: str, source: str, known: Mapping[str, object]) -> list[str]:
    """Return what is wrong with the imports of a module, in sentences."""
    layer = layer_of(name)
    if layer is None:
        return [f"{name} has no layer"]
    found = []
    for target, is_ours in imports_of(source, known):
        if not is_ours:
            if layer < 4 and target in IMPURE and name not in TOOLS:
                found.append(f"{name} imports {target} below the edges")
            if target in HOMES and not is_in(name, HOMES[target]):
                found.append(f"{name} imports {target}, which is at home in {HOMES[target]}")
            continue
        below = layer_of(target)
        arrows = " ".join(places for place, places in ARROWS.items() if is_in(name, place))
        package = name.partition(".")[0]
        if below is None:
            found.append(f"{name} imports {target}, which has no layer")
        elif below > layer and (name, target) not in EXCUSED:
            found.append(f"{name} (layer {layer}) imports {target} (layer {below}) upward")
        elif below == layer and not is_in(target, arrows) and not is_in(target, f"{package}."):
            found.append(f"{name} imports {target} sideways")
    return found


KNOWN = names()


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_module_imports_only_what_lies_below_it(name: str) -> None:
    assert wrong_imports(name, KNOWN[name].read_text(), KNOWN) == []


def test_the_table_names_nothing_that_is_not_there() -> None:
    known = set(KNOWN) | {f"{name.partition('.')[0]}." for name in KNOWN}
    places = {place for some in (*LAYERS.values(), *ARROWS, *ARROWS.values()) for place in some.split()}
    assert places - known == set()
    for name, target in EXCUSED:
        assert (target, True) in set(imports_of(KNOWN[name].read_text(), KNOWN))
    assert set(TOOLS) <= set(KNOWN)


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("facts", "import spoa.policy.model", "upward"),
        ("facts", "from spoa.policy import model", "upward"),
        ("facts", "from spoa.policy.model import Rule", "upward"),
        ("facts", "def f():\n    from spoa.authorizer import Policy", "upward"),
        ("facts", "if TYPE_CHECKING:\n    from spoa.authorizer import Policy", "upward"),
        ("policy.path", "from spoa.revocation import status", "sideways"),
        ("policy.path", "from spoa.allowlist import Listing", "sideways"),
        ("facts", "from spoa.identity import identity_from_der", "sideways"),
        ("facts", "from spoa.spop import frames", "sideways"),
        ("policy.path", "import time", "below the edges"),
        ("policy.path", "from os import path", "below the edges"),
        ("authorizer", "import asyncio.events", "below the edges"),
        ("spop.frames", "def f():\n    import socket", "below the edges"),
        ("policy.path", "import yaml", "at home"),
        ("agent", "import click", "at home"),
        ("authorizer", "from cryptography import x509", "at home"),
        ("policy.path", "from . import model", "no layer"),
        ("utils", "", "no layer"),
        ("facts", "import spoa.utils", "no layer"),
    ],
)
def test_a_violation_is_found(name: str, source: str, says: str) -> None:
    found = wrong_imports(name, source, KNOWN)
    assert len(found) == 1
    assert says in found[0]


def test_what_is_right_is_not_complained_of() -> None:
    assert (
        wrong_imports("policy.path", "import re\nfrom spoa.policy import text\nfrom spoa.facts import ABSENT", KNOWN)
        == []
    )
    assert wrong_imports("agent", "import asyncio\nfrom spoa.peer import Peer\nimport structlog", KNOWN) == []
