"""What the agent is asked, when, how long HAProxy waits, and whether it fits: the SPOE file and the agents' backend."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from spoa.doctor.asking import MESSAGE, asking_findings, messages_of
from spoa.doctor.findings import Finding, found
from spoa.haproxy_config.arguments import SAMPLES
from spoa.haproxy_config.reading import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.haproxy_config.proxies import Proxies, Proxy, Rule
    from spoa.haproxy_config.reading import Configuration, Line
    from spoa.haproxy_config.spoe import Engine, Message

__all__ = ["agent_findings", "engine_findings", "milliseconds", "patience_findings"]

_MULTIPLEXER: Final = (3, 1)
_UNITS: Final = {"us": 0.001, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d+)(us|ms|s|m|h|d)?")
_HEADER: Final = re.compile(r"(hdr|hdrcnt)\.(.+)")
_HEADER_SAMPLES: Final = {"hdr": "req.fhdr", "hdrcnt": "req.fhdr_cnt"}
#: Milliseconds: the agent's --deadline unless told otherwise, and what a request may be kept waiting.
_DEADLINE: Final = 80
_LONG: Final = 1_000
#: Bytes: HAProxy's buffer, the agent's frame unless told otherwise, and a certificate with the other arguments.
_BUFFER: Final = 16_384
_AGENT_FRAME: Final = 65_532
_BESIDE_PATH: Final = 4_096
_PREFIX: Final = 4


def milliseconds(text: str) -> float | None:
    """Return a duration of HAProxy's in milliseconds, or None where it is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2] or "ms"] if match else None


def engine_findings(
    engine: Engine,
    frontend: Proxy,
    configuration: Configuration,
    version: str,
    *,
    is_guarded: bool = True,
    is_second: bool = False,
    guard: Rule | None = None,
) -> Iterator[Finding]:
    """Yield what is wrong with an engine that a frontend asks.

    Args:
        engine: that is asked.
        frontend: that asks.
        configuration: whose settings bound what is sent.
        version: of HAProxy.
        is_guarded: the frontend denies whatever has no allow.
        is_second: another engine before this one asks the same.
        guard: the frontend's rule that does, where it is one of its own.
    """
    assert engine.line is not None
    is_legacy = number_of(version) < _MULTIPLEXER
    messages = messages_of(engine)
    if not messages:
        yield found("message-missing", engine.line, f"{engine.agent} sends no message {MESSAGE}")
    for message in messages:
        yield from asking_findings(engine, message, frontend, is_guarded=is_guarded, is_second=is_second, guard=guard)
        yield from _arguments(message)
        yield from _sizes(engine, message, frontend, configuration, is_legacy=is_legacy)
    yield from _times(engine, frontend)
    if engine.setting("option", "set-on-error") is None:
        yield found("no-error-variable", engine.line, f"{engine.agent} has no `option set-on-error`")
    if is_legacy:
        yield from _legacy(engine)


def _arguments(message: Message) -> Iterator[Finding]:
    line = message.lines.get("args", message.line)
    missing = [name for name in ("cert", "verify") if name not in message.arguments]
    if missing:
        yield found("argument-missing", line, f"{' and '.join(missing)} not sent")
    missing = [name for name in ("used", "resumed") if name not in message.arguments]
    if missing:
        yield found("resumption-not-sent", line, f"{' and '.join(missing)} not sent")
    for name, sample in message.arguments.items():
        header = _HEADER.fullmatch(name)
        wanted = f"{_HEADER_SAMPLES[header[1]]}({header[2]})" if header else SAMPLES.get(name, sample)
        if sample == wanted:
            continue
        fetch, _, converters = sample.partition(",")
        is_shortened = fetch == wanted and converters.startswith(("bytes", "field", "word"))
        code = "argument-shortened" if is_shortened else "argument-sample"
        yield found(code, line, f"{name}={sample}; the agent expects {name}={wanted}")


def _sizes(
    engine: Engine, message: Message, frontend: Proxy, configuration: Configuration, *, is_legacy: bool
) -> Iterator[Finding]:
    assert engine.line is not None
    buffer_line = next(reversed(configuration.settings("tune.bufsize")), None)
    buffer = _integer(buffer_line) or _BUFFER
    frame_line = engine.setting("max-frame-size")
    frame = _integer(frame_line) or buffer - _PREFIX
    place = frame_line or buffer_line or engine.line
    if frame > buffer - _PREFIX:
        yield found("frame-too-large", place, f"max-frame-size {frame} with a buffer of {buffer}")
    if buffer < _BUFFER and not is_legacy and buffer_line is not None:
        yield found("buffer-too-small", buffer_line, f"tune.bufsize is {buffer}")
    if frame > _AGENT_FRAME and buffer_line is not None:
        yield found("buffer-above-agent", place, f"frames of {frame} bytes; the agent takes {_AGENT_FRAME}")
    longest = _longest_path(message)
    sends_path = "path" in message.arguments and frontend.mode == "http"
    if sends_path and longest is None:
        yield found("path-unbounded", message.lines.get("event", message.line), "no bound on the path's length")
    if min(frame, buffer - _PREFIX) < _BESIDE_PATH + (longest or 0) * sends_path:
        what = f"frames of {frame} bytes; a path may have {longest or 0}, the rest needs {_BESIDE_PATH}"
        yield found("frame-budget", place, what)


def _longest_path(message: Message) -> int | None:
    words = message.condition
    if "path_len" in words:
        after = words[words.index("path_len") + 1 :]
        return next((int(word) for word in after if word.isdigit()), None)
    return None


def _integer(line: Line | None) -> int | None:
    text = line.texts[1] if line is not None and len(line.texts) > 1 else ""
    return int(text) if text.isdigit() else None


def _times(engine: Engine, frontend: Proxy) -> Iterator[Finding]:
    assert engine.line is not None
    line = engine.setting("timeout", "processing")
    text = line.texts[2] if line is not None and len(line.texts) > 2 else ""  # noqa: PLR2004 -- two words before it
    processing = milliseconds(text)
    if line is None or not processing:
        yield found("timeout-missing", line or engine.line, f"{engine.agent} has no `timeout processing`")
        return
    for what in ("client", "http-request"):
        other = frontend.setting("timeout", what)
        patience = milliseconds(other.texts[2]) if other is not None and len(other.texts) > 2 else None  # noqa: PLR2004
        if patience and processing >= patience and other is not None:
            message = f"timeout processing {text}, but timeout {what} {other.texts[2]}"
            yield found("timeout-beyond-client", line, message)
            return
    if processing > _LONG:
        yield found("timeout-long", line, f"timeout processing {text}")
    elif processing <= _DEADLINE:
        yield found("timeout-below-deadline", line, f"timeout processing {text}")


def patience_findings(frontend: Proxy) -> Iterator[Finding]:
    """Yield what lets a client keep a connection without ever finishing its request."""
    line = frontend.setting("timeout", "http-request")
    given = milliseconds("".join(line.texts[2:3])) if line is not None else None
    if frontend.mode == "http" and not given:
        place = line or frontend.section.line
        yield found("slow-requests", place, f"{frontend.name} has no `timeout http-request`")


def _legacy(engine: Engine) -> Iterator[Finding]:
    assert engine.line is not None
    for option, code in (("send-frag-payload", "fragments-on"), ("async", "async-on")):
        if engine.setting("no", "option", option) is None:
            yield found(code, engine.line, f"`option {option}` is on")
    line = engine.setting("maxerrrate")
    if line is not None:
        yield found("events-skipped", line, str(line))


def agent_findings(engine: Engine, proxies: Proxies, version: str, *, is_unverified: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with the backend that an engine's agents are in.

    `is_unverified` says that the global section has HAProxy verify no server unless told.
    """
    assert engine.line is not None
    line = engine.setting("use-backend")
    name = "".join(line.texts[1:2]) if line is not None else ""
    backend = proxies.backends.get(name)
    if backend is None:
        what = f"there is no backend {name}" if name else f"{engine.agent} has no `use-backend`"
        yield found("agents-missing", line or engine.line, what)
        return
    place = backend.section.line
    servers = backend.lines("server")
    is_legacy = number_of(version) < _MULTIPLEXER
    if not servers:
        yield found("agents-missing", place, f"backend {name} has no server")
    mode = backend.setting("mode") or place
    if backend.mode not in {"tcp", "spop"} or (backend.mode == "spop" and is_legacy):
        yield found("agents-mode", mode, f"backend {name} is in mode {backend.mode}, for HAProxy {version}")
    elif backend.mode == "tcp" and not is_legacy:
        yield found("agents-reconnect", mode, f"backend {name} is in mode tcp")
    is_checked = any("check" in word.texts for word in (*servers, *backend.lines("default-server")))
    if servers and not (is_checked and backend.has_option("spop-check")):
        yield found("agents-unchecked", servers[0], f"backend {name} doesn't check its agents")
    for server in servers if not is_legacy else []:
        if "maxconn" in server.texts:
            yield found("agents-maxconn", server, str(server))
    for server in servers:
        yield from _secrecy_findings(server, backend, is_unverified=is_unverified)


def _secrecy_findings(server: Line, backend: Proxy, *, is_unverified: bool) -> Iterator[Finding]:
    """Yield what lets another take an agent's place though TLS is spoken with it."""
    words = [*(word for line in backend.lines("default-server") for word in line.texts), *server.texts]
    if "ssl" not in words:
        return
    said = [after for word, after in pairwise(words) if word == "verify"]
    if (said[-1] if said else "none" if is_unverified else "required") != "required":
        yield found("agents-unverified", server, str(server))
    elif not {"verifyhost", "sni"} & set(words):
        yield found("agents-nameless", server, str(server))
