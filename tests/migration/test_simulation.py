"""What HAProxy makes of a request, told without it; `tests/integration/test_migration.py` asks HAProxy itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoa.migration.clauses import refusals, switches
from spoa.migration.notes import Notes
from spoa.migration.simulation import Outcome, Sample, simulate
from tests.migration.configurations import frontend, proxies_of

FILES = {"names.txt": "# c\nalice\n"}
ALICE = Sample(
    "GET",
    "/a/b.php",
    subject={"CN": ("Alice",), "OU": ("one", "two")},
    issuer={"CN": ("Corp",)},
    sha1="AB" * 20,
    sha256="CD" * 32,
    serial="0F",
    source="10.1.2.3",
    host="api.example.com",
    headers={"x-a": "b, c"},
)


def told(sample: Sample, *lines: str) -> Outcome:
    proxies = proxies_of(frontend(*lines))
    edge = proxies.frontends[0]
    return simulate(sample, refusals(edge, proxies, Notes()), switches(edge, Notes()), FILES.get)


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        ("path /a/b.php", "deny"),
        ("path_beg /a", "deny"),
        ("path_end .php -i .PHP", "deny"),
        ("path_dir a", "deny"),
        ("path_dir b", "allow"),
        ("path_sub /b", "deny"),
        ("path_reg ^/a/.*[.]php$", "deny"),
        ("path_reg -i ^/A/", "deny"),
        ("path_reg (", ""),
        ("path,lower /a/b.php", "deny"),
        ("path,md5 x", ""),
        ("path_len gt 3", ""),
        ("method GET", "deny"),
        ("method POST", "allow"),
        ("src 10.0.0.0/8", "deny"),
        ("src ::/0", "allow"),
        ("ssl_c_s_dn(cn) -i alice", "deny"),
        ("ssl_c_s_dn(cn) alice", "allow"),
        ("ssl_c_s_dn(cn) -i -f names.txt", "deny"),
        ("ssl_c_s_dn(cn) -f gone.txt", ""),
        ("ssl_c_s_dn(ou) one", "deny"),
        ("ssl_c_s_dn(ou) two", "allow"),
        ("ssl_c_s_dn(ou,2) two", ""),
        ("ssl_c_s_dn(o) -m found", "allow"),
        ("ssl_c_s_dn x", ""),
        ("ssl_c_i_dn(cn) Corp", "deny"),
        ("ssl_c_sha1,hex " + "AB" * 20, "deny"),
        ("ssl_c_der,sha2(256),hex " + "CD" * 32, "deny"),
        ("ssl_c_der,base64 x", ""),
        ("ssl_c_serial,hex 0F", "deny"),
        ("ssl_c_used", "deny"),
        ("ssl_c_used 0", "deny"),
        ("ssl_c_used -m int 0", "allow"),
        ("ssl_c_used,lower", ""),
        ("ssl_c_used -m found", "deny"),
        ("ssl_c_verify ne 0", ""),
        ("src nowhere", ""),
        ("ssl_fc_has_crt", "deny"),
        ("ssl_fc", "deny"),
        ("ssl_c_verify 0", "deny"),
        ("ssl_c_verify gt 0", "allow"),
        ("ssl_c_verify le 0", "deny"),
        ("ssl_c_verify 1:3", "allow"),
        ("ssl_c_verify lt 0", "allow"),
        ("ssl_c_verify ge 0", "deny"),
        ("ssl_c_s_dn(x) -m int 3", "allow"),
        ("hdr(host) api.example.com", "deny"),
        ("hdr_dom(host) example", "deny"),
        ("hdr(x-a) c", "deny"),
        ("req.fhdr(x-a) c", "allow"),
        ("hdr(x-b) -m found", "allow"),
        ("rand 10", ""),
        ("TRUE", "deny"),
        ("FALSE", "allow"),
        ("nope", ""),
    ],
)
def test_a_test_holds_or_not_or_is_not_known(test: str, verdict: str) -> None:
    word = test if test in {"TRUE", "FALSE", "nope"} else f"{{ {test} }}"
    assert told(ALICE, f"http-request deny if {word}").verdict == verdict


def test_without_a_certificate_there_is_nothing_of_it() -> None:
    nobody = replace(ALICE, subject=None)
    for test in ("ssl_c_used", "ssl_fc_has_crt", "ssl_c_s_dn(cn) -m found", "ssl_c_i_dn(cn) Corp", "ssl_c_sha1,hex x"):
        assert told(nobody, f"http-request deny if {{ {test} }}").verdict == "allow"


def test_what_is_not_known_matters_only_where_it_decides() -> None:
    unknown, yes = "{ rand 10 }", "{ method GET }"
    assert told(ALICE, f"http-request deny if {unknown} or {yes}").verdict == "deny"
    assert told(ALICE, f"http-request deny if {unknown} !{yes}").verdict == "allow"
    assert told(ALICE, f"http-request deny if {unknown} {yes}").verdict == ""


def test_a_request_goes_where_the_first_switch_sends_it() -> None:
    assert told(
        ALICE, "use_backend a if { method POST }", "use_backend b if { method GET }", "default_backend c"
    ) == Outcome("allow", "b")
    assert told(ALICE, "use_backend a if { rand 10 }", "default_backend c") == Outcome("allow")
    assert told(ALICE) == Outcome("allow")
    assert told(ALICE, "use_backend a if { method POST }") == Outcome("deny")
