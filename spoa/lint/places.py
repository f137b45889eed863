"""Where the parts of a policy stand: the readings of its documents, beside the model that was made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spoa.policy.document import Scalar, Sequence, read_document
from spoa.policy.grammar import POLICY
from spoa.policy.load import MAX_POLICY_SIZE, document_kind, resolve_path
from spoa.policy.reading import Reading, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spoa.policy.document import Node

__all__ = ["Places", "mentions_of", "places_of"]


@dataclass(frozen=True, slots=True)
class Places:
    """What the documents of a valid policy say, with places.

    Attributes:
        nodes: file → its document, of all policy documents.
        rules, routes: in the order of the model.
    """

    nodes: Mapping[str, Node]
    rules: tuple[Reading, ...]
    routes: tuple[Reading, ...]


def places_of(documents: Mapping[str, bytes]) -> Places:
    """Read the documents of a policy that is known to be valid once more, for their places."""
    nodes: dict[str, Node] = {}
    rules: list[Reading] = []
    routes: list[Reading] = []
    for name in sorted(documents, key=str.encode):
        node, _ = read_document(documents[name], name, max_size=MAX_POLICY_SIZE)
        if node is None or document_kind(node) != "policy":
            continue
        nodes[name] = node
        reading = POLICY.read(node, Report(), "")
        assert isinstance(reading, Reading)
        rules += reading.value.get("rules", ())
        routes += reading.value.get("routes", ())
    return Places(nodes, tuple(rules), tuple(routes))


def mentions_of(nodes: Mapping[str, Node], files: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """Return file → document and line of each text that names it, or a directory in which it lies."""
    wanted = {file: {file, *(file[:place] for place, char in enumerate(file) if char == "/")} for file in files}
    known: dict[str, list[tuple[str, int]]] = {}
    for scalar in (scalar for node in nodes.values() for scalar in _scalars(node)):
        known.setdefault(resolve_path(scalar.file, scalar.text), []).append((scalar.file, scalar.line))
    return {file: [place for name in sorted(names) for place in known.get(name, ())] for file, names in wanted.items()}


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _scalars(item)
    else:
        for _, value in node.pairs:
            yield from _scalars(value)
