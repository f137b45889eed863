"""The original beside the draft, on the HAProxy of the development tools; the integration tests take every version."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.migration.drafting import choose_frontend, draft_policy
from spoa.migration.simulation import simulate
from spoa.reenactment import HaproxyRefusedError, reduced, reenact
from tests.haproxy_builds import haproxy_binary
from tests.migration.configurations import frontend
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spoa.reenactment import Compared

CORP, PARTNERS = CA("Corp CA", o=("Corp",)), CA("Partner CA")
FILES = {"ca.pem": CORP.pem + PARTNERS.pem, "list.txt": b"AB" * 20 + b"\n"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a directory whose name is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="spoa-", dir="/tmp") as name:
        yield Path(name)


def compared(text: str, folder: Path, files: Mapping[str, bytes] = FILES, binary: Path | None = None) -> list[Compared]:
    configuration = read_configuration([("edge.cfg", text)], version="3.2", environment={})
    proxies = read_proxies(configuration)
    draft = draft_policy(configuration, proxies, choose_frontend(proxies, ""), files.get, int(time.time()))

    def read(name: str) -> str | None:
        return files[name].decode() if name in files else None

    return reenact(draft, configuration, proxies, read, binary or haproxy_binary("2.8"), folder, int(time.time()))


def tags(found: list[Compared]) -> set[str]:
    return {one.tag for one in found}


def test_both_say_the_same_where_the_draft_says_all(folder: Path) -> None:
    found = compared(
        frontend(
            "acl ops ssl_c_s_dn(ou) ops",
            "acl inside src 10.0.0.0/8 fd00::/8",
            "http-request deny if { path /x } !ops or { method LOCK }",
            "http-request deny if inside { hdr(x-a) 1 }",
            "use_backend a if { ssl_c_i_dn(cn) 'Partner CA' }",
            "default_backend b",
        ),
        folder,
    )
    # Whoever has a second unit is in doubt, since HAProxy looks at the first one only.
    sure = [one for one in found if len((one.sample.subject or {}).get("OU", ())) < 2]
    assert {(one.sample.path, one.tag) for one in sure if one.tag != "same"} == {("/X", "newly_denied")}
    assert tags(found) == {"same", "newly_denied"}
    assert {one.backend for one in found} == {"a", "b", ""}
    assert {one.status for one in found} == {200, 403}


def test_the_simulation_says_what_haproxy_says(folder: Path) -> None:
    text = frontend(
        "acl cn ssl_c_s_dn(cn) -i admin",
        "acl both path_beg /p",
        "acl both ssl_c_s_dn(ou) ops",
        "http-request allow if { method HEAD }",
        "http-request deny deny_status 404 if both !cn",
        "http-request deny if { path_end .php } or { path_reg ^/r[0-9] } or { path_dir d }",
        "http-request deny if { hdr_dom(host) example } or { hdr(x-a) -m sub z }",
        "use_backend a unless cn",
        "default_backend b",
        verify="optional",
    )
    configuration = read_configuration([("edge.cfg", text)], version="3.2", environment={})
    proxies = read_proxies(configuration)
    draft = draft_policy(configuration, proxies, proxies.frontends[0], FILES.get, int(time.time()))
    found = compared(text, folder)
    assert len(found) > 200
    for one in found:
        outcome = simulate(one.sample, draft.refusals, draft.switches, lambda _: None)
        assert (outcome.verdict, outcome.backend) == ("allow" if one.backend else "deny", one.backend), one
    assert not tags(found) & {"newly_allowed", "other_backend"}


def test_clients_on_a_list_are_on_it_on_both_sides(folder: Path) -> None:
    inline = "ssl_c_sha1,hex " + "AB" * 20
    for line in ("ssl_c_sha1,hex -f list.txt", "ssl_c_der,sha2(256),hex -f list.txt", inline):
        found = compared(frontend(f"http-request deny unless {{ {line} }}", "default_backend a"), folder)
        listed = {one.tag for one in found if one.client.lists}
        assert (listed, tags(found)) == ({"same"}, {"same"})
        assert {one.backend for one in found} == {"a", ""}


def test_what_the_draft_refuses_more_and_haproxy_answers_itself_are_told_apart(folder: Path) -> None:
    found = compared(
        frontend(
            "http-request redirect location /new if { path /admin/x }",
            "http-request deny if { path_beg /admin } !{ ssl_c_s_dn(cn) -i admin }",
            "tcp-request content reject if { src 10.0.0.0/8 }",
            "default_backend a",
        ),
        folder,
    )
    assert tags(found) == {"same", "newly_denied", "not_compared"}
    assert {one.sample.path for one in found if one.tag == "not_compared"} == {"/admin/x"}
    assert all(one.decision.verdict == "deny" for one in found if one.sample.source == "10.0.0.1")


def test_what_the_draft_sends_elsewhere_is_told(folder: Path) -> None:
    """`ssl_c_verify 0` is the one sample that the draft takes for something else than it is."""
    lines = ("http-request deny if { path /x }", "use_backend a if { ssl_c_verify 0 }", "default_backend b")
    found = compared(frontend(*lines, verify="optional"), folder)
    assert tags(found) == {"same", "other_backend", "newly_denied"}
    (first,) = {one.client.name for one in found if one.tag == "other_backend"}
    assert first == "none"


def test_connections_that_are_cut_are_refused(folder: Path) -> None:
    found = compared(
        frontend(
            "tcp-request connection reject if { src 10.0.0.0/8 }",
            "http-request silent-drop if { path /x }",
            "http-request deny if { path_sub 'y z' } { ssl_c_s_dn(c) FR } { ssl_c_s_dn(emailaddress) a@example.com }",
            "default_backend a",
        ),
        folder,
    )
    assert tags(found) <= {"same", "newly_denied"}
    assert {one.backend for one in found if one.sample.source == "10.0.0.1" or one.sample.path == "/x"} == {""}
    assert not any(" " in one.sample.path for one in found)


def test_what_the_draft_would_allow_anew_is_told(folder: Path) -> None:
    """A rule that the draft was not made of stands in for a defect of the draft."""
    text = frontend("http-request deny if { path /x }", "default_backend a")
    configuration, stricter = (
        read_configuration([("edge.cfg", one)], version="3.2", environment={})
        for one in (text, text.replace("path /x", "path /x /"))
    )
    proxies = read_proxies(configuration)
    draft = draft_policy(configuration, proxies, proxies.frontends[0], FILES.get, int(time.time()))
    others = read_proxies(stricter)
    draft.frontend = others.frontends[0]
    binary = haproxy_binary("2.8")
    found = reenact(draft, stricter, others, lambda _: None, binary, folder, int(time.time()))
    assert {one.sample.path for one in found if one.tag == "newly_allowed"} == {"/"}


@pytest.mark.parametrize("kind", ["listen", "frontend"])
def test_what_names_no_backend_answers_with_its_own_name(kind: str, folder: Path) -> None:
    text = frontend("http-request deny if { path /x }").replace("frontend edge", f"{kind} edge")
    found = compared(text, folder)
    assert {one.backend for one in found} == {"edge", ""}


TCP = """
defaults
    mode tcp
frontend db
    bind :5432 ssl crt server.pem ca-file ca.pem verify optional
    tcp-request connection reject if { src 192.0.2.0/24 }
    tcp-request content reject unless { ssl_c_used }
    tcp-request content reject if { ssl_fc_sni -i old.example.com }
    use_backend writers if { ssl_c_s_dn(ou) dba }
    default_backend readers
backend writers
    tcp-request content reject unless { src 10.0.0.0/8 }
backend readers
    server r 127.0.0.1:1
"""


def test_in_tcp_mode_connections_are_judged_by_both_once_each(folder: Path) -> None:
    found = compared(TCP, folder)
    assert {one.sample.method for one in found} == {""}
    assert {one.sample.sni for one in found} == {"", "old.example.com", "OLD.EXAMPLE.COM".lower()}
    assert {one.backend for one in found} == {"", "writers", "readers"}
    assert {one.tag for one in found} <= {"same", "newly_denied"}
    stricter = [one for one in found if one.tag == "newly_denied"]
    assert all("other" in (one.client.subject or {}).get("OU", ()) for one in stricter)


def test_a_configuration_that_names_no_mode_is_tried_in_http(folder: Path) -> None:
    text = frontend("http-request deny if { path /x }", "default_backend a").replace("defaults\n    mode http\n", "")
    found = compared(text.replace("    mode http\n", ""), folder)
    assert {one.backend for one in found} == {"a", ""}
    assert tags(found) == {"same", "newly_denied"}


def test_backends_that_are_not_there_are_made_up(folder: Path) -> None:
    found = compared(frontend("default_backend elsewhere"), folder)
    assert {(one.backend, one.decision.route) for one in found} == {("elsewhere", "elsewhere")}


def test_what_haproxy_refuses_is_said_in_its_words(folder: Path) -> None:
    with pytest.raises(HaproxyRefusedError, match="no such ACL") as refused:
        compared(frontend("http-request deny if nope"), folder)
    # Numbers of lines in a file that is gone are of no use.
    assert '`http-request "deny" "if" "nope"`' in str(refused.value)
    assert str(folder) not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"), [("#!/bin/sh\nexit 7\n", "status 7 and printed nothing"), ("", "can't be run: ")]
)
def test_what_is_no_haproxy_is_said_to_be_none(folder: Path, text: str, said: str) -> None:
    program = folder / "program"
    program.write_text(text)
    program.chmod(0o755 if text else 0o644)
    with pytest.raises(HaproxyRefusedError, match=said):
        compared(frontend("default_backend a"), folder, binary=program)


def test_only_what_decides_is_left_of_a_configuration() -> None:
    text = (
        "global\n    chroot /var/empty\nuserlist u\n    user a insecure-password b\n"
        + frontend(
            "option httplog",
            "log-format x",
            "stats enable",
            "http-request use-service prometheus-exporter if { path /metrics }",
            'http-request deny if { path "/a b$\\"c" } { path -f list.txt }',
            "default_backend a",
        )
        + "    server s 127.0.0.1:1 check\nresolvers r\n"
    )
    configuration = read_configuration([("edge.cfg", text)], version="3.2", environment={})
    proxies = read_proxies(configuration)
    draft = draft_policy(configuration, proxies, proxies.frontends[0], FILES.get, int(time.time()))
    left = reduced(configuration, proxies, draft, "unix@/x", {"list.txt": "/copy"})
    for word in ("chroot", "option", "log-format", "stats", "use-service", "127.0.0.1:1", "resolvers", "ca.pem"):
        assert word not in left
    assert 'http-request "deny" "if" "{" "path" "/a b\\$\\"c" "}" "{" "path" "-f" "/copy" "}"' in left
    assert "userlist u\n    user" in left
    assert left.count("hdr x-import-backend") == 3
