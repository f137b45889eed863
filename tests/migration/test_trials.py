"""Requests that tell a draft from its original."""

from __future__ import annotations

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.migration.atoms import ListFile
from spoa.migration.simulation import Sample
from spoa.migration.trials import Client, Trials, request_of, subject_of, trials_of
from spoa.policy import oids
from spoa.policy.hosts import normal_host
from tests.migration.configurations import NOW, draft_of, frontend

FILES = {"names.txt": b"# c\nalice\n"}


def tried(*lines: str, verify: str = "required") -> Trials:
    draft = draft_of(frontend(*lines, verify=verify), FILES)

    def read(name: str) -> str | None:
        return FILES[name].decode() if name in FILES else None

    return trials_of(draft.refusals, draft.switches, draft.lists, read, allows_anonymous=draft.allows_anonymous)


def subjects(trials: Trials) -> list[dict[str, tuple[str, ...]]]:
    return [dict(client.subject) for client in trials.clients if client.subject is not None]


def test_names_are_tried_as_they_stand_and_as_they_nearly_are() -> None:
    found = subjects(
        tried(
            "http-request deny if { ssl_c_s_dn(cn) -i admin } { ssl_c_s_dn(ou) ops } !{ ssl_c_s_dn(cn) -m sub ro }",
            "http-request deny if { ssl_c_s_dn(cn) -m reg ^svc-[0-9]$ } or { ssl_c_s_dn(cn) -f names.txt }",
            "http-request deny if { ssl_c_s_dn(cn) -m reg ( } or { ssl_c_s_dn(cn) -m beg b }",
            "http-request deny if { ssl_c_s_dn(cn) -m end e }",
        )
    )
    names = {subject["CN"] for subject in found}
    assert {
        ("stranger",),
        ("admin",),
        ("ADMIN",),
        ("ro",),
        ("x-ro-y",),
        ("svc-0",),
        ("alice",),
        ("b-x",),
        ("x-e",),
    } <= names
    assert {"CN": ("admin",), "OU": ("ops",)} in found
    assert {"OU": ("other", "ops"), "CN": ("stranger",)} in found
    assert {"OU": ("ops", "other"), "CN": ("stranger",)} in found


def test_half_a_host_name_is_made_a_whole_one() -> None:
    trials = tried(
        "http-request deny if { hdr(host) -m end .Internal } or { hdr_beg(host) api. } or { hdr_sub(host) .x. }"
    )
    hosts = {sample.host for sample in trials.requests}
    assert {"x.internal", "api.x", "x.x.x"} <= hosts
    assert all(normal_host(host) is not None for host in hosts)


def test_in_tcp_mode_connections_differ_in_address_and_name() -> None:
    draft = draft_of(frontend("tcp-request content reject if { src 10.0.0.0/8 } { ssl_fc_sni A.example }"), {})
    trials = trials_of(draft.refusals, [], {}, FILES.get, allows_anonymous=False, is_tcp=True)
    found = [(one.line, one.source, one.host, one.sni) for one in trials.requests]
    assert found == [
        ("connection", source, "", name) for name in ("", "a.example") for source in ("203.0.113.9", "10.0.0.1")
    ]
    request = request_of(trials.requests[-1])
    assert {request.method, request.path, request.host} == {UNAVAILABLE}
    assert (request.sni, request.tls, request.headers) == ("a.example", "TLSv1.3", {})


def test_requests_differ_in_one_thing_and_in_two() -> None:
    trials = tried(
        "http-request deny if { path_beg /admin } { method PUT } or { path /x } or { path_sub /y } or { path_dir z }",
        "http-request deny if { src 10.0.0.0/8 } { hdr(host) A.example } { hdr(x-a) 1 } or { path_end .php }",
        "http-request deny if { path_reg ^/r/[0-9]+$ } or { src nowhere } or { hdr_dom(host) b }",
    )
    paths = {sample.path for sample in trials.requests}
    assert {"/", "/admin", "/admin/x", "/administrator", "/ADMIN", "/x", "/x/yy", "/x/z/y", "/x.php", "/r/0"} <= paths
    assert {"PUT", "GET", "POST", "PROPFIND"} <= {sample.method for sample in trials.requests}
    assert {"10.0.0.1", "203.0.113.9"} == {sample.source for sample in trials.requests}
    assert {"a.example", "localhost", "x.b"} <= {sample.host for sample in trials.requests}
    assert any(sample.path == "/admin" and sample.method == "PUT" for sample in trials.requests)
    assert any(sample.path == "/admin" and sample.headers == {"x-a": "1"} for sample in trials.requests)


def test_whoever_is_let_in_without_a_certificate_is_tried_too() -> None:
    assert [client.name for client in tried(verify="optional").clients] == ["client-1", "none"]
    assert [client.name for client in tried().clients] == ["client-1"]


def test_each_list_has_a_client_that_is_on_it() -> None:
    lists = {name: ListFile(name, 40, ("x.txt",), (), ()) for name in ("x", "x-denied")}
    trials = trials_of([], [], lists, FILES.get, allows_anonymous=False)
    assert [client.lists for client in trials.clients] == [(), ("x", "x-denied")]


def test_there_is_a_bound_to_them() -> None:
    many = " ".join(f"/p{number}" for number in range(20))
    trials = tried(f"http-request deny if {{ path {many} }} {{ method A B C D E F }} {{ ssl_c_s_dn(cn) a b c }}")
    pairs = list(trials.pairs())
    assert len(pairs) <= 1_200
    assert {client.name for client, _ in pairs} == {client.name for client in trials.clients}


def test_a_sample_is_a_request_and_a_client_a_certificate() -> None:
    request = request_of(Sample("GET", "/x", source="10.0.0.1", host="a", headers={"b": "c"}))
    assert (request.method, request.path, request.source, request.sni) == ("GET", "/x", b"\n\0\0\1", ABSENT)
    assert (request.host, request.headers) == ("a", {"b": "c"})
    assert request_of(Sample("GET", "/x", headers={"b": "c"}), ["a", "b"]).headers == {"a": ABSENT, "b": "c"}
    subject = subject_of(Client("a", {"CN": ("a",), "EMAILADDRESS": ("b",)}, ("one",)), "corp", ("one", "two"), NOW)
    assert subject is not None
    assert subject.certificate.subject == {oids.CN: ("a",), "1.2.840.113549.1.9.1": ("b",)}
    assert subject.lists == {"one": True, "two": False}
    assert subject_of(Client("none", None), "corp", (), NOW) is None
