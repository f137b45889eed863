"""HAProxy's configuration, as `import` and `doctor` read it."""

from __future__ import annotations

from typing import Final

from spoa.doctor import Needs, examine
from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.migration.drafting import choose_frontend, draft_policy, policy_of
from spoa.pem import write_block
from tests.fuzz.authority import AUTHORITY
from tests.fuzz.target import Target, told
from tests.migration.configurations import NOW, reading

__all__ = ["DOCTOR", "IMPORTER"]

_LIST: Final = b"ab" * 32 + b"\n# a comment\n/admin\n10.0.0.0/8\n"
_CA: Final = write_block("CERTIFICATE", AUTHORITY.issued.der)
_ENVIRONMENT: Final = {"HOME": "/root", "PORT": "443"}
_NEEDS: Final = Needs(frozenset({"cert", "verify", "path", "host", "sni"}), ("a", "b"), is_normalised=True)


def _import(data: bytes) -> None:
    """Whatever a configuration says, the draft is a policy that loads."""
    # Bytes that are no UTF-8 can't be said in YAML: such a draft does not load, which `check` says.
    text = data.decode("utf-8", "replace")
    configuration = read_configuration([("edge.cfg", text)], version="3.2", environment=_ENVIRONMENT)
    proxies = read_proxies(configuration)
    frontend = choose_frontend(proxies, "")
    draft = draft_policy(configuration, proxies, frontend, reading({"list": _LIST, "ca.pem": _CA}), NOW)
    for note in draft.notes:
        told(ValueError(note.code + str(note.line)))
    policy_of(draft, NOW)


def _examine(data: bytes) -> None:
    """Whatever a configuration says, each finding has a remedy.

    The configuration and the SPOE file that it names are one input, parted by a line of dashes.
    """
    configuration, _, engine = data.decode("utf-8", "surrogateescape").partition("\n---\n")
    examination = examine(
        [("edge.cfg", configuration)],
        lambda name, _: (name, engine) if engine else None,
        version="3.2",
        environment=_ENVIRONMENT,
        needs=_NEEDS,
    )
    for finding in examination.findings:
        assert finding.kind.remedy


_WORDS: Final = (
    *(
        b"frontend ",
        b"backend ",
        b"listen ",
        b"defaults",
        b"global",
        b"bind :443 ssl ",
        b"verify optional",
        b"ca-file ",
    ),
    *(
        b"http-request deny ",
        b"http-request allow ",
        b"tcp-request content reject ",
        b"use_backend ",
        b"default_backend ",
    ),
    *(
        b"acl a ",
        b" if ",
        b" unless ",
        b" { ",
        b" } ",
        b"!a",
        b" or ",
        b"path_beg ",
        b"ssl_c_s_dn(cn) ",
        b"ssl_c_sha1,hex ",
    ),
    *(b"-m str ", b"-i ", b"-f list ", b"src ", b"method ", b"hdr(host) ", b"filter spoe engine authz config e.conf"),
    *(b"var(txn.authz.verdict) -m str allow", b"[authz]\nspoe-agent a", b"spoe-message authorize", b"args ", b"event "),
    *(
        b".if ",
        b".endif",
        b"version_atleast(3.1)",
        b"option set-on-error error",
        b"option var-prefix authz",
        b"mode http",
    ),
    *(b"${HOME}", b"\\", b'"', b"'", b"http-request set-header X-A %[", b"send-spoe-group", b"timeout processing 1s"),
)
IMPORTER: Final = Target("importer", _import, (LookupError,), longest=1024, words=_WORDS)
DOCTOR: Final = Target("doctor", _examine, longest=3200, words=_WORDS)
