"""Editors: the schema that `check --schema` prints, in the language server that VS Code runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from spoa.cli.check import SCHEMAS
from tests.language_server import LanguageServer, language_server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
RULES: Final = """\
apiVersion: authz/v1
rules:
  - id: a
    effect: deny
    request: {path: "/x/**"}
    """


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LanguageServer, Path]]:
    folder = tmp_path_factory.mktemp("workspace")
    for kind, schema in SCHEMAS.items():
        (folder / f"{kind}.schema.json").write_text(json.dumps(schema()))
    with language_server(folder) as running:
        yield running, folder


def opened(server: tuple[LanguageServer, Path], name: str, text: str, kind: str = "policy") -> tuple[str, Any]:
    """Open a document that names its schema, as the first line; return its address and what is said about it."""
    running, folder = server
    uri = (folder / name).as_uri()
    return uri, running.open(uri, f"# yaml-language-server: $schema={kind}.schema.json\n{text}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("policies/api.yaml", "policy"),
        ("policies/rules.yaml", "policy"),
        ("policies/tests/edge.yaml", "tests"),
        ("policies/lists/scanners.yaml", "list"),
        ("haproxy/examples/policies/optional/policy.yaml", "policy"),
    ],
)
def test_nothing_is_underlined_in_what_is_shipped(server: tuple[LanguageServer, Path], file: str, kind: str) -> None:
    _, said = opened(server, file.replace("/", "-"), (ROOT / file).read_text(), kind)
    assert said == []


@pytest.mark.slow
def test_what_cannot_be_is_underlined(server: tuple[LanguageServer, Path]) -> None:
    _, said = opened(server, "wrong.yaml", RULES.replace("effect: deny", "effect: denied").replace("rules", "ruels"))
    assert any("ruels" in one["message"] for one in said)
    _, said = opened(server, "wrong2.yaml", RULES.replace("effect: deny", "effect: denied"))
    assert [one["range"]["start"]["line"] for one in said] == [4]


@pytest.mark.slow
def test_a_key_says_what_it_means_when_the_pointer_rests_on_it(server: tuple[LanguageServer, Path]) -> None:
    uri, _ = opened(server, "hover.yaml", RULES + "unless: {path: /y}\n    status: 405\n")
    texts = {
        key: json.dumps(server[0].at("hover", uri, line, column))
        for key, line, column in (("rules", 2, 2), ("id", 3, 5), ("unless", 6, 6), ("status", 7, 6), ("path", 5, 15))
    }
    assert "Order has no meaning." in texts["rules"]
    assert "Unique; returned to HAProxy" in texts["id"]
    assert "The exception." in texts["unless"]
    assert "HTTP status of the answer" in texts["status"]
    assert "covers /x and all below it" in texts["path"]


def completions(server: tuple[LanguageServer, Path], uri: str, line: int, column: int) -> dict[str, str]:
    found = server[0].at("completion", uri, line, column)
    return {item["label"]: json.dumps(item.get("documentation", "")) for item in found["items"]}


@pytest.mark.slow
def test_the_keys_that_can_stand_there_are_proposed_with_their_meaning(server: tuple[LanguageServer, Path]) -> None:
    uri, _ = opened(server, "complete.yaml", RULES)
    found = completions(server, uri, 6, 4)
    assert {"unless", "who", "when", "status", "reason", "overridable_by", "mode"} <= set(found)
    assert "active_during" not in found
    assert "The exception." in found["unless"]
    uri, _ = opened(server, "top.yaml", "apiVersion: authz/v1\n\n")
    assert {"issuers", "identities", "rules", "routes", "defaults"} <= set(completions(server, uri, 2, 0))


@pytest.mark.slow
def test_the_words_that_can_stand_there_are_proposed(server: tuple[LanguageServer, Path]) -> None:
    uri, _ = opened(server, "words.yaml", "rules:\n  - id: a\n    effect: \n")
    assert {"allow", "deny", "require"} <= set(completions(server, uri, 3, 12))
    uri, _ = opened(server, "words2.yaml", "defaults:\n  no_certificate: \n")
    assert {"deny", "anonymous"} <= set(completions(server, uri, 2, 18))
