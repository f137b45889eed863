"""Every option of `serve`, in one table; flags, environment and a settings file become one frozen `Settings`.

A flag wins over the environment variable `SPOA_AUTHZ_<OPTION>`, that over the key in the file named by `--config`, that
over the default. All four are read as text by the option's parser, so a value means the same wherever it stands. The
command line, the reference page and the error messages all come from `OPTIONS`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spoa.exceptions import SettingsError
from spoa.logsinks.opening import LogSettings, file_of, read_targets
from spoa.masking import MASKABLE
from spoa.optiontexts import (
    one_of,
    read_addresses,
    read_boolean,
    read_endpoint,
    read_masked,
    read_mode,
    read_networks,
    read_optional_address,
    read_optional_path,
    read_owner,
    read_path,
    read_share,
    read_size,
    seconds,
    whole,
)
from spoa.policy.document import Mapping as MappingNode
from spoa.policy.document import Scalar, Sequence, read_document
from spoa.policy.scalars import Duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.addresses import Address

__all__ = [
    "OPTIONS",
    "Option",
    "Settings",
    "SettingsErrors",
    "default_state_dir",
    "environment_name",
    "read_settings",
]


class SettingsErrors(SettingsError):  # noqa: N818 -- it is several of them
    """Everything that is wrong with the settings, at once.

    Attributes:
        problems: one `SettingsError` for each option that can't be used; never empty.
    """

    def __init__(self, problems: tuple[SettingsError, ...]) -> None:
        super().__init__(problems[0].option, problems[0].detail)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def default_state_dir(environ: Mapping[str, str], uid: int) -> str:
    """Say where state lives unless told: `/var/lib/spoa-authz` for root, else below the user's XDG state home."""
    if uid == 0:
        return "/var/lib/spoa-authz"
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "/nonexistent") / ".local" / "state")
    return str(Path(home) / "spoa-authz")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of `serve`.

    Attributes:
        name: as on the command line, without dashes, and as a key of the settings file.
        read: its text becomes its value; raises ValueError with a sentence.
        default: the text that stands when nobody says anything; empty for the state directory, which depends on the
            user.
        unit: what a number counts, or what kind of thing the text names.
        help: one sentence.
        is_repeatable: may be given several times; in one text its values are separated by blanks or commas.
        is_switch: a flag without a value on the command line.
        joint: what its values are joined by where they are given one by one.
    """

    name: str
    read: Callable[[str], Any]
    default: str
    unit: str
    help: str
    is_repeatable: bool = False
    is_switch: bool = False
    joint: str = " "


OPTIONS: Final = (
    Option("policies", read_path, "policies", "directory", "The policy directory."),
    Option("listen", read_addresses, "127.0.0.1:9123", "address", "Where HAProxy connects.", is_repeatable=True),
    Option(
        "admin", read_optional_address, "127.0.0.1:9124", "address or none", "Where metrics, health and status are."
    ),
    Option(
        "allow-from",
        read_networks,
        "any",
        "network or any",
        "Who may connect over TCP; others are closed before anything is read of them.",
        is_repeatable=True,
    ),
    Option(
        "tls-cert",
        read_optional_path,
        "",
        "file",
        "Speak TLS over TCP, and show this certificate (PEM, with its chain); read again by `reload` and SIGHUP.",
    ),
    Option("tls-key", read_optional_path, "", "file", "Its key, where that is not in the same file."),
    Option(
        "tls-client-ca",
        read_optional_path,
        "",
        "file",
        "The CAs, one of which must have signed the certificate that whoever connects has to show.",
    ),
    Option("socket-mode", read_mode, "660", "octal digits", "The permissions of unix sockets for HAProxy."),
    Option("socket-user", read_owner, "", "user", "Whom they belong to; the agent's own user unless given."),
    Option("socket-group", read_owner, "", "group", "The group they belong to; the agent's own unless given."),
    Option("workers", whole(1, 256), "1", "processes", "How many processes answer; more than cores stand by."),
    Option("state-dir", read_path, "", "directory", "Where blocks, built policies and the process id are kept."),
    Option(
        "decision-log",
        read_targets,
        "",
        "file, - or URL",
        "Where decisions are written: a file, - for the standard output, syslog+unix:///dev/log, "
        "syslog+udp://HOST:PORT, syslog+tcp://HOST:PORT, syslog+tls://HOST:PORT?ca=FILE or journald:. Nowhere unless "
        "given.",
        is_repeatable=True,
        joint="\n",
    ),
    Option("decision-log-max-size", read_size, "0", "bytes, K, M or G", "Begin a new file at this size; 0 for never."),
    Option("decision-log-max-age", Duration().parse, "0", "duration", "Begin a new file after this time, such as 1d."),
    Option("decision-log-keep", whole(0, 10_000), "10", "files", "How many older files are left after a rotation."),
    Option(
        "decision-log-mask",
        read_masked,
        "",
        "words",
        f"What is masked in decisions: any of {', '.join(MASKABLE)}.",
    ),
    Option(
        "decision-log-mask-key-file",
        read_optional_path,
        "",
        "file",
        "Holds the key by which masked values have pseudonyms; without it they are all alike.",
    ),
    Option(
        "decision-log-chain",
        read_boolean,
        "false",
        "",
        "Chain decisions by hashes, so that `audit verify` finds what was changed.",
        is_switch=True,
    ),
    Option(
        "decision-log-key-file",
        read_optional_path,
        "",
        "file",
        "Holds the key of the chain, without which nobody can compute it anew.",
    ),
    Option(
        "log-allows",
        read_share,
        "always",
        "always, never or N%",
        "Which allows the decision log has beside all denies.",
    ),
    Option("max-frame-size", whole(256, 1 << 24), "65532", "bytes", "The largest frame announced to HAProxy."),
    Option(
        "deadline",
        whole(1, 60_000),
        "80",
        "milliseconds",
        "Within this time a request is answered, if need be with a deny.",
    ),
    Option("candidate", read_optional_path, "", "directory", "A second policy, judged beside the active one."),
    Option(
        "last-good",
        read_boolean,
        "false",
        "",
        "Start with the last good policy when the directory has a bad one.",
        is_switch=True,
    ),
    Option(
        "admin-token-file",
        read_optional_path,
        "",
        "file",
        "Holds the bearer token for changes over a TCP admin address.",
    ),
    Option(
        "admin-remote",
        read_boolean,
        "false",
        "",
        "Let the admin address be one that other machines reach.",
        is_switch=True,
    ),
    Option(
        "console",
        read_boolean,
        "false",
        "",
        "Show what happens, and why, on a page below `/console` of the admin address.",
        is_switch=True,
    ),
    Option(
        "max-connections", whole(1, 1_000_000), "4096", "connections per worker", "More than this wait to be accepted."
    ),
    Option(
        "hello-timeout", seconds(0.1, 3600), "10", "seconds", "A connection without a HELLO is closed after this time."
    ),
    Option(
        "idle-timeout",
        seconds(0.1, 86_400),
        "300",
        "seconds",
        "A connection without a frame is closed after this time.",
    ),
    Option(
        "stop-notice",
        seconds(0, 60),
        "2",
        "seconds",
        "Told to stop, serve on for this time and fail HAProxy's health checks; not where none came lately.",
    ),
    Option(
        "otlp-endpoint",
        read_endpoint,
        "",
        "URL",
        "Send traces of what is slow to this OpenTelemetry collector, by OTLP over HTTP; nothing is traced otherwise.",
    ),
    Option("log-format", one_of("text", "json"), "text", "text or json", "How the agent's own log looks."),
    Option(
        "log-level",
        one_of("debug", "info", "warning", "error"),
        "info",
        "level",
        "The least important lines that are logged.",
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `serve` was told. One field an option of `OPTIONS`; `deadline` is in milliseconds, timeouts in seconds."""

    policies: Path
    listen: tuple[Address, ...]
    admin: Address | None
    allow_from: tuple[str, ...]
    tls_cert: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    socket_mode: int
    socket_user: str
    socket_group: str
    workers: int
    state_dir: Path
    decision_log: tuple[str, ...]
    decision_log_max_size: int
    decision_log_max_age: float
    decision_log_keep: int
    decision_log_mask: tuple[str, ...]
    decision_log_mask_key_file: Path | None
    decision_log_chain: bool
    decision_log_key_file: Path | None
    log_allows: float
    max_frame_size: int
    deadline: int
    candidate: Path | None
    last_good: bool
    admin_token_file: Path | None
    admin_remote: bool
    console: bool
    max_connections: int
    hello_timeout: float
    idle_timeout: float
    stop_notice: float
    otlp_endpoint: str
    log_format: str
    log_level: str

    @property
    def logs(self) -> tuple[LogSettings, ...]:
        """What they say of the decision log, for each place that has one."""
        return tuple(
            LogSettings(
                target=target,
                max_size=self.decision_log_max_size,
                max_age=self.decision_log_max_age,
                keep=self.decision_log_keep,
                is_chained=self.decision_log_chain,
                key_file=_name(self.decision_log_key_file),
                masked=self.decision_log_mask,
                mask_key_file=_name(self.decision_log_mask_key_file),
            )
            for target in self.decision_log
        )

    @property
    def log(self) -> LogSettings:
        """The one that others read: the first file, else the first; one without a target where there is none."""
        logs = self.logs
        return next((log for log in logs if file_of(log.target) is not None), logs[0] if logs else LogSettings())


def _name(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())


#: Options that can't be given as nothing: a name that was never set must neither let everybody in, nor in clear.
_NEVER_EMPTY: Final = frozenset({"allow-from", "tls-cert", "tls-client-ca"})

#: Options that mean something only beside another, given by the name of its value.
_NEEDS: Final = {
    "decision-log-mask-key-file": "decision_log_mask",
    "decision-log-key-file": "decision_log_chain",
    "decision-log-chain": "decision_log",
    "tls-cert": "tls_client_ca",
    "tls-key": "tls_cert",
    "tls-client-ca": "tls_cert",
}


def environment_name(option: str) -> str:
    """Name the variable of an option: `max-frame-size` is `SPOA_AUTHZ_MAX_FRAME_SIZE`."""
    return "SPOA_AUTHZ_" + option.upper().replace("-", "_")


def read_settings(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """Read the settings from `flags` (option name → text, plus `config`), `environ` and the file that either names.

    Raises:
        SettingsErrors: whatever can't be used, all at once.
    """
    problems: list[SettingsError] = []
    config = flags.get("config") or environ.get("SPOA_AUTHZ_CONFIG", "")
    from_file = _read_file(Path(config), problems) if config else {}
    values: dict[str, Any] = {}
    for option in OPTIONS:
        text, source, is_given = _text_of(option, flags, environ, from_file)
        try:
            value = values[option.name.replace("-", "_")] = option.read(text)
        except ValueError as error:
            problems.append(SettingsError(option.name, f"{error}{source}"))
            continue
        if value is None and is_given and option.name in _NEVER_EMPTY:
            problems.append(SettingsError(option.name, f"it is empty; name the file, or leave it out{source}"))
    _check_together(values, problems)
    if problems:
        raise SettingsErrors(tuple(problems))
    return Settings(**{field.name: values[field.name] for field in fields(Settings)})


def _text_of(
    option: Option, flags: Mapping[str, str], environ: Mapping[str, str], from_file: Mapping[str, tuple[str, str]]
) -> tuple[str, str, bool]:
    """Return an option's text, where it is from, and whether somebody gave it."""
    variable = environment_name(option.name)
    if option.name in flags:
        return flags[option.name], "", True
    if environ.get(variable) or (variable in environ and option.name in _NEVER_EMPTY):
        return environ[variable], f" (from {variable})", True
    if option.name in from_file:
        text, where = from_file[option.name]
        return text, f" (from {where})", True
    if option.name == "state-dir":
        return default_state_dir(environ, os.geteuid()), "", False
    return option.default, "", False


def _check_together(values: dict[str, Any], problems: list[SettingsError]) -> None:
    admin = values.get("admin")
    if admin is not None and not admin.passed and not admin.is_local and not values.get("admin_remote"):
        problems.append(
            SettingsError(
                "admin", f"{admin} can be reached from elsewhere; use loopback, unix:/PATH, or add --admin-remote"
            )
        )
    for option, needed in _NEEDS.items():
        if values.get(option.replace("-", "_")) and needed in values and not values[needed]:
            problems.append(SettingsError(option, f"means nothing without --{needed.replace('_', '-')}"))
    if values.get("console") and "admin" in values:
        if admin is None:
            problems.append(SettingsError("console", "is a page on the admin address, and there is none"))
        elif not admin.is_local and not values.get("admin_token_file"):
            why = f"others reach {admin}, so looking takes the token of --admin-token-file"
            problems.append(SettingsError("console", why))


def _read_file(path: Path, problems: list[SettingsError]) -> dict[str, tuple[str, str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(SettingsError("config", f"{path} can't be read: {error.strerror}"))
        return {}
    document, found = read_document(data, str(path))
    problems.extend(SettingsError("config", str(problem)) for problem in found)
    if document is None:
        return {}
    if not isinstance(document, MappingNode):
        problems.append(SettingsError("config", f"{path}: write one OPTION: VALUE a line"))
        return {}
    joints = {option.name: option.joint for option in OPTIONS}
    texts: dict[str, tuple[str, str]] = {}
    for key, node in document.pairs:
        where = f"{path}:{key.line}"
        name = key.text.replace("_", "-")
        if name not in joints:
            problems.append(SettingsError("config", f"{where}: there is no option {key.text!r}"))
        elif isinstance(node, Scalar):
            texts[name] = (node.text, where)
        elif isinstance(node, Sequence) and all(isinstance(item, Scalar) for item in node.items):
            texts[name] = (joints[name].join(item.text for item in node.items if isinstance(item, Scalar)), where)
        else:
            problems.append(SettingsError("config", f"{where}: {name} is a text or a list of texts"))
    return texts
