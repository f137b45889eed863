"""Tests of HAProxy's as atoms, in restricting and in granting places."""

from __future__ import annotations

from typing import Any

import pytest

from spoa.migration.notes import Notes
from spoa.migration.patterns import Every, Expression
from spoa.migration.translation import ANONYMOUS, ANY, Atom, Authority, Surroundings, translate
from tests.migration.configurations import comparison

FILES = {"list.txt": "# c\nAABB\n\n" + "AB" * 20 + "\n", "names.txt": "alice\n# bob\ncarol\n"}
FILES |= {"paths.txt": "/x\n", "empty.txt": "# nobody\n"}
AUTHORITIES = (
    Authority("corp", {"CN": "Corp CA", "O": "Corp"}),
    Authority("partners", {"CN": "Partner CA"}),
)


def around(*authorities: Authority) -> Surroundings:
    return Surroundings(Notes(), FILES.get, authorities)


def both(text: str, *authorities: Authority) -> tuple[Atom, Atom, set[str]]:
    """Translate for a restricting and a granting place; return the codes of the notes as well."""
    surroundings = around(*authorities)
    restricting = translate(comparison(text), surroundings, generous=True)
    granting = translate(comparison(text), surroundings, generous=False)
    return restricting, granting, {note.code for note in surroundings.notes.all}


def who(key: str, *values: Any) -> Atom:
    return Atom("who", tuple(((key, value),) for value in values))


WITHIN = who("cn", Expression(".*ro.*"))
A_HOST = Atom("host", ("a.example",))
VERBS = Atom("method", ("DELETE", "PATCH", "PUT", "POST", "LOCK"))
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
        ("path_beg /x", Atom("path", ("/x/**", "/x*/**")), Atom("path", ("/x/**",)), {"unsafe-prefix"}),
        ("path /x", Atom("path", ("/x",)), Atom("path", ("/x",)), set()),
        ("path_beg x", Atom("never"), Atom("never"), {"unmatched"}),
        ("path -i /x", Atom("path", ("/x",)), Atom("path", ("/x",)), {"folded", "narrowed"}),
        ("path -i -f paths.txt", Atom("path", ("/x",)), Atom("path", ("/x",)), {"folded", "narrowed"}),
        ("ssl_c_s_dn(cn) -f empty.txt", Atom("never"), Atom("never"), {"unmatched"}),
        ("method GET", Atom("method", ("GET",)), Atom("method", ("GET",)), set()),
        ("method POST", Atom("method", ("POST",)), Atom("method", ("POST",)), {"unsafe-verb-list"}),
        ("method DELETE PATCH PUT POST LOCK", Atom("method", ("write", "LOCK")), VERBS, {"unsafe-verb-list"}),
        ("src 10.0.0.1/8 ::1", Atom("source", ("10.0.0.0/8", "::1")), Atom("source", ("10.0.0.0/8", "::1")), set()),
        ("hdr(host) a.example", Atom("host", ("a.example",)), Atom("host", ("a.example",)), {"host-spelling"}),
        ("hdr(Host) -i a.example", Atom("host", ("a.example",)), Atom("host", ("a.example",)), {"host-spelling"}),
        ("hdr(host),lower a.example", A_HOST, A_HOST, {"host-spelling"}),
        ("hdr(host),field(1,:) a.example", A_HOST, A_HOST, {"host-spelling"}),
        ("hdr(host),field(1,:) -i a.example", A_HOST, A_HOST, {"host-spelling"}),
        ("hdr(host),lower,field(1,:) a.example", A_HOST, A_HOST, {"host-spelling"}),
        ("req.hdr(host),host_only a.example", A_HOST, A_HOST, {"host-spelling"}),
        ("ssl_fc_sni,lower a.example", Atom("sni", ("a.example",)), Atom("sni", ("a.example",)), set()),
        ("req.fhdr(X-A) b", Atom("header:x-a", ("b",)), Atom("header:x-a", ("b",)), {"unsafe-header"}),
        ("ssl_fc_sni a.example", Atom("sni", ("a.example",)), Atom("sni", ("a.example",)), set()),
        ("ssl_fc_protocol TLSv1.3", Atom("tls", ("TLSv1.3",)), Atom("tls", ("TLSv1.3",)), set()),
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
        ("always_true", Atom("always"), Atom("always"), set()),
        ("always_false", Atom("never"), Atom("never"), set()),
    ],
)
def test_a_sample_has_its_atom(text: str, restricting: Atom, granting: Atom, codes: set[str]) -> None:
    assert both(text) == (restricting, granting, codes)


def test_a_url_restricts_as_its_path() -> None:
    surroundings = around()
    assert translate(comparison("url_beg /x"), surroundings, generous=True) == Atom("path", ("/x/**", "/x*/**"))
    assert "unsafe-url" in {note.code for note in surroundings.notes.all}


def test_tls_is_whatever_version_there_is() -> None:
    assert translate(comparison("ssl_fc"), around(), generous=False).values[-1] == "TLSv1.3"


def test_a_folding_converter_restricts_and_does_not_grant() -> None:
    assert translate(comparison("ssl_c_s_dn(cn),lower alice"), around(), generous=True) == who("cn", "alice")
    with pytest.raises(ValueError, match="converter"):
        translate(comparison("ssl_c_s_dn(cn),lower alice"), around(), generous=False)


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


def test_a_prefix_that_ignores_case_missed_no_other_case() -> None:
    surroundings = around()
    translate(comparison("path_beg -i /x"), surroundings, generous=True)
    assert [("/X" in note.text) for note in surroundings.notes.all if note.code == "unsafe-prefix"] == [False]


def test_a_name_that_several_cas_can_issue_is_noted() -> None:
    assert both("ssl_c_s_dn(cn) alice", *AUTHORITIES)[2] == {"unsafe-issuer"}


def test_in_a_route_a_prefix_is_exact_and_case_counts() -> None:
    surroundings = around()
    assert translate(comparison("path_beg /x"), surroundings, generous=False, is_route=True) == Atom(
        "path", ("/x/**", "/x*/**")
    )
    assert translate(comparison("path_beg /x/"), surroundings, generous=False, is_route=True) == Atom(
        "path", ("/x/", "/x/*/**")
    )
    assert len(surroundings.notes.all) == 1
    with pytest.raises(ValueError, match="ignores case"):
        translate(comparison("path_beg -i /x"), surroundings, generous=False, is_route=True)


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


# -- what is not translated -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rand 10", "the sample rand"),
        ("hdr_ip(x-forwarded-for) 10.0.0.1", "no source"),
        ("path_len gt 5", "`-m len`"),
        ("path,md5 x", "converter md5"),
        ("path -f gone.txt", "can't be read"),
        ("url_reg /x", "with its query"),
        ("method -m reg G", "of a method"),
        ("method G(T", "is none"),
        ("hdr() x", "without a name"),
        ("hdr(x:y) z", "no header has: x:y"),
        ("hdr(ho\x7fst) z", "no header has"),
        ("src example.com", "example.com"),
        ("ssl_fc_protocol SSL", "is none"),
        ("ssl_fc 0", "ignores the pattern"),
        ("ssl_c_used,not", "converter not"),
        ("ssl_c_verify -m found", "of a number"),
        ("always_false 1 0", "ignores the pattern"),
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


def test_some_things_restrict_but_do_not_grant() -> None:
    for text in ("url /x", "ssl_c_s_dn(ou,2) x", "ssl_c_s_dn(cn) -i -m reg a"):
        assert translate(comparison(text), around(), generous=True).values
        with pytest.raises(ValueError, match=r"."):
            translate(comparison(text), around(), generous=False)


def test_a_part_of_a_whole_name_grants_as_the_attribute_it_names() -> None:
    atom = translate(comparison("ssl_c_s_dn -m sub CN=alice"), around(), generous=False)
    assert atom == who("cn", Every(("alice",)))


def test_an_issuer_is_not_matched_in_every_way() -> None:
    with pytest.raises(ValueError, match="issuer's name"):
        translate(comparison("ssl_c_i_dn(cn) -m reg x"), around(*AUTHORITIES), generous=True)
