"""The arguments of the message `authorize`: which sample of HAProxy's each one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALWAYS_SENT", "SAMPLES", "message_arguments", "omission_notes"]

#: Argument → sample, in the order of the message.
SAMPLES: Final = {
    "cert": "ssl_c_der",
    "used": "ssl_c_used",
    "verify": "ssl_c_verify",
    "resumed": "ssl_fc_is_resumed",
    "src": "src",
    "method": "method",
    "path": "path",
    "host": "req.fhdr(host)",
    "sni": "ssl_fc_sni",
    "tls": "ssl_fc_protocol",
    "id": "unique-id",
}

#: What tells a certificate from none whatever the policy says, and what ties a decision to HAProxy's own log.
ALWAYS_SENT: Final = frozenset({"cert", "used", "verify", "resumed", "id"})

#: Arguments, and what there is not where none of them is sent, beside the conditions that read them.
_LOST: Final = (
    (("path",), "the gate path_not_canonical, and `path` in the agent's decision log"),
    (("host", "sni"), "the gate sni_mismatch, the check that a host is one, and `host` in the agent's decision log"),
    (("method",), "`method` in the agent's decision log"),
    (("src",), "`src` in the agent's decision log"),
    (("tls",), "no gate and no log field"),
)

_HEADER_SAMPLES: Final = {"hdr": "req.fhdr", "hdrcnt": "req.fhdr_cnt"}
#: Comparing the two is a gate, which needs the other one wherever a policy reads one.
_COMPARED: Final = frozenset({"host", "sni"})


def message_arguments(reads: Iterable[str]) -> str:
    """Return the words of an `args` line for a policy that reads these arguments.

    `hdr.<name>` and `hdrcnt.<name>` are headers and how often they came; all others are keys of `SAMPLES`.

    Raises:
        ValueError: an argument that no sample is known for.
    """
    wanted = _sent(reads)
    headers = sorted(wanted - SAMPLES.keys(), key=lambda name: name.partition(".")[::-1])
    words = [f"{name}={sample}" for name, sample in SAMPLES.items() if name in wanted]
    return " ".join([*words, *map(_header_argument, headers)])


def omission_notes(reads: Iterable[str]) -> list[str]:
    """Return, for a policy that reads these arguments, a line for each thing that is off because others are not sent.

    Each line is `<arguments>: <what is off>`; there is none where everything is sent.
    """
    wanted = _sent(reads)
    return [f"{', '.join(names)}: {lost}" for names, lost in _LOST if wanted.isdisjoint(names)]


def _sent(reads: Iterable[str]) -> frozenset[str]:
    wanted = ALWAYS_SENT.union(reads)
    return wanted | _COMPARED if wanted & _COMPARED else wanted


def _header_argument(name: str) -> str:
    kind, _, header = name.partition(".")
    if kind not in _HEADER_SAMPLES or not header:
        raise ValueError(f"no sample is known for the argument {name!r}")
    return f"{name}={_HEADER_SAMPLES[kind]}({header})"
