"""The command line: one module a verb, imported when the verb is used.

`VERBS` is the table: verb → its module below `spoa.cli`, which holds a click command named `command`, and what
`--help` says of it.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from spoa._version import __version__
from spoa.exceptions import PolicyError, SpoaError
from spoa.policy.reading import quoted, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["POLICY_INVALID", "USAGE", "VERBS", "Verb", "main", "verbs"]

#: Exit statuses of every verb; those of one verb only stand with it.
USAGE: Final = 2
POLICY_INVALID: Final = 3


class Verb(NamedTuple):
    """A row of the table: the module below `spoa.cli`, and a sentence for `--help`."""

    module: str
    summary: str


VERBS: Final[Mapping[str, Verb]] = {
    "serve": Verb("serve", "Run the agent."),
    "check": Verb("check", "Validate a policy directory."),
    "fmt": Verb("fmt", "Write policies in one layout."),
    "test": Verb("test", "Run the tests of a policy directory."),
    "explain": Verb("explain", "Say why a request is allowed or denied."),
    "who": Verb("who", "Tell what a certificate is and may reach."),
    "audit": Verb("audit", "Check a hash-chained decision log."),
    "list": Verb("lists", "Look after the lists of a policy."),
    "diff": Verb("diff", "Tell what changes between two policy directories."),
    "replay": Verb("replay", "Judge recorded decisions again under another policy."),
    "fingerprint": Verb("fingerprint", "Print what names a certificate in a list."),
    "haproxy-config": Verb("haproxy_config", "Print the configuration that HAProxy needs."),
    "import": Verb("import_", "Draft a policy from HAProxy's ACLs."),
    "doctor": Verb("doctor", "Prove that HAProxy fails closed."),
    "block": Verb("block", "Refuse a certificate here and now."),
    "unblock": Verb("unblock", "Lift a block."),
    "learn": Verb("learn", "Propose entries from traffic, for review."),
    "promote": Verb("promote", "Make the candidate the active policy."),
    "rollback": Verb("rollback", "Make a kept revision the active policy."),
    "breakglass": Verb("breakglass", "Open a declared switch for a bounded time."),
    "status": Verb("status", "Show what the running agent does."),
    "reload": Verb("reload", "Have the running agent read its policy again."),
    "revocation": Verb("revocation", "Tell whether a certificate is revoked."),
    "monitoring": Verb("monitoring", "Print alerts for Prometheus, a dashboard for Grafana."),
    "pki": Verb("pki", "Make certificates for trying things."),
}


class _Verbs(click.Group):
    """The verbs of the table, none of which is imported before it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the table."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's module and return its command."""
        del ctx
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command: click.Command = importlib.import_module(f"spoa.cli.{verb.module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or end with a usage error that names the likeliest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"there is no verb {quoted(args[0])}{suggestion(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without importing what it names."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


@click.group(
    "spoa-authz",
    cls=_Verbs,
    subcommand_metavar="VERB [ARGUMENTS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Try `spoa-authz VERB --help`. Exit status: 0 fine, 1 bad or denied, 2 usage, 3 policy invalid, "
    "4 policy tests failed, 5 warnings under --strict, 6 something is newly allowed.",
)
@click.version_option(__version__, prog_name="spoa-authz")
def verbs() -> None:
    """Authorize HAProxy's client certificates by policy."""


def main() -> None:
    """Run the command line; never returns. What this package raises on purpose becomes a message and exit 3 or 2."""
    try:
        verbs.main(prog_name="spoa-authz")
    except SpoaError as error:
        for line in str(error).splitlines():
            click.echo(f"spoa-authz: {line}", err=True)
        sys.exit(POLICY_INVALID if isinstance(error, PolicyError) else USAGE)
