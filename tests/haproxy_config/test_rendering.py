"""The configuration that `haproxy-config` prints, for each version and policy."""

from __future__ import annotations

import pytest

from spoa.haproxy_config.arguments import SAMPLES, message_arguments
from spoa.haproxy_config.rendering import SHIPPED, VERSIONS, render
from tests.haproxy import CONFIGURATION


@pytest.mark.parametrize("name", SHIPPED)
def test_the_files_in_the_package_are_those_that_are_shipped_and_tested(name: str) -> None:
    packaged = CONFIGURATION.parent / "spoa" / "haproxy_config" / name
    assert packaged.read_text() == (CONFIGURATION / name).read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_gets_the_engine_it_has(version: str) -> None:
    files = render(version)
    is_multiplexer = version in {"3.2", "3.4"}
    assert ("    mode spop\n" in files["haproxy.cfg"]) is is_multiplexer
    assert ("    mode tcp\n" in files["haproxy.cfg"]) is not is_multiplexer
    assert "version_atleast" not in files["haproxy.cfg"]
    assert ("no option send-frag-payload" in files["spoe-authz.conf"]) is not is_multiplexer
    assert "\n\n\n" not in files["spoe-authz.conf"]


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_is_sent_where_no_policy_says_what_is_read(version: str) -> None:
    shipped = (CONFIGURATION / "spoe-authz.conf").read_text()
    arguments = next(line for line in shipped.splitlines() if line.startswith("    args "))
    assert arguments in render(version)["spoe-authz.conf"]


def test_just_what_the_policy_reads_is_sent() -> None:
    engine = render("3.2", {"path", "method"})["spoe-authz.conf"]
    assert f"    args {message_arguments({'path', 'method'})}\n" in engine
    assert "host=" not in engine


def test_the_file_says_what_is_off_because_it_is_not_sent_and_how_to_have_it() -> None:
    comment = render("3.2", {"method"})["spoe-authz.conf"].partition("    args ")[0].rpartition("spoe-message")[2]
    assert "path_not_canonical" in comment
    assert "sni_mismatch" in comment
    assert "`src` in the agent's decision log" in comment
    assert "--all, or without --policies" in comment
    assert "--all" not in render("3.2", SAMPLES)["spoe-authz.conf"] + render("3.2")["spoe-authz.conf"]


def test_the_backends_are_those_that_the_policy_names() -> None:
    configuration = render("3.2", None, ["admin_api", "billing", "admin_api"])["haproxy.cfg"]
    backends = [line.split(" ")[1] for line in configuration.splitlines() if line.startswith("backend ")]
    assert sorted(backends) == ["admin_api", "authz-agents", "authz-denied", "billing", "internal_api", "public_web"]
    assert "AUTHZ_SERVER_ADMIN" in configuration
    assert "AUTHZ_SERVER_PARTNER" not in configuration
    assert "presetenv AUTHZ_TIMEOUT_PROCESSING" in configuration


def test_a_route_cannot_replace_a_section_that_enforces() -> None:
    routes = ["authz-denied", "authz-agents", "public_web", "stats"]
    assert render("3.2", None, routes) == render("3.2", None, [])


def test_an_unknown_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="is none of"):
        render("1.8")
