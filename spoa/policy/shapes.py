"""Shapes of lists and mappings: a small language in which the form of a document is declared.

From one declaration come the reading of nodes, with every problem at its place, and the JSON Schema that editors use::

    RULE = Record(
        {
            "id": Field(Text(), required=True, doc="Unique name of the rule."),
            "who": Field(OneOrMany(Text())),
            "request": Field(Record({"path": Field(OneOrMany(Parsed(path_pattern)))}, at_least_one=("path",))),
        }
    )
    report = Report()
    reading = ListOf(RULE).read(node, report, "rules")

A list reads as a tuple, a mapping as a `Reading`, a scalar as its shape says (`scalars`). Items and keys that can't be
read are left out of what holds them, and their problems stand in the report: whoever goes on to judge the meaning of an
incomplete reading only finds more problems, never a policy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spoa.policy.document import Mapping, Scalar, Sequence
from spoa.policy.reading import INVALID, Invalid, Reading, Report, Schema, Shape, child_path, quoted, suggestion

if TYPE_CHECKING:
    from collections import abc

    from spoa.policy.document import Node

__all__ = ["UNSET", "AnyOf", "ByValue", "Field", "ListOf", "MapOf", "Named", "OneOrMany", "Record", "document_schema"]


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()
"""The default of a field that simply isn't there when it was not given."""


@dataclass(frozen=True, slots=True)
class ListOf(Shape):
    """A list of `min` to `max` items of one shape; reads as a tuple."""

    item: Shape
    min: int = 1
    max: int = 1_000_000

    @property
    def expected(self) -> str:
        """What would be right."""
        return "a list"

    def read(self, node: Node, report: Report, path: str) -> tuple[Any, ...] | Invalid:
        """Return the items that could be read; or report and return `INVALID`."""
        if not isinstance(node, Sequence):
            return self.mismatch(node, report, path)
        if len(node.items) < self.min:
            _report_too_few(node, len(node.items), self.min, report, path)
            return INVALID
        if len(node.items) > self.max:
            report.problem(
                node, path, f"the list has {len(node.items)} items; at most {self.max} are allowed", "too-many"
            )
            return INVALID
        values = (self.item.read(item, report, child_path(path, index)) for index, item in enumerate(node.items))
        return tuple(value for value in values if value is not INVALID)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape."""
        return {"type": "array", "items": self.item.schema(definitions), "minItems": self.min, "maxItems": self.max}


@dataclass(frozen=True, slots=True)
class OneOrMany(Shape):
    """One item, or a list of at least one; reads as a tuple either way."""

    item: Shape

    @property
    def expected(self) -> str:
        """What would be right."""
        return f"{self.item.expected}, or a list of such"

    def read(self, node: Node, report: Report, path: str) -> tuple[Any, ...] | Invalid:
        """Return the items that could be read; or report and return `INVALID`."""
        if isinstance(node, Sequence):
            return ListOf(self.item).read(node, report, path)
        value = self.item.read(node, report, path)
        return INVALID if value is INVALID else (value,)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape."""
        return {"anyOf": [self.item.schema(definitions), ListOf(self.item).schema(definitions)]}


@dataclass(frozen=True, slots=True)
class MapOf(Shape):
    """A mapping whose keys are the writer's own; reads as a `Reading` under the parsed keys.

    `key` is a scalar shape whose values are texts. Two keys that parse to the same text are a problem.
    """

    key: Shape
    item: Shape
    min: int = 1

    @property
    def expected(self) -> str:
        """What would be right."""
        return "a mapping"

    def read(self, node: Node, report: Report, path: str) -> Reading | Invalid:
        """Return the entries that could be read; or report and return `INVALID`."""
        if not isinstance(node, Mapping):
            return self.mismatch(node, report, path)
        errors = report.errors
        if len(node.pairs) < self.min:
            _report_too_few(node, len(node.pairs), self.min, report, path)
        reading = Reading(node, path, {}, {}, {}, is_complete=False)
        for key, item in node.pairs:
            name = self.key.read(key, report, child_path(path, key.text))
            if name in reading.keys:
                first = reading.keys[name]
                message = f"{quoted(key.text)} is the same as {quoted(first.text)} on line {first.line}"
                report.problem(key, child_path(path, key.text), message, "duplicate-key")
            elif name is not INVALID:
                _read_into(reading, name, key, item, self.item, report)
        return _finished(reading, report.errors == errors)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape; a key is a string to any editor."""
        names = {rule: value for rule, value in self.key.schema(definitions).items() if rule != "type"}
        items = self.item.schema(definitions)
        return {"type": "object", "propertyNames": names, "additionalProperties": items, "minProperties": self.min}


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record: its shape, whether it must be there, what it means, and what holds without it."""

    shape: Shape
    required: bool = False
    doc: str = ""
    default: Any = UNSET


@dataclass(frozen=True, slots=True)
class Record(Shape):
    """A mapping with known keys; reads as a `Reading`.

    Of `at_least_one` some key must be there, of `exactly_one` one and only one. `noun` names the record in problems.
    """

    fields: abc.Mapping[str, Field] = field(hash=False)
    at_least_one: tuple[str, ...] = ()
    exactly_one: tuple[str, ...] = ()
    noun: str = ""

    @property
    def expected(self) -> str:
        """What would be right."""
        return f"a mapping with keys such as {_listed(list(self.fields)[:3], 'and')}"

    def read(self, node: Node, report: Report, path: str) -> Reading | Invalid:
        """Return the keys that could be read; or report and return `INVALID` when there are no keys at all."""
        if not isinstance(node, Mapping):
            return self.mismatch(node, report, path)
        errors = report.errors
        reading = Reading(node, path, {}, {}, {}, is_complete=False)
        for key, item in node.pairs:
            described = self.fields.get(key.text)
            if described is None:
                self._report_unknown(key, report, path)
            else:
                _read_into(reading, key.text, key, item, described.shape, report)
        for name, described in self.fields.items():
            if name not in reading.keys and described.default is not UNSET:
                reading.value[name] = described.default
        self._report_missing(reading, report)
        return _finished(reading, report.errors == errors)

    def _report_unknown(self, key: Scalar, report: Report, path: str) -> None:
        noun = f" in {self.noun}" if self.noun else ""
        message = f"unknown key {quoted(key.text)}{noun}{suggestion(key.text, self.fields)}"
        report.problem(key, child_path(path, key.text), message, "unknown-key")

    def _report_missing(self, reading: Reading, report: Report) -> None:
        noun = f" in {self.noun}" if self.noun else ""
        for name, described in self.fields.items():
            if described.required and name not in reading.keys:
                report.problem(reading.node, reading.path, f"missing key {quoted(name)}{noun}", "missing-key")
        for names in filter(None, (self.at_least_one, self.exactly_one)):
            if not any(name in reading.keys for name in names):
                what = "at least one of the keys" if names is self.at_least_one else "one of the keys"
                message = f"nothing is said{noun}; give {what} {_listed(names, 'or')}"
                report.problem(reading.node, reading.path, message, "missing-key")
        given = [name for name in reading.keys if name in self.exactly_one]
        for name in given[1:]:
            message = f"{quoted(name)} can't stand beside {quoted(given[0])}; keep one of them"
            report.problem(reading.keys[name], reading.path_of(name), message, "conflicting-keys")

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape; each field's doc becomes its description."""
        described: Schema = {
            "type": "object",
            "properties": {name: _field_schema(entry, definitions) for name, entry in self.fields.items()},
            "additionalProperties": False,
        }
        required = [name for name, entry in self.fields.items() if entry.required]
        if required:
            described["required"] = required
        for rule, names in (("anyOf", self.at_least_one), ("oneOf", self.exactly_one)):
            if names:
                described[rule] = [{"required": [name]} for name in names]
        return described


@dataclass(frozen=True, slots=True)
class ByValue(Shape):
    """A mapping whose shape depends on the word behind one of its keys, such as a rule on its `effect`.

    Each shape is a `Record` that knows the key.
    """

    key: str
    records: abc.Mapping[str, Record] = field(hash=False)

    @property
    def expected(self) -> str:
        """What would be right."""
        return f"a mapping with the key {quoted(self.key)}"

    def read(self, node: Node, report: Report, path: str) -> Reading | Invalid:
        """Return what the record in question reads; or report and return `INVALID`."""
        if not isinstance(node, Mapping):
            return self.mismatch(node, report, path)
        words = _listed(self.records, "or")
        value = node.get(self.key)
        if isinstance(value, Scalar) and value.text in self.records:
            return self.records[value.text].read(node, report, path)
        if value is None:
            self._report_missing(node, report, path, words)
        else:
            found = quoted(value.text) if isinstance(value, Scalar) and not value.is_null else value.kind
            hint = suggestion(value.text, self.records) if isinstance(value, Scalar) and value.text else ""
            message = f"expected {words}, found {found}" + (hint if "did you mean" in hint else "")
            report.problem(value, child_path(path, self.key), message, "invalid-value")
        # Which record is meant can't be told, but what its keys hold can be read, and must not hide its own problems.
        shapes = {name: entry.shape for record in self.records.values() for name, entry in record.fields.items()}
        for key, item in node.pairs:
            if key.text in shapes and key.text != self.key:
                shapes[key.text].read(item, report, child_path(path, key.text))
        return INVALID

    def _report_missing(self, node: Mapping, report: Report, path: str, words: str) -> None:
        known = {name for record in self.records.values() for name in record.fields}
        slip = next((name for name, _ in node.pairs if name.text not in known), None)
        hint = "" if slip is None else suggestion(slip.text, [self.key])
        if slip is not None and "did you mean" in hint:
            message = f"unknown key {quoted(slip.text)}{hint}"
            report.problem(slip, child_path(path, slip.text), message, "unknown-key")
        else:
            report.problem(node, path, f"missing key {quoted(self.key)}: {words}", "missing-key")

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape as one `if` and `then` a word, which editors explain better than `oneOf`."""
        cases = [
            {
                "if": {"properties": {self.key: {"const": word}}, "required": [self.key]},
                "then": record.schema(definitions),
            }
            for word, record in self.records.items()
        ]
        return {
            "type": "object",
            "required": [self.key],
            "properties": {self.key: {"enum": list(self.records)}},
            "allOf": cases,
        }


@dataclass(frozen=True, slots=True)
class AnyOf(Shape):
    """One shape for each kind of node; for mappings, `keyed` picks one by a key that tells it from the others.

    A mapping without any of those keys goes to `mapping`.
    """

    scalar: Shape | None = None
    sequence: Shape | None = None
    mapping: Shape | None = None
    keyed: abc.Mapping[str, Shape] = field(default_factory=dict, hash=False)

    @property
    def expected(self) -> str:
        """What would be right."""
        ways = [shape.expected for shape in (self.scalar, self.sequence, self.mapping) if shape is not None]
        if self.keyed:
            ways.append(f"a mapping with {_listed(self.keyed, 'or')}")
        return " or ".join(ways)

    def read(self, node: Node, report: Report, path: str) -> Any:
        """Return what the shape for this kind of node reads; or report and return `INVALID`."""
        shape = self._shape_for(node)
        if shape is None:
            if isinstance(node, Mapping) and node.pairs and self.keyed:
                key = node.pairs[0][0]
                message = f"unknown key {quoted(key.text)}{suggestion(key.text, self.keyed)}"
                report.problem(key, child_path(path, key.text), message, "unknown-key")
                return INVALID
            return self.mismatch(node, report, path)
        return shape.read(node, report, path)

    def _shape_for(self, node: Node) -> Shape | None:
        if isinstance(node, Scalar):
            return None if node.is_null else self.scalar
        if isinstance(node, Sequence):
            return self.sequence
        names = {key.text for key, _ in node.pairs}
        return next((shape for key, shape in self.keyed.items() if key in names), self.mapping)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape."""
        shapes = (self.scalar, self.sequence, *self.keyed.values(), self.mapping)
        return {"anyOf": [shape.schema(definitions) for shape in shapes if shape is not None]}


@dataclass(frozen=True, slots=True)
class Named(Shape):
    """A shape that the JSON Schema describes once, under a name, however often it is used."""

    name: str
    shape: Shape

    @property
    def expected(self) -> str:
        """What would be right."""
        return self.shape.expected

    def read(self, node: Node, report: Report, path: str) -> Any:
        """Return what the shape reads."""
        return self.shape.read(node, report, path)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Refer to the description, which goes into `definitions`."""
        if self.name not in definitions:
            definitions[self.name] = {}
            definitions[self.name] = self.shape.schema(definitions)
        return {"$ref": f"#/$defs/{self.name}"}


def document_schema(shape: Shape, title: str) -> Schema:
    """Describe a document whose top level has this shape, as a complete JSON Schema (draft 2020-12)."""
    definitions: dict[str, Schema] = {}
    described = shape.schema(definitions)
    head: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return {**head, **described, **({"$defs": definitions} if definitions else {})}


def _report_too_few(node: Node, count: int, least: int, report: Report, path: str) -> None:
    noun = node.kind.removeprefix("a ")
    found = f"has only {count}" if count else "is empty"
    report.problem(node, path, f"the {noun} {found}; at least {least} must be given", "too-few")


def _read_into(reading: Reading, name: str, key: Scalar, item: Node, shape: Shape, report: Report) -> None:
    reading.keys[name] = key
    reading.marks[name] = item
    value = shape.read(item, report, child_path(reading.path, name))
    if value is not INVALID:
        reading.value[name] = value


def _finished(reading: Reading, is_complete: bool) -> Reading:
    return Reading(reading.node, reading.path, reading.value, reading.keys, reading.marks, is_complete)


def _field_schema(described: Field, definitions: dict[str, Schema]) -> Schema:
    documented = {"description": described.doc} if described.doc else {}
    return {**documented, **described.shape.schema(definitions)}


def _listed(words: abc.Iterable[str], conjunction: str) -> str:
    *head, last = [quoted(word) for word in words]
    return f"{', '.join(head)} {conjunction} {last}" if head else last
