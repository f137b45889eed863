"""Samples of certificates as atoms, in restricting and in granting places."""

from __future__ import annotations

import pytest

from spoa.migration.atoms import ANONYMOUS, ANY, Atom
from spoa.migration.patterns import Every, Expression
from spoa.migration.translation import translate
from tests.migration.configurations import comparison
from tests.migration.translated import AUTHORITIES, around, both, who

WITHIN = who("cn", Expression(".*ro.*"))
NAME = Atom("who", ((("o", "Acme"), ("cn", "alice")),))
WHOLE_NAME = Atom("who", ((("o", Every(("Acme",))), ("cn", Every(("alice",)))),))


@pytest.mark.parametrize(
    ("text", "restricting", "granting", "codes"),
    [
        ("ssl_c_s_dn(cn) alice bob", who("cn", "alice", "bob"), who("cn", "alice", "bob"), set()),
        ("ssl_c_s_dn(CN) -f names.txt", who("cn", "alice", "carol"), who("cn", "alice", "carol"), set()),
        ("ssl_c_s_dn(cn) -i alice", who("cn", "alice"), who("cn", "alice"), {"narrowed"}),
        ("ssl_c_s_dn(ou) ops", who("ou", "ops"), who("ou", Every(("ops",))), {"unsafe-first-ou"}),
        ("ssl_c_s_dn(c) FR", who("subject.C", "FR"), who("subject.C", Every(("FR",))), {"unsafe-first-ou"}),
        ("ssl_c_s_dn(cn) -m found", who("cn", "*"), who("cn", "*"), set()),
        ("ssl_c_s_dn(cn) -m sub ro", WITHIN, WITHIN, {"unsafe-substring"}),
        ("ssl_c_s_dn(cn) -f empty.txt", Atom("never"), Atom("never"), {"unmatched"}),
        ("ssl_c_used", Atom("who", (ANY,)), Atom("who", (ANY,)), set()),
        ("ssl_c_used -m int 0", Atom("who", (ANONYMOUS,)), Atom("who", (ANONYMOUS,)), set()),
        ("ssl_c_used 1", Atom("who", (ANY,)), Atom("who", (ANY,)), set()),
        ("ssl_fc_has_crt", Atom("who", (ANY,)), Atom("who", (ANY,)), {"unsafe-certificate-test"}),
        ("ssl_c_verify 0", Atom("always"), Atom("who", (ANY,)), {"unsafe-certificate-test"}),
        ("ssl_c_verify 10 18", Atom("never"), Atom("never"), {"unmatched"}),
        ("ssl_c_verify ge 0", Atom("always"), Atom("who", (ANY,)), {"unsafe-certificate-test"}),
        ("ssl_c_verify gt 0", Atom("never"), Atom("never"), {"unmatched"}),
        ("ssl_c_verify lt 1", Atom("always"), Atom("who", (ANY,)), {"unsafe-certificate-test"}),
        ("ssl_c_verify le -1", Atom("never"), Atom("never"), {"unmatched"}),
        ("ssl_c_verify 1:9 0:3", Atom("always"), Atom("who", (ANY,)), {"unsafe-certificate-test"}),
        ("ssl_c_serial,hex 0A xyz", who("serial", "0A"), who("serial", "0A"), set()),
        ("ssl_c_s_dn -m str /O=Acme/CN=alice", NAME, WHOLE_NAME, {"unsafe-substring"}),
    ],
)
def test_a_sample_of_a_certificate_has_its_atom(text: str, restricting: Atom, granting: Atom, codes: set[str]) -> None:
    assert both(text) == (restricting, granting, codes)


def test_an_issuer_is_chosen_by_the_names_of_the_cas() -> None:
    chosen = Atom("who", ((("issuer", ("partners",)),),))
    assert both("ssl_c_i_dn(cn) -m beg Partner", *AUTHORITIES)[:2] == (chosen, chosen)
    assert both("ssl_c_i_dn(cn) -i -m end ca", *AUTHORITIES)[0] == Atom("who", (ANY,))
    assert both("ssl_c_i_dn(o) Other", *AUTHORITIES)[0] == Atom("never")
    assert both("ssl_c_i_dn(cn) -m sub Corp", *AUTHORITIES)[1] == Atom("who", ((("issuer", ("corp",)),),))


@pytest.mark.parametrize(
    ("text", "missing"),
    [("ssl_c_i_dn(cn) Other", "'Other' as its CN"), ("ssl_c_i_dn(o) Corp Typo", "'Typo' as its O")],
)
def test_an_issuer_that_no_ca_has_is_said_with_what_comes_of_it(text: str, missing: str) -> None:
    for place, outcome in (
        ({"generous": True}, "denies nothing for it"),
        ({"generous": False}, "excepts nobody for it"),
        ({"generous": False, "is_route": True}, "has no route for it"),
    ):
        surroundings = around(*AUTHORITIES)
        atom = translate(comparison(text), surroundings, **place)
        (note,) = surroundings.notes.all
        assert (note.code, note.line, note.is_warning) == ("unmatched", 5, True)
        assert f"no CA certificate of the bind line has {missing}" in note.text
        assert (outcome in note.text) is (atom == Atom("never"))


def test_where_it_restricts_a_verification_that_failed_is_the_gate_s() -> None:
    surroundings = around()
    assert translate(comparison("ssl_c_verify gt 0"), surroundings, generous=True) == Atom("never")
    assert surroundings.notes.all == ()


def test_a_name_that_several_cas_can_issue_is_noted() -> None:
    assert both("ssl_c_s_dn(cn) alice", *AUTHORITIES)[2] == {"unsafe-issuer"}


# -- lists of fingerprints --------------------------------------------------------------------------------------


def test_a_file_of_fingerprints_becomes_a_list() -> None:
    surroundings = around()
    listed = Atom("who", ((("in_list", "list"),),))
    for generous in (False, True):
        assert translate(comparison("ssl_c_sha1,hex -f list.txt"), surroundings, generous=generous) == listed
    (found,) = surroundings.lists.values()
    assert (found.digits, found.files, found.lines, found.unmatched) == (40, ("list.txt",), ("AB" * 20,), ("AABB",))
    assert {note.code for note in surroundings.notes.all} == {"unsafe-fingerprint", "untranslated"}


@pytest.mark.parametrize(
    ("text", "digits", "granted", "denied"),
    [
        ("ssl_c_sha1,hex " + "ab" * 20, 40, (), ("ab" * 20,)),
        ("ssl_c_sha1,hex -i " + "ab" * 20, 40, ("ab" * 20,), ("ab" * 20,)),
        ("ssl_c_sha1 -m bin " + "ab" * 20, 40, ("ab" * 20,), ("ab" * 20,)),
        ("ssl_c_der,sha2(256),hex " + "AB" * 32, 64, ("AB" * 32,), ("AB" * 32,)),
    ],
)
def test_lines_that_haproxy_never_matched_grant_nothing_and_restrict(
    text: str, digits: int, granted: tuple[str, ...], denied: tuple[str, ...]
) -> None:
    surroundings = around()
    names = [translate(comparison(text), surroundings, generous=one).values[0][0][1] for one in (False, True)]
    first, second = (surroundings.lists[name] for name in names)
    assert (first.digits, first.lines, second.lines) == (digits, granted, denied)
    assert (names[0] == names[1]) is (granted == denied)


def test_other_lists_of_the_same_name_have_another() -> None:
    surroundings = around()
    first = translate(comparison("ssl_c_sha1,hex " + "AB" * 20), surroundings, generous=False)
    same = translate(comparison("ssl_c_sha1,hex " + "AB" * 20), surroundings, generous=False)
    other = translate(comparison("ssl_c_sha1,hex " + "CD" * 20), surroundings, generous=False)
    assert first == same
    assert sorted(surroundings.lists) == ["line-5", "line-5-2"]
    assert other != first


def test_a_file_that_cannot_be_read_is_an_empty_list() -> None:
    surroundings = around()
    atom = translate(comparison("ssl_c_sha1,hex -f gone.txt"), surroundings, generous=False)
    assert atom == Atom("who", ((("in_list", "gone"),),))
    assert surroundings.lists["gone"].lines == ()
    assert "placeholder" in {note.code for note in surroundings.notes.all}


def test_a_part_of_a_whole_name_grants_as_the_attribute_it_names() -> None:
    atom = translate(comparison("ssl_c_s_dn -m sub CN=alice"), around(), generous=False)
    assert atom == who("cn", Every(("alice",)))


def test_an_issuer_is_not_matched_in_every_way() -> None:
    with pytest.raises(ValueError, match="issuer's name"):
        translate(comparison("ssl_c_i_dn(cn) -m reg x"), around(*AUTHORITIES), generous=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ssl_c_used,not", "converter not"),
        ("ssl_c_verify -m found", "of a number"),
        ("ssl_c_s_dn(xyz) a", "attribute xyz"),
        ("ssl_c_s_dn(cn) -m len 4", "`-m len`"),
        ("ssl_c_s_dn -m sub CN=a", "whole name"),
        ("ssl_c_s_dn -m reg CN=a", "whole name"),
        ("ssl_c_s_dn -m str /CN=a/CN=b", "several values"),
        ("ssl_c_i_dn(cn) x", "not known"),
        ("ssl_c_der,base64 x", "made of the certificate"),
        ("ssl_c_serial 7", "made of the serial number"),
    ],
)
def test_what_has_no_translation_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        translate(comparison(text), around(), generous=True)
