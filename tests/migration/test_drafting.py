"""Drafts as a whole, and the promise that they keep: what HAProxy refused no draft allows."""

from __future__ import annotations

from itertools import islice
from typing import Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spoa.exceptions import PolicyError
from spoa.issuers import Issuers
from spoa.migration.drafting import choose_frontend, policy_of, with_issuers
from spoa.migration.rules import NOWHERE
from spoa.migration.testing import verdicts
from spoa.pem import read_blocks
from tests.migration.configurations import NOW, draft_of, frontend, proxies_of
from tests.pki import CA

# -- the promise ------------------------------------------------------------------------------------------------

TESTS: Final = (
    "ssl_c_s_dn(cn) -i admin",
    "ssl_c_s_dn(cn) -m sub read",
    "ssl_c_s_dn(cn) -m reg ^svc-[0-9]+$",
    "ssl_c_s_dn(ou) internal",
    "ssl_c_s_dn(ou) -i partner admins",
    "ssl_c_s_dn(ou),lower -m str ops",
    "ssl_c_s_dn -m str /CN=admin",
    "ssl_c_sha1,hex " + "AB" * 20,
    "ssl_c_used",
    "ssl_fc_has_crt",
    "path_beg /admin",
    "path_beg -i /api/",
    "path /x /y",
    "path_end .php",
    "path_sub secret",
    "path_reg ^/v[0-9]/",
    "path_dir private",
    "method POST PUT DELETE PATCH",
    "method GET HEAD",
    "src 10.0.0.0/8",
    "src 192.168.1.7 fd00::/8",
    "hdr(host) -i api.example.com",
    "hdr_end(host) .example.com",
    "hdr(x-t) a",
    "hdr(x-t) -m found",
    "rand 10",
)
NAMES: Final = ("p", "q", "r")


def literals() -> st.SearchStrategy[str]:
    signs = st.sampled_from(["", "!"])
    named = st.tuples(signs, st.sampled_from([*NAMES, "METH_GET", "TRUE"])).map("".join)
    inline = st.tuples(signs, st.sampled_from(TESTS)).map(lambda pair: f"{pair[0]}{{ {pair[1]} }}")
    return named | inline


def conditions() -> st.SearchStrategy[str]:
    terms = st.lists(literals(), min_size=1, max_size=3).map(" ".join)
    whole = st.lists(terms, min_size=1, max_size=2).map(" || ".join)
    return st.tuples(st.sampled_from(["if", "unless"]), whole).map(" ".join)


def lines_of(verb: str, least: int, most: int) -> st.SearchStrategy[list[str]]:
    verbs = {
        "acl": st.tuples(st.sampled_from(NAMES), st.sampled_from(TESTS)).map(lambda pair: f"acl {pair[0]} {pair[1]}"),
        "rule": st.tuples(st.sampled_from(["deny", "deny deny_status 404", "allow"]), conditions()).map(
            lambda pair: f"http-request {pair[0]} {pair[1]}"
        ),
        "switch": st.tuples(st.sampled_from("abc"), conditions()).map(lambda pair: f"use_backend {pair[0]} {pair[1]}"),
    }
    return st.lists(verbs[verb], min_size=least, max_size=most)


@settings(max_examples=40, deadline=None)
@given(
    lines_of("acl", 3, 5),
    lines_of("rule", 0, 3),
    lines_of("switch", 0, 2),
    st.sampled_from(["required", "optional"]),
    st.sampled_from(TESTS),
)
def test_a_draft_allows_nothing_that_haproxy_refused_and_sends_nobody_elsewhere(
    acls: list[str], rules: list[str], switches: list[str], verify: str, behind: str
) -> None:
    declared = [f"acl {name} path /{name}" for name in NAMES]
    backends = f"backend d\n    http-request deny if {{ {behind} }}\n"
    text = frontend(*declared, *acls, *rules, *switches, "default_backend d", verify=verify, backends=backends)
    draft = draft_of(text)
    stays = any("keep the line in HAProxy" in note.text for note in draft.notes)
    for client, sample, decision, outcome in islice(verdicts(draft, lambda _: None, NOW), 300):
        if decision.verdict == "allow" and decision.route != NOWHERE and outcome.verdict:
            where = (client, sample, decision.rule, text, draft.files["policy.yaml"].decode())
            assert outcome.verdict == "allow", where
            assert stays or outcome.backend in {"", decision.route}, where


# -- frontends --------------------------------------------------------------------------------------------------

TWO = """\
frontend plain
    bind :80
frontend edge
    bind :443 ssl crt s.pem ca-file ca.pem verify optional
listen other
    bind :444 ssl crt s.pem verify none
"""


def test_the_frontend_that_asks_for_certificates_is_meant() -> None:
    assert choose_frontend(proxies_of(TWO), "").name == "edge"
    assert choose_frontend(proxies_of(TWO), "plain").name == "plain"
    assert choose_frontend(proxies_of("frontend only\n bind :80\n"), "").name == "only"


@pytest.mark.parametrize(
    ("text", "name"), [(TWO, "nope"), (TWO.replace("verify none", "verify required"), ""), ("global\n", "")]
)
def test_where_it_cannot_be_told_which_is_meant_the_names_are_told(text: str, name: str) -> None:
    with pytest.raises(LookupError, match="there are: "):
        choose_frontend(proxies_of(text), name)


# -- CAs and CRLs -----------------------------------------------------------------------------------------------

CORP, PARTNERS = CA("Corp CA", o=("Corp",)), CA("Partner CA")


def issuers_of(files: dict[str, bytes], *lines: str) -> dict[str, object]:
    draft = draft_of(frontend(*lines), files)
    found: dict[str, object] = yaml.safe_load(draft.files["policy.yaml"])["issuers"]
    assert {f"trust/{name}.pem" for name in found} == {name for name in draft.files if name.startswith("trust/")}
    assert policy_of(draft, NOW).model.issuers
    return found


def test_one_ca_is_one_issuer() -> None:
    assert issuers_of({"ca.pem": CORP.pem}) == {
        "clients": {"ca": "trust/clients.pem", "revocation": {"none": "drafted: HAProxy checked no revocation here"}}
    }


def test_each_ca_of_several_is_an_issuer_and_names_say_which_are_meant() -> None:
    bound = "http-request deny if { path /x } !{ ssl_c_i_dn(cn) 'Partner CA' }"
    unbound = "http-request deny if { path /y } !{ ssl_c_s_dn(cn) a }"
    draft = draft_of(frontend(bound, unbound), {"ca.pem": CORP.pem + PARTNERS.pem + CORP.pem})
    found = yaml.safe_load(draft.files["policy.yaml"])
    assert list(found["issuers"]) == ["corp-ca", "partner-ca"]
    assert found["identities"]["issuer-partner-ca"] == {"issuer": "partner-ca"}
    assert found["identities"]["cn-a"] == {"issuer": ["corp-ca", "partner-ca"], "cn": "a"}
    assert "unsafe-issuer" in {note.code for note in draft.notes}


def test_a_refusal_that_comes_to_deny_everything_is_a_finding_with_its_line() -> None:
    draft = draft_of(frontend("http-request deny if !{ ssl_c_i_dn(cn) 'No Such CA' }"), {"ca.pem": CORP.pem})
    (rule, _) = yaml.safe_load(draft.files["policy.yaml"])["rules"]
    assert set(rule) == {"id", "effect"}
    (note,) = [one for one in draft.notes if one.is_warning]
    assert (note.code, note.line) == ("unmatched", frontend("!").splitlines().index("    !") + 1)


def test_cas_of_one_name_are_told_apart_and_those_of_one_key_are_one_issuer() -> None:
    assert list(issuers_of({"ca.pem": CORP.pem + CA("Corp CA").pem})) == ["corp-ca", "corp-ca-2"]
    renewed = PARTNERS.issue("Corp CA", with_key=CORP.key, is_ca=True)
    assert list(issuers_of({"ca.pem": CORP.pem + renewed.pem})) == ["clients"]


def test_other_cas_can_stand_in_for_a_drafts() -> None:
    draft = draft_of(frontend(), {"ca.pem": CORP.pem})
    other = with_issuers(draft, {"clients": [PARTNERS.der]})
    assert [block.der for block in read_blocks(other.files["trust/clients.pem"], "CERTIFICATE")] == [PARTNERS.der]
    assert (list(other.issuers.values()), list(draft.issuers.values())) == ([[PARTNERS.der]], [[CORP.der]])


def test_a_certificate_that_is_no_ca_is_left_out_with_a_note() -> None:
    draft = draft_of(frontend(), {"ca.pem": CORP.pem + CORP.issue("alice").pem})
    assert list(draft.issuers) == ["clients"]
    assert [note.code for note in draft.notes] == ["narrowed"]


def test_a_ca_that_cannot_be_read_is_a_placeholder_that_signs_nobody() -> None:
    draft = draft_of(frontend())
    assert [note.code for note in draft.notes] == ["placeholder", "placeholder"]
    assert Issuers(draft.issuers).issuer_of(CORP.issue("alice").der) is None


def test_a_verify_file_is_noted() -> None:
    text = frontend().replace("ca-file ca.pem", "ca-file ca.pem ca-verify-file root.pem")
    assert [note.code for note in draft_of(text, {"ca.pem": CORP.pem}).notes] == ["narrowed"]


def test_a_crl_is_copied_and_one_that_is_missing_lets_nobody_in() -> None:
    text = frontend().replace("ca-file ca.pem", "ca-file ca.pem crl-file /x/corp.crl")
    draft = draft_of(text, {"ca.pem": CORP.pem, "/x/corp.crl": CORP.crl_pem()})
    assert draft.files["crl/corp.crl"].startswith(b"-----BEGIN X509 CRL")
    assert b"{crl: {files: crl/corp.crl}}" in draft.files["policy.yaml"]
    missing = draft_of(text, {"ca.pem": CORP.pem})
    assert b"{crl: {files: crl/corp.crl}}" in missing.files["policy.yaml"]
    assert [note.code for note in missing.notes] == ["placeholder"]
    second = "    bind :444 ssl crt s.pem ca-file ca.pem crl-file other.crl verify required\n"
    two = draft_of(text.replace("frontend edge\n", f"frontend edge\n{second}"), {"ca.pem": CORP.pem})
    assert b"files: [crl/other.crl, crl/corp.crl]" in two.files["policy.yaml"]


@pytest.mark.parametrize(
    ("bind", "anonymous"),
    [
        ("", False),
        ("    bind :80\n", False),
        ("    bind :444 ssl crt s\n", True),
        ("    bind :444 ssl verify none\n", True),
    ],
)
def test_tls_that_asks_for_no_certificate_lets_those_in_who_have_none(bind: str, anonymous: bool) -> None:
    draft = draft_of(frontend().replace("frontend edge\n", f"frontend edge\n{bind}"), {"ca.pem": CORP.pem})
    assert draft.allows_anonymous is anonymous
    assert [note.code for note in draft.notes] == (["narrowed"] if bind.endswith(":80\n") else [])


def test_a_frontend_without_tls_knows_nobody() -> None:
    assert draft_of("frontend edge\n    bind :80\n").allows_anonymous


# -- the rest ---------------------------------------------------------------------------------------------------


def test_a_list_of_fingerprints_is_written_with_what_never_matched_as_a_comment() -> None:
    lines = ("http-request deny unless { ssl_c_sha1,hex -f /etc/allowed.txt }", "default_backend a")
    draft = draft_of(frontend(*lines), {"ca.pem": CORP.pem, "/etc/allowed.txt": b"AB" * 20 + b"\nnonsense\n"})
    assert draft.files["lists/allowed.txt"].decode().splitlines() == [
        "# Imported; one fingerprint a line.",
        "AB" * 20,
        "# never matched: nonsense",
    ]
    found = yaml.safe_load(draft.files["policy.yaml"])
    assert str(found["lists"]["allowed"]["accept_sha1_until"]) == "2027-05-19"
    assert policy_of(draft, NOW).model.lists
    sha256 = draft_of(frontend("http-request deny unless { ssl_c_der,sha2(256),hex " + "AB" * 32 + " }"))
    assert b"accept_sha1_until" not in sha256.files["policy.yaml"]


def test_what_cannot_be_read_is_noted_by_its_line() -> None:
    draft = draft_of(
        frontend("http-request deny if { path /x") + "frontend 'x\n\nfrontend f from nowhere\n", name="edge"
    )
    assert [(note.line, note.code) for note in draft.notes if note.code == "unreadable"] == [
        (5, "unreadable"),
        (13, "unreadable"),
        (15, "unreadable"),
    ]
    joined = draft_of(frontend().replace("bind :443", "bind :443 \\\n"))
    assert "not-joined" in {note.code for note in joined.notes}


def test_a_draft_that_is_no_policy_is_a_defect() -> None:
    draft = draft_of(frontend())
    draft.files["policy.yaml"] = b"nonsense: true\n"
    with pytest.raises(PolicyError):
        policy_of(draft, NOW)


def test_the_name_of_a_frontend_is_shown_without_control_characters() -> None:
    proxies = proxies_of("frontend a\x1b[31m\nfrontend b\n")
    with pytest.raises(LookupError, match=r"there are: a\\u001b\[31m, b"):
        choose_frontend(proxies, "")


def test_of_many_frontends_or_long_names_the_beginning_is_told() -> None:
    names = ["x" * 100, *(f"f{number}" for number in range(20))]
    proxies = proxies_of("".join(f"frontend {name}\n" for name in names))
    with pytest.raises(LookupError) as refused:
        choose_frontend(proxies, "")
    assert str(refused.value).endswith("there are: " + "x" * 59 + "…, f0, f1, f2, f3, f4, f5, f6 and 13 more")
