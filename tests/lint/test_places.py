from __future__ import annotations

from spoa.lint.places import mentions_of, places_of

POLICY = b"""apiVersion: authz/v1
issuers:
  corp:
    ca: ca.pem
    revocation: {crl: {files: [crl/a.crl, lists]}}
rules:
  - {id: a, effect: allow, who: any_certificate}
"""
MORE = b"rules: [{id: b, effect: deny}]\nroutes: [{backend: x}]\n"


def test_rules_and_routes_are_in_the_order_of_the_model() -> None:
    places = places_of({"b.yaml": MORE, "a.yaml": POLICY, "t.yaml": b"kind: tests", "empty.yaml": b""})
    assert [(rule.value["id"], rule.node.file, rule.node.line) for rule in places.rules] == [
        ("a", "a.yaml", 7),
        ("b", "b.yaml", 1),
    ]
    assert [route.value["backend"] for route in places.routes] == ["x"]
    assert set(places.nodes) == {"a.yaml", "b.yaml"}


def test_a_file_is_mentioned_by_its_name_and_by_its_directory() -> None:
    nodes = places_of({"a.yaml": POLICY}).nodes
    assert mentions_of(nodes, ["crl/a.crl", "lists/b.txt", "ca.pem", "none"]) == {
        "crl/a.crl": [("a.yaml", 5)],
        "lists/b.txt": [("a.yaml", 5)],
        "ca.pem": [("a.yaml", 4)],
        "none": [],
    }
