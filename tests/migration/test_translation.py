"""Tests of HAProxy's as atoms, in restricting and in granting places."""

from __future__ import annotations

import pytest

from spoa.migration.atoms import Atom
from spoa.migration.translation import translate
from tests.migration.configurations import comparison
from tests.migration.translated import around, both, who

A_HOST = Atom("host", ("a.example",))
VERBS = Atom("method", ("DELETE", "PATCH", "PUT", "POST", "LOCK"))


@pytest.mark.parametrize(
    ("text", "restricting", "granting", "codes"),
    [
        ("path_beg /x", Atom("path", ("/x/**", "/x*/**")), Atom("path", ("/x/**",)), {"unsafe-prefix"}),
        ("path /x", Atom("path", ("/x",)), Atom("path", ("/x",)), set()),
        ("path_beg x", Atom("never"), Atom("never"), {"unmatched"}),
        ("path -i /x", Atom("path", ("/x",)), Atom("path", ("/x",)), {"folded", "narrowed"}),
        ("path -i -f paths.txt", Atom("path", ("/x",)), Atom("path", ("/x",)), {"folded", "narrowed"}),
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


def test_a_prefix_that_ignores_case_missed_no_other_case() -> None:
    surroundings = around()
    translate(comparison("path_beg -i /x"), surroundings, generous=True)
    assert [("/X" in note.text) for note in surroundings.notes.all if note.code == "unsafe-prefix"] == [False]


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
        ("always_false 1 0", "ignores the pattern"),
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
