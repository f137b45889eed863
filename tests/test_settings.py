"""One table of options, four places that fill it, and all problems at once."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from spoa.addresses import Address
from spoa.logsinks.opening import LogSettings
from spoa.settings import (
    OPTIONS,
    Settings,
    SettingsErrors,
    default_state_dir,
    environment_name,
    read_settings,
)


def test_every_option_has_a_field_a_variable_and_a_default_that_can_be_read() -> None:
    assert [field.name for field in dataclasses.fields(Settings)] == [o.name.replace("-", "_") for o in OPTIONS]
    assert environment_name("max-frame-size") == "SPOA_AUTHZ_MAX_FRAME_SIZE"
    settings = read_settings({}, {"HOME": "/home/somebody"})
    assert settings.listen == (Address("127.0.0.1", 9123),)
    assert settings.admin == Address("127.0.0.1", 9124)
    assert settings.deadline == 80


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text("workers: 2\ndeadline: 50\nhello_timeout: 3\n")
    environ = {"SPOA_AUTHZ_WORKERS": "3", "SPOA_AUTHZ_DEADLINE": "60", "SPOA_AUTHZ_CONFIG": str(config)}
    settings = read_settings({"workers": "4"}, environ)
    assert (settings.workers, settings.deadline, settings.hello_timeout) == (4, 60, 3.0)
    assert settings.idle_timeout == 300


def test_an_empty_variable_says_nothing() -> None:
    assert read_settings({}, {"SPOA_AUTHZ_WORKERS": ""}).workers == 1


def test_variables_that_are_no_option_are_none_of_our_business() -> None:
    read_settings({}, {"SPOA_AUTHZ_SERVICE_HOST": "10.0.0.1", "SPOA_AUTHZ_PORT": "tcp://10.0.0.1:9123"})


def test_addresses_may_come_as_a_list_of_texts_or_as_one_text(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text("listen:\n  - 127.0.0.1:1\n  - unix:/run/s\n")
    expected = (Address("127.0.0.1", 1), Address("", 0, "/run/s"))
    assert read_settings({"config": str(config)}, {}).listen == expected
    assert read_settings({}, {"SPOA_AUTHZ_LISTEN": "127.0.0.1:1, unix:/run/s"}).listen == expected


@pytest.mark.parametrize(("text", "share"), [("always", 1.0), ("never", 0.0), ("5%", 0.05), ("0.5%", 0.005)])
def test_the_share_of_logged_allows_is_read(text: str, share: float) -> None:
    assert read_settings({"log-allows": text}, {}).log_allows == pytest.approx(share)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("YES", True), ("0", False), ("off", False)])
def test_a_switch_is_read_from_the_environment(text: str, *, value: bool) -> None:
    assert read_settings({}, {"SPOA_AUTHZ_LAST_GOOD": text}).last_good is value


def test_other_kinds_of_value_are_read() -> None:
    settings = read_settings({"admin": "none", "decision-log": "-", "admin-token-file": "/t"}, {})
    assert settings.admin is None
    assert settings.decision_log == ("-",)
    assert settings.admin_token_file == Path("/t")
    assert settings.otlp_endpoint == ""
    for url in ("http://127.0.0.1:4318", "https://collector.example/otlp"):
        assert read_settings({"otlp-endpoint": url}, {}).otlp_endpoint == url


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("policies", "a\0b"),
        ("listen", " "),
        ("listen", "nowhere"),
        ("admin", "0.0.0.0:9124"),
        ("workers", "0"),
        ("workers", "257"),
        ("workers", "two"),
        ("workers", "-1"),
        ("workers", "²"),
        ("decision-log", "a\0b"),
        ("log-allows", "sometimes"),
        ("log-allows", "101%"),
        ("candidate", "a\0b"),
        ("last-good", "maybe"),
        ("hello-timeout", "0"),
        ("hello-timeout", "inf"),
        ("idle-timeout", "1e9"),
        ("log-format", "xml"),
        ("otlp-endpoint", "127.0.0.1:4318"),
        ("otlp-endpoint", "file:///etc/passwd"),
        ("otlp-endpoint", "http://user@collector"),
    ],
)
def test_a_value_that_can_not_be_used_names_its_option(option: str, text: str) -> None:
    with pytest.raises(SettingsErrors) as caught:
        read_settings({option: text}, {})
    assert caught.value.option == option
    assert str(caught.value).startswith(f"--{option}: ")


def test_all_problems_come_at_once_and_say_where_they_are_from(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text("workers: many\nworker: 2\nlisten: {a: b}\n")
    with pytest.raises(SettingsErrors) as caught:
        read_settings({"deadline": "x", "config": str(config)}, {"SPOA_AUTHZ_LOG_LEVEL": "loud"})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems) == 5
    assert any(f"{config}:1" in line and "workers" in line for line in lines)
    assert any("no option 'worker'" in line for line in lines)
    assert any("SPOA_AUTHZ_LOG_LEVEL" in line for line in lines)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: b: c\n", "a: 1\na: 2\n"])
def test_a_settings_file_that_is_none_is_a_problem(tmp_path: Path, text: str) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(text)
    with pytest.raises(SettingsErrors, match=r"serve\.yaml"):
        read_settings({"config": str(config)}, {})


def test_a_settings_file_may_be_empty_but_not_missing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    assert read_settings({"config": str(tmp_path / "empty.yaml")}, {}).workers == 1
    with pytest.raises(SettingsErrors, match="can't be read"):
        read_settings({"config": str(tmp_path / "missing.yaml")}, {})


def test_a_remote_admin_address_must_be_wanted() -> None:
    assert read_settings({"admin": "0.0.0.0:1", "admin-remote": "true"}, {}).admin == Address("0.0.0.0", 1)


def test_state_lives_where_the_user_keeps_state() -> None:
    assert default_state_dir({}, 0) == "/var/lib/spoa-authz"
    assert default_state_dir({"XDG_STATE_HOME": "/s"}, 1000) == "/s/spoa-authz"
    assert default_state_dir({"HOME": "/home/u"}, 1000) == "/home/u/.local/state/spoa-authz"
    expected = default_state_dir(os.environ, os.geteuid())
    assert str(read_settings({}, dict(os.environ, SPOA_AUTHZ_STATE_DIR="")).state_dir) == expected


# -- who may connect --------------------------------------------------------------------------------------------


def test_who_may_connect_is_everybody_or_networks(tmp_path: Path) -> None:
    assert read_settings({}, {}).allow_from == ()
    assert read_settings({"allow-from": "any"}, {}).allow_from == ()
    config = tmp_path / "serve.yaml"
    config.write_text(
        "allow_from: [10.0.0.1, 10.1.0.0/16, '2001:DB8::/32', 10.0.0.1]\nsocket-mode: 0600\nsocket_group: haproxy\n"
    )
    settings = read_settings({"config": str(config)}, {})
    assert settings.allow_from == ("10.0.0.1/32", "10.1.0.0/16", "2001:db8::/32")
    assert (settings.socket_mode, settings.socket_user, settings.socket_group) == (0o600, "", "haproxy")
    assert read_settings({}, {}).socket_mode == 0o660


def test_who_may_connect_is_not_everybody_because_a_variable_is_empty() -> None:
    with pytest.raises(SettingsErrors, match=r"--allow-from: name at least one .* \(from SPOA_AUTHZ_ALLOW_FROM\)"):
        read_settings({}, {"SPOA_AUTHZ_ALLOW_FROM": ""})


def test_nobody_is_served_in_clear_because_a_variable_is_empty() -> None:
    with pytest.raises(SettingsErrors) as caught:
        read_settings({"tls-cert": ""}, {"SPOA_AUTHZ_TLS_CLIENT_CA": ""})
    assert str(caught.value).splitlines() == [
        "--tls-cert: it is empty; name the file, or leave it out",
        "--tls-client-ca: it is empty; name the file, or leave it out (from SPOA_AUTHZ_TLS_CLIENT_CA)",
    ]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"allow-from": " "}, "--allow-from: name at least one address or network"),
        ({"allow-from": "any 10.0.0.1"}, "--allow-from: write addresses and networks"),
        ({"allow-from": "10.0.0.1/8"}, "--allow-from: .*host bits set"),
        ({"allow-from": "haproxy.example"}, "--allow-from: write addresses and networks"),
        ({"socket-mode": "rw-rw----"}, "--socket-mode: write three octal digits"),
        ({"socket-mode": "4660"}, "--socket-mode: write three octal digits"),
        ({"socket-user": "a b"}, "--socket-user: write the name or number"),
        ({"socket-group": "../x"}, "--socket-group: write the name or number"),
        ({"tls-cert": "c"}, "--tls-cert: means nothing without --tls-client-ca"),
        ({"tls-client-ca": "c"}, "--tls-client-ca: means nothing without --tls-cert"),
        ({"tls-key": "c"}, "--tls-key: means nothing without --tls-cert"),
    ],
)
def test_a_gate_that_would_not_shut_is_an_error(flags: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsErrors, match=says):
        read_settings(flags, {})


# -- the decision log -------------------------------------------------------------------------------------------


def test_what_is_said_of_the_decision_log_comes_together(tmp_path: Path) -> None:
    given = {
        "decision-log": "log",
        "decision-log-max-size": "100M",
        "decision-log-max-age": "1d",
        "decision-log-keep": "3",
        "decision-log-chain": "true",
        "decision-log-key-file": str(tmp_path / "key"),
        "decision-log-mask": "subject, src subject",
        "decision-log-mask-key-file": str(tmp_path / "mask"),
    }
    assert read_settings(given, {}).log == LogSettings(
        target="log",
        max_size=100 << 20,
        max_age=86_400,
        keep=3,
        is_chained=True,
        key_file=str(tmp_path / "key"),
        masked=("subject", "src"),
        mask_key_file=str(tmp_path / "mask"),
    )
    assert (read_settings({}, {}).log, read_settings({}, {}).logs) == (LogSettings(), ())


def test_decisions_may_go_to_several_places_of_which_the_first_file_is_what_others_read(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("decision-log: ['journald:', /var/log/my decisions.jsonl, /var/log/others.jsonl]\n")
    for given, environ in (
        ({"config": str(config)}, {}),
        ({"decision-log": "journald:\n/var/log/my decisions.jsonl\n/var/log/others.jsonl"}, {}),
        ({}, {"SPOA_AUTHZ_DECISION_LOG": "journald: /var/log/my decisions.jsonl /var/log/others.jsonl"}),
    ):
        settings = read_settings(given, environ)
        assert [log.place for log in settings.logs] == [
            "journald:",
            "/var/log/my decisions.jsonl",
            "/var/log/others.jsonl",
        ]
        assert settings.log == settings.logs[1]
    assert read_settings({"decision-log": "journald: -"}, {}).log.place == "journald:"


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("decision-log", "http://x", "the schemes are"),
        ("decision-log-max-size", "1T", "such as 500K, 100M or 2G"),
        ("decision-log-max-age", "soon", "duration"),
        ("decision-log-mask", "src name", "not 'name'"),
        ("decision-log-chain", "true", "means nothing without --decision-log"),
        ("decision-log-key-file", "key", "means nothing without --decision-log-chain"),
        ("decision-log-mask-key-file", "key", "means nothing without --decision-log-mask"),
    ],
)
def test_what_can_not_be_kept_is_said(option: str, text: str, says: str) -> None:
    with pytest.raises(SettingsErrors, match=f"--{option}: .*{says}"):
        read_settings({option: text}, {})


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"admin": "none"}, "there is none"),
        ({"admin": "0.0.0.0:9124", "admin-remote": "true"}, "takes the token"),
    ],
)
def test_a_console_that_nobody_could_look_at_is_a_mistake(flags: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsErrors, match=says) as caught:
        read_settings({"console": "true", **flags}, {})
    assert caught.value.option == "console"
    assert read_settings({"console": "true"}, {}).console
    assert read_settings({"console": "true", **flags, "admin": "0.0.0.0:1", "admin-remote": "true",
                          "admin-token-file": "/t"}, {}).console  # fmt: skip
