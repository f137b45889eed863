"""The exception tree: fields make the sentence."""

from __future__ import annotations

import pickle

import pytest

from spoa.exceptions import (
    CertificateError,
    ListError,
    PolicyError,
    Problem,
    ProtocolError,
    SettingsError,
    SpoaError,
    StateError,
)

FIRST = Problem("a.yaml", 2, 5, "rules[0].who", "unknown identity", "unknown-name")
SECOND = Problem("b.yaml", 0, 0, "", "the file is empty", is_warning=True)

ERRORS = [
    (ProtocolError(4, "cut off"), {"status": 4, "detail": "cut off"}, "SPOP status 4: cut off"),
    (
        CertificateError("subject", "bits"),
        {"stage": "subject", "detail": "bits"},
        "certificate not usable at subject: bits",
    ),
    (
        PolicyError((FIRST, SECOND)),
        {"problems": (FIRST, SECOND)},
        "a.yaml:2:5 rules[0].who: unknown identity\nb.yaml:0:0: the file is empty",
    ),
    (SettingsError("listen", "no port"), {"option": "listen", "detail": "no port"}, "--listen: no port"),
    (StateError("/var/x", "read-only"), {"path": "/var/x", "detail": "read-only"}, "/var/x: read-only"),
    (ListError("x.yaml", 0, "gone"), {"path": "x.yaml", "line": 0, "detail": "gone"}, "x.yaml: gone"),
    (ListError("x.yaml", 7, "odd"), {"path": "x.yaml", "line": 7, "detail": "odd"}, "x.yaml:7: odd"),
]


@pytest.mark.parametrize(("error", "fields", "sentence"), ERRORS)
def test_every_error_has_fields_and_a_sentence_and_survives_a_pickle(
    error: SpoaError, fields: dict[str, object], sentence: str
) -> None:
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(one, SpoaError)
        assert {name: getattr(one, name) for name in fields} == fields
        assert str(one) == sentence


def test_every_class_of_the_tree_is_tested() -> None:
    assert set(SpoaError.__subclasses__()) >= {type(error) for error, _, _ in ERRORS}


def test_problems_sort_by_file_line_and_column() -> None:
    places = [("b", 1, 1), ("a", 10, 1), ("a", 9, 2), ("a", 9, 1)]
    found = sorted(Problem(*place, "", "x") for place in places)
    assert [(one.file, one.line, one.column) for one in found] == sorted(places)
    assert (FIRST.code, FIRST.is_warning, SECOND.code) == ("unknown-name", False, "invalid")
