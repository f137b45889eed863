"""When the agent is asked: on which event, on what condition, and by which of several engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.doctor.findings import Finding, found
from spoa.haproxy_config.acl import ALWAYS, Condition, read_condition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.haproxy_config.acl import Literal
    from spoa.haproxy_config.proxies import Proxy, Rule
    from spoa.haproxy_config.spoe import Engine, Message

__all__ = ["EVENTS", "MESSAGE", "asking_findings", "messages_of", "waits_for_errors"]

MESSAGE: Final = "authorize"
#: Mode of a frontend → the event on which its requests are judged.
EVENTS: Final = {"http": "on-frontend-http-request", "tcp": "on-frontend-tcp-request"}


def messages_of(engine: Engine) -> list[Message]:
    """Return the messages by which an engine asks for a verdict."""
    return [message for name, message in engine.messages.items() if message in engine.sent and name == MESSAGE]


def waits_for_errors(engine: Engine) -> bool:
    """Tell whether an engine asks only what another one has lost."""
    return all(_is_on_error(_condition(message), engine) for message in messages_of(engine))


def asking_findings(
    engine: Engine,
    message: Message,
    frontend: Proxy,
    *,
    is_guarded: bool,
    is_second: bool,
    guard: Rule | None = None,
) -> Iterator[Finding]:
    """Yield what is wrong with when a message is sent.

    Args:
        engine: that sends it.
        message: that asks for a verdict.
        frontend: whose requests it is about.
        is_guarded: whatever has no allow is denied, so that what nobody was asked about is.
        is_second: an engine before this one asks about the same requests, for the same variables.
        guard: the frontend's rule that denies, where it is one of its own.
    """
    conditional = "event-conditional" if is_guarded else "event-leaves-out"
    rules = list(_sending(engine, frontend))
    if rules:
        if guard is not None and all(_follows(rule, guard, frontend) for rule in rules):
            yield found(
                "event-wrong", rules[0].line, f"{frontend.name} asks by {rules[0]}, behind the rule that denies"
            )
        elif not any(rule.condition.terms == ((),) for rule in rules):
            yield found(conditional, rules[0].line, f"{frontend.name} asks only by {rules[0]}")
        return
    line = message.lines.get("event", message.line)
    wanted = EVENTS.get(frontend.mode, "")
    if message.event != wanted:
        yield found("event-wrong", line, f"the event is {message.event or 'missing'}; {frontend.name} needs {wanted}")
        return
    condition = _condition(message)
    if is_second:
        if not _is_on_error(condition, engine):
            words = " ".join(message.condition) or "always"
            yield found("asked-twice", line, f"{engine.agent} asks {words}, behind another engine that has asked")
    elif not _is_bound(condition):
        yield found(conditional, line, f"asked only {' '.join(message.condition)}")


def _sending(engine: Engine, frontend: Proxy) -> Iterator[Rule]:
    """Yield the rules of a frontend that send the message, whatever events there are."""
    groups = {group for group in engine.words("groups") if MESSAGE in engine.groups.get(group, ())}
    for rule in frontend.rules("http-request", "tcp-request content"):
        if rule.action == "send-spoe-group" and rule.words[:1] == (engine.name,) and groups & {*rule.words[1:2]}:
            yield rule


def _follows(rule: Rule, guard: Rule, frontend: Proxy) -> bool:
    """Tell whether a rule comes after the one that denies, which then denies everything."""
    order = frontend.rules(guard.directive)
    return rule in order and order.index(rule) > order.index(guard)


def _condition(message: Message) -> Condition:
    """Return on what a message depends; one that can't be read holds for nothing that is known."""
    line = message.lines.get("event")
    if line is None:
        return ALWAYS
    try:
        return read_condition(line.words[2:], line, {})
    except ValueError:
        return Condition(())


def _is_bound(condition: Condition) -> bool:
    """Tell whether a condition leaves out nothing but paths that are too long."""
    return any(all(map(_bounds_path, term)) for term in condition.terms)


def _is_on_error(condition: Condition, engine: Engine) -> bool:
    """Tell whether a condition holds only where an engine has failed to ask."""
    name = next(iter(engine.words("option", "set-on-error")), "")
    variable = f"txn.{engine.prefix}.{name}"
    return bool(condition.terms) and all(any(_reads(one, variable) for one in term) for term in condition.terms)


def _reads(literal: Literal, variable: str) -> bool:
    tests = literal.acl.tests
    is_read = bool(tests) and all(test.fetch == "var" and ",".join(test.arguments) == variable for test in tests)
    return literal.is_positive and is_read


def _bounds_path(literal: Literal) -> bool:
    short = {"lt", "le"} if literal.is_positive else {"gt", "ge"}
    tests = literal.acl.tests
    return bool(tests) and all(
        (test.fetch, test.match) == ("path", "len") and short.issuperset(test.patterns[:1]) for test in tests
    )
