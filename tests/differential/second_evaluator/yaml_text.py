"""YAML whose every scalar is text, without duplicate keys."""

from typing import Any

import yaml

from tests.differential.second_evaluator.words import RefusedError


def read_yaml(data: bytes) -> Any:
    """Read one document into maps, lists and text.

    Raises:
        RefusedError: it isn't YAML, or a key stands twice ("duplicate keys … are errors").
    """
    try:
        node = yaml.compose(data.decode("utf-8-sig"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RefusedError(str(error)) from None
    return None if node is None else plain(node)


def plain(node: yaml.Node) -> Any:
    """The specification: "All scalars are read as text"."""
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    result: dict[str, Any] = {}
    for key, value in node.value:
        name = plain(key)
        if not isinstance(name, str):
            raise RefusedError(f"no key: {name}")
        if name in result:
            raise RefusedError(f"duplicate key: {name}")
        result[name] = plain(value)
    return result
