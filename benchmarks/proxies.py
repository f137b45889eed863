"""HAProxy as it is measured: mTLS, one thread, no server behind it, and one of several ways to authorize a request.

It answers 200 by itself where a request is allowed and 403 otherwise, so that nothing but authorization differs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from benchmarks.policies import services
from benchmarks.programs import AGENT_CORES, Program, wait_until_listening
from spoa.pki import CertificateAuthority, Template

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from benchmarks.certificates import Certificates

__all__ = ["AS_THE_POLICY_READS", "ENGINES", "HAProxy", "write_server_certificate"]

#: What `spoa-authz haproxy-config --policies` sends for a policy that reads what ours does.
AS_THE_POLICY_READS: Final = "cert=ssl_c_der used=ssl_c_used verify=ssl_c_verify src=src method=method path=path"

_CONFIGURATION: Final = """\
global
    nbthread 1
    maxconn 4000
{globals}
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend clients
    bind "127.0.0.1:${{BENCH_PORT}}" accept-proxy ssl crt {folder}/server.pem ca-file {ca} verify required
{rules}
    http-request return status 200 content-type text/plain string ok
"""

_ENGINE: Final = """
backend authz-agents
.if version_atleast(3.1)
    mode spop
.else
    mode tcp
.endif
    server agent1 {agent} {server}
"""

_SPOE: Final = """\
[authz]
spoe-agent authz-agent
    messages authorize
    use-backend authz-agents
    option var-prefix authz
    option set-on-error error
    timeout processing 2s
    timeout hello 2s
    timeout idle 55s
    no option async
    no option send-frag-payload
spoe-message authorize
    args {arguments}
    event on-frontend-http-request
"""

_DENY: Final = (
    "    http-request return status 403 content-type text/plain string no unless "
    "{ var(txn.authz.verdict) -m str allow }"
)
_FINGERPRINT: Final = "ssl_c_der,sha2(256),hex,lower"

_LUA: Final = """\
local listed, unit_of = {{}}, {{}}
for line in io.lines("{listed}") do listed[line] = true end
{services}
local reads, writes = {{ GET = true, HEAD = true }}, {{ GET = true, POST = true }}
core.register_action("authorize", {{ "http-req" }}, function(txn)
    local place, method = txn.f:path():match("^/([^/]+)/"), txn.f:method()
    local may = place == "shared" and reads[method]
        or writes[method] and unit_of[place] and unit_of[place] == txn.f:ssl_c_s_dn("OU")
    if may and listed[txn:get_var("txn.fingerprint")] then
        txn:set_var("txn.authz.verdict", "allow")
    end
end, 0)
"""


def write_server_certificate(folder: Path) -> None:
    """Write what HAProxy shows to clients, which don't look at it."""
    now = int(time.time())
    template = Template(cn=("bench.example.test",), is_ca=True, not_before=now - 3600, not_after=now + 86400 * 30)
    issued = CertificateAuthority.root(template).issued
    (folder / "server.pem").write_bytes(issued.pem + issued.key_pem)


def _nothing(_folder: Path, _listed: Path, _rules: int) -> tuple[str, str]:
    return "", ""


def _acls(_folder: Path, listed: Path, rules: int) -> tuple[str, str]:
    """Return what an operator would write by hand for the same services: a line for each."""
    allow = "    http-request set-var(txn.authz.verdict) str(allow) if"
    lines = [
        f"    acl listed {_FINGERPRINT} -m str -f {listed}",
        "    http-request set-var(txn.ou) ssl_c_s_dn(OU)",
        f"{allow} {{ path_beg /shared/ }} {{ method GET HEAD }} listed",
        *(
            f"{allow} {{ path_beg /{one.name}/ }} {{ var(txn.ou) -m str {one.unit} }} {{ method GET POST }} listed"
            for one in services(rules)
        ),
        _DENY,
    ]
    return "", "\n".join(lines)


def _lua(folder: Path, listed: Path, rules: int) -> tuple[str, str]:
    script = folder / "authorize.lua"
    names = "\n".join(f'unit_of["{one.name}"] = "{one.unit}"' for one in services(rules))
    script.write_text(_LUA.format(listed=listed, services=names))
    rule = f"    http-request set-var(txn.fingerprint) {_FINGERPRINT}\n    http-request lua.authorize\n{_DENY}"
    return f"    lua-load {script}", rule


#: Ways to authorize without an agent: what stands in `global`, and what in the frontend.
ENGINES: Final[Mapping[str, Callable[[Path, Path, int], tuple[str, str]]]] = {
    "no authorization": _nothing,
    "native ACLs": _acls,
    "Lua": _lua,
}


class HAProxy(Program):
    """A HAProxy, on the measured core unless it is told others.

    Args:
        binary: of any version.
        folder: for its files, with the server's certificate in it.
        certificates: whose issuer its clients come from.
        within: what stands in `global`, and what in the frontend, where no agent is asked.
        agent: the address of one, or empty.
        arguments: what is sent to it.
        server: what stands behind its address.
        cores: where it runs.
    """

    def __init__(
        self,
        binary: Path,
        folder: Path,
        certificates: Certificates,
        *,
        within: tuple[str, str] = ("", ""),
        agent: str = "",
        arguments: str = AS_THE_POLICY_READS,
        server: str = "",
        cores: Collection[int] = AGENT_CORES,
    ) -> None:
        globals_, rules = within
        if agent:
            (folder / "spoe.conf").write_text(_SPOE.format(arguments=arguments))
            rules = f"    filter spoe engine authz config {folder}/spoe.conf\n{_DENY}"
        text = _CONFIGURATION.format(globals=globals_, folder=folder, ca=certificates.ca, rules=rules)
        text += _ENGINE.format(agent=agent, server=server) if agent else ""
        (folder / "haproxy.cfg").write_text(text)
        command = [str(binary), "-db", "-f", str(folder / "haproxy.cfg")]
        super().__init__("haproxy", command, output=folder / "haproxy.log", cores=cores)
        try:
            wait_until_listening(self.port, self.process)
        except BaseException:
            self.close()
            raise
