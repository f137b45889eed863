"""Everything that the doctor can find: its code, how grave it is, what can happen, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.haproxy_config.reading import Line

__all__ = ["FINDINGS", "Finding", "Kind", "Severity", "found"]


class Severity(enum.StrEnum):
    """How grave a finding is.

    `open` lets requests through that no policy allowed; `broken` denies or misjudges what should pass; a `warning` is
    neither, today.
    """

    OPEN = "open"
    BROKEN = "broken"
    WARNING = "warning"


class Kind(NamedTuple):
    """A row of the table: what can happen, and what to do."""

    severity: Severity
    happens: str
    remedy: str


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing found.

    Attributes:
        file, line: where; line 0 is a file as a whole.
        code: a key of `FINDINGS`.
        message: what stands there.
    """

    file: str
    line: int
    code: str
    message: str

    @property
    def kind(self) -> Kind:
        """The row of the table."""
        return FINDINGS[self.code]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind.severity} {self.code}: {self.message}"


def found(code: str, line: Line, message: str) -> Finding:
    """Return a finding at a line."""
    return Finding(line.file, line.number, code, message)


_DENY: Final = "`http-request deny unless { var(txn.authz.verdict) -m str allow }`"

FINDINGS: Final[Mapping[str, Kind]] = {
    # -- the verdict ---------------------------------------------------------------------------------------------
    "no-verdict-rule": Kind(
        Severity.OPEN,
        "Requests reach a server whatever the agent says, and also when it says nothing.",
        f"Have the frontend say `from authz-enforced`, or add {_DENY} before its other rules.",
    ),
    "verdict-rule-conditional": Kind(
        Severity.OPEN,
        "The rule that denies has a further condition, so that requests pass which that doesn't cover.",
        f"Take the condition away: {_DENY} must hold for every request.",
    ),
    "denies-only-deny": Kind(
        Severity.OPEN,
        "Only an explicit deny is denied: a dead agent, a timeout and an error leave no verdict, and pass.",
        f"Test for the allow: {_DENY}.",
    ),
    "verdict-matched-loosely": Kind(
        Severity.OPEN,
        "Values other than exactly `allow` pass for an allow; with `-m found` a deny does.",
        "Compare with `-m str allow` and nothing else.",
    ),
    "verdict-scope": Kind(
        Severity.BROKEN,
        "The agent sets its variables in the scope `txn`. Another one is never set by it, or outlives the request: a "
        "verdict in `sess` would count for all that follow on the connection.",
        "Write `txn.` before the prefix, everywhere.",
    ),
    "prefix-mismatch": Kind(
        Severity.BROKEN,
        "The rules read variables that the engine doesn't set, so that everything is denied.",
        "Have `option var-prefix` of the SPOE file and the variables of the rules say the same; shipped is `authz`.",
    ),
    "verdict-overwritten": Kind(
        Severity.OPEN,
        "A rule of HAProxy's sets the verdict that the agent alone should set.",
        "Remove the rule; what must always pass is an allow rule of the policy.",
    ),
    "variable-overwritten": Kind(
        Severity.OPEN,
        "HAProxy itself sets or unsets a variable of the agent's answer: the path that the server gets, the route, or "
        "the identity that servers are told may be what the client chose.",
        "Remove it, or take a variable of another prefix; only the SPOE engine may change the agent's.",
    ),
    "accepted-before-verdict": Kind(
        Severity.OPEN,
        "An earlier rule ends the rules for some requests, so that the one which denies is never reached.",
        "Move it below the rule that denies, or make it an allow rule of the policy.",
    ),
    "service-before-verdict": Kind(
        Severity.WARNING,
        "HAProxy answers these requests itself, to everyone, before the verdict is looked at.",
        "Serve them on a frontend of their own, or move the rule below the one that denies.",
    ),
    "nobody-asks": Kind(
        Severity.OPEN,
        "No frontend asks an agent: everything is served to everyone.",
        "Put `filter spoe engine authz config spoe-authz.conf` and `from authz-enforced` into the frontend.",
    ),
    "no-filter": Kind(
        Severity.BROKEN,
        "The frontend wants a verdict that nobody is asked for, so that everything is denied.",
        "Add `filter spoe engine authz config spoe-authz.conf`.",
    ),
    # -- ways around ---------------------------------------------------------------------------------------------
    "backend-unjudged": Kind(
        Severity.OPEN,
        "A backend behind the agent can also be reached through a frontend that doesn't ask it.",
        "Have that frontend ask the agent, or give it a backend of its own.",
    ),
    "backend-perhaps-unjudged": Kind(
        Severity.WARNING,
        "A frontend that doesn't ask the agent leads to a backend that the policy, not known here, may name too.",
        "Look with `--policies DIR`; let the frontend ask the agent, or say `from authz-public` if it serves all.",
    ),
    "route-falls-through": Kind(
        Severity.OPEN,
        "A route that names no backend of this configuration falls through to a server that the policy didn't name.",
        "End in `default_backend authz-denied`; say what a policy without routes means by `unless { … -m found }`.",
    ),
    "route-unguarded": Kind(
        Severity.WARNING,
        "A policy's route may name the agents' own backend, the statistics, or a backend by its number.",
        "Deny where the route is one of those, as `authz_route_reserved` of the shipped configuration does.",
    ),
    "route-from-client": Kind(
        Severity.OPEN,
        "What the client sent names the backend: what was allowed for one server is served by any other of its choice.",
        "Have the policy's `routes` name the backend, and say `use_backend %[var(txn.authz.route)]`.",
    ),
    "route-not-judged": Kind(
        Severity.WARNING,
        "A map or a variable of HAProxy's chooses the backend, perhaps by what the client sent; the policy doesn't "
        "know which one it allows.",
        "Have the policy's `routes` name the backend, or make sure that each of them may serve what is allowed.",
    ),
    "route-missing": Kind(
        Severity.WARNING,
        "The policy's routes name a backend that this configuration doesn't have: who is routed there gets 403.",
        "Add the backend, or correct its name in the policy.",
    ),
    "rewritten-after-verdict": Kind(
        Severity.OPEN,
        "The server gets another path or method than was judged.",
        "Don't rewrite behind the agent; the one exception is `set-path %[var(txn.authz.path)]`.",
    ),
    "rewritten-in-backend": Kind(
        Severity.WARNING,
        "The server gets another path or method than was judged. Where only a fixed prefix changes that is harmless.",
        "Make sure that no two judged paths become the same one, or let the server have the path as it was judged.",
    ),
    "normalised-path-ignored": Kind(
        Severity.OPEN,
        "The policy judges the normalised path, and the server gets the one that the client wrote.",
        "Add `http-request set-path %[var(txn.authz.path)] if { var(txn.authz.path) -m found }`.",
    ),
    "override-header-passes": Kind(
        Severity.OPEN,
        "Frameworks take the method or the path from headers like these, so that they serve what nobody judged.",
        "Delete the family, as `authz-enforced` of the shipped configuration does.",
    ),
    "spoofable-header": Kind(
        Severity.OPEN,
        "A client can send a header itself by which HAProxy tells servers who the client is, and pass for another.",
        "Delete it, also with `_` and `.` in the place of `-`, before it is set; see `authz-enforced`.",
    ),
    "identity-from-client": Kind(
        Severity.OPEN,
        "A header by which servers know the client is set from what the client wrote, so that it may pass for another.",
        "Set it from the certificate, by `ssl_c_s_dn(cn)`, or from the agent's `var(txn.authz.identity)`.",
    ),
    "client-header-passes": Kind(
        Severity.WARNING,
        "Servers that believe such a header take the client for whom it says.",
        "Delete the family, as `authz-enforced` of the shipped configuration does.",
    ),
    "lenient-parsing": Kind(
        Severity.OPEN,
        "HAProxy passes on requests that it and the server may read differently.",
        "Remove the option.",
    ),
    "no-client-certificate": Kind(
        Severity.WARNING,
        "Nobody is asked for a certificate here. The agent is told so and denies all as `no_certificate`, unless the "
        "policy says `no_certificate: anonymous`; then they may do what it grants `anonymous`, and no more.",
        "Add `ca-file … verify required`, or `verify optional`, to the bind line; look with `--policies DIR`.",
    ),
    "nobody-gets-in": Kind(
        Severity.BROKEN,
        "The policy denies whoever shows no certificate, and nobody is asked for one: everything is denied.",
        "Add `ca-file … verify required` to the bind line.",
    ),
    "certificate-not-asked": Kind(
        Severity.OPEN,
        "Nobody is asked for a certificate, and no rule denies what has no allow: requests of anybody reach a server.",
        f"Add `ca-file … verify required` to the bind line, and {_DENY}.",
    ),
    # -- the engine ----------------------------------------------------------------------------------------------
    "engine-missing": Kind(
        Severity.BROKEN,
        "HAProxy doesn't start, or asks no agent.",
        "Name the SPOE file and an engine in it: `filter spoe engine authz config spoe-authz.conf`.",
    ),
    "message-missing": Kind(
        Severity.BROKEN,
        "The agent is sent no message `authorize`, so that it gives no verdict and everything is denied.",
        "Have the agent section say `messages authorize`, and the file have `spoe-message authorize`.",
    ),
    "event-wrong": Kind(
        Severity.BROKEN,
        "The agent is asked at another time than before the rules that want its verdict, or never.",
        "Write `event on-frontend-http-request`, in `mode tcp` `event on-frontend-tcp-request`.",
    ),
    "event-conditional": Kind(
        Severity.WARNING,
        "Where the condition doesn't hold nobody is asked. No answer is no allow, so the rule that denies refuses such "
        "requests: none gets through by this, and those that the policy would allow don't either.",
        "Have no condition but `unless { path_len gt 8192 }`.",
    ),
    "event-leaves-out": Kind(
        Severity.OPEN,
        "Where the condition doesn't hold nobody is asked, and no rule denies what nobody was asked about: such "
        "requests reach a server.",
        f"Have no condition but `unless {{ path_len gt 8192 }}`, and add {_DENY}.",
    ),
    "asked-twice": Kind(
        Severity.WARNING,
        "A second engine asks about requests that the first one has an answer to: the agents have twice the load, "
        "clients wait twice, and the later answer counts.",
        "Ask again only what was lost: `if { var(txn.authz.error) -m int 2 256:258 }`, as the shipped `authz-again`.",
    ),
    "argument-missing": Kind(
        Severity.BROKEN,
        "Without `cert` and `verify` every message is malformed, and everything is denied.",
        "Take the `args` line of the shipped file, or of `spoa-authz haproxy-config`.",
    ),
    "argument-not-sent": Kind(
        Severity.BROKEN,
        "The policy reads what HAProxy doesn't send: what it restricts is denied, what it grants is not granted.",
        "Print the `args` line that this policy needs with `spoa-authz haproxy-config --policies DIR`.",
    ),
    "argument-sample": Kind(
        Severity.OPEN,
        "The agent is told something else than it takes the argument for; it may be what the client chose to say.",
        "Take the sample of the shipped file.",
    ),
    "argument-shortened": Kind(
        Severity.OPEN,
        "Half a path is another path: the agent judges what the server never gets.",
        "Send it whole, and refuse what is too long: `event on-frontend-http-request unless { path_len gt 8192 }`.",
    ),
    "resumption-not-sent": Kind(
        Severity.OPEN,
        "On a resumed session the agent can't tell a client whose certificate is not at hand from one without any.",
        "Send `used=ssl_c_used` and `resumed=ssl_fc_is_resumed`. Tickets may then stay: every request is judged.",
    ),
    "no-error-variable": Kind(
        Severity.WARNING,
        "What the engine could not do is denied as 403 without a reason instead of 503.",
        "Add `option set-on-error error`.",
    ),
    # -- time and size -------------------------------------------------------------------------------------------
    "timeout-missing": Kind(
        Severity.BROKEN,
        "A request waits for an agent that doesn't answer until the client gives up.",
        "Add `timeout processing 100ms` to the agent section.",
    ),
    "timeout-beyond-client": Kind(
        Severity.BROKEN,
        "The client's time is up before HAProxy stops waiting for the agent.",
        "Keep `timeout processing` far below `timeout client` and `timeout http-request`; shipped is 100 ms.",
    ),
    "timeout-long": Kind(
        Severity.WARNING,
        "While the agent is away every request waits so long before it is denied.",
        "The agent answers within its --deadline of 80 ms; 100 ms will do.",
    ),
    "timeout-below-deadline": Kind(
        Severity.WARNING,
        "HAProxy stops waiting before the agent's own deadline, so that a slow answer is a 503 without a reason.",
        "Keep `timeout processing` above the agent's --deadline (80 ms unless told otherwise).",
    ),
    "slow-requests": Kind(
        Severity.WARNING,
        "A client that sends its request a byte at a time keeps a connection for as long as it likes (slow loris), "
        "since `timeout client` begins anew with each byte; enough of them keep all others out.",
        "Add `timeout http-request 10s` to the frontend or its defaults, as the shipped configuration does.",
    ),
    "frame-too-large": Kind(
        Severity.BROKEN,
        "A frame can't be larger than a buffer less 4 bytes; HAProxy doesn't start.",
        "Leave `max-frame-size` out.",
    ),
    "frame-budget": Kind(
        Severity.BROKEN,
        "A certificate, a long path and the headers don't fit into one frame; such requests are denied as 503.",
        "Leave `max-frame-size` out and `tune.bufsize` at 16384, or bound the path: `unless { path_len gt N }`.",
    ),
    "path-unbounded": Kind(
        Severity.WARNING,
        "A path as long as a buffer doesn't fit into a frame, and is denied as 503 instead of 400.",
        "Write `event on-frontend-http-request unless { path_len gt 8192 }`.",
    ),
    "buffer-too-small": Kind(
        Severity.BROKEN,
        "Since 3.1 the health check announces more than it accepts back, and marks the agents down.",
        "Leave `tune.bufsize` at 16384 or above.",
    ),
    "buffer-above-agent": Kind(
        Severity.WARNING,
        "Requests larger than the agent's own limit don't fit into a frame and are denied as 503.",
        "Start the agent with a --max-frame-size of `tune.bufsize` less 4.",
    ),
    "fragments-on": Kind(
        Severity.WARNING,
        "Before 3.1 one request too large for a frame fails all others under way with it.",
        "Add `no option send-frag-payload`.",
    ),
    "async-on": Kind(
        Severity.WARNING,
        "Before 3.1 requests on a connection to the agent that breaks are not failed at once.",
        "Add `no option async`.",
    ),
    "events-skipped": Kind(
        Severity.WARNING,
        "Before 3.1 HAProxy stops asking above so many errors and says nothing; all is denied meanwhile.",
        "Remove `maxerrrate`.",
    ),
    # -- the agents ----------------------------------------------------------------------------------------------
    "agents-missing": Kind(
        Severity.BROKEN,
        "There is no agent to ask: everything is denied, or HAProxy doesn't start.",
        "Have `use-backend` of the SPOE file name a backend with a server for each agent.",
    ),
    "agents-mode": Kind(
        Severity.BROKEN,
        "HAProxy can't speak SPOP to this backend.",
        "Write `mode spop` from 3.1 on, `mode tcp` before.",
    ),
    "agents-reconnect": Kind(
        Severity.WARNING,
        "Since 3.1 a `mode tcp` backend that stands before the frontend gets a connection for each request.",
        "Write `mode spop`.",
    ),
    "agents-unchecked": Kind(
        Severity.WARNING,
        "A dead or frozen agent stays in service, and each request waits for it.",
        "Add `option spop-check` and `default-server check inter 500ms fall 2 rise 1`.",
    ),
    "agents-maxconn": Kind(
        Severity.WARNING,
        "Since 3.1 `maxconn` bounds the requests under way, not the connections; the rest queue up and fail.",
        "Remove `maxconn` from the agents' servers.",
    ),
    "agents-unverified": Kind(
        Severity.OPEN,
        "HAProxy believes whoever answers at the agent's address, whatever it shows, and that can allow anything.",
        "Write `verify required`, `ca-file` and `verifyhost` on the agents' servers.",
    ),
    "agents-nameless": Kind(
        Severity.WARNING,
        "Any certificate for servers that the CA has signed passes for the agent's.",
        "Write `verifyhost NAME`, or have a CA for nothing else.",
    ),
    "agent-unreachable": Kind(
        Severity.WARNING,
        "While no agent answers, everything is denied.",
        "Start it: `spoa-authz serve --policies DIR --listen ADDRESS`.",
    ),
    # -- the file ------------------------------------------------------------------------------------------------
    "unreadable": Kind(
        Severity.BROKEN,
        "HAProxy doesn't start, and what stands there could not be examined.",
        "Correct the line; `haproxy -c -f FILE` says what HAProxy thinks of it.",
    ),
    "line-joined": Kind(
        Severity.WARNING,
        "HAProxy knows no continued lines and refuses the file; they were examined as one line.",
        "Write it as one line.",
    ),
}
