"""One request judged by the agent's own code and by the second evaluator, and where the two part."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spoa.adapter import MESSAGE, read_request
from spoa.assurance import disagreeing
from spoa.authorizer import Subject
from spoa.blocks import Block, BlockList
from spoa.exceptions import PolicyError
from spoa.facts import ABSENT, UNAVAILABLE
from spoa.facts import Certificate as Said
from spoa.loading import load_policy
from tests.differential.second_evaluator import RefusedError
from tests.differential.second_evaluator import judge as judge_again
from tests.differential.second_evaluator import load_policy as load_again
from tests.differential.second_evaluator.identities import EKU_OIDS, attribute_oid
from tests.differential.second_evaluator.words import MISSING, NULL, UNKNOWN, Certificate, Request, World
from tests.wire import item, message, string, varint

if TYPE_CHECKING:
    from pathlib import Path

    from spoa.authorizer import Judgement, Policy
    from spoa.facts import Request as Asked
    from tests.differential.drawn_certificates import Client
    from tests.differential.second_evaluator.loading import Policy as SecondPolicy
    from tests.differential.second_evaluator.words import Verdict

__all__ = ["Twice", "difference", "load_twice"]

_NULL: Final = b"\0"
_TEXTS: Final = ("method", "path", "host", "sni", "tls")
_KEYS: Final = {"rsa": "RSA", "dsa": "DSA", "ec": "EC"}


@dataclass
class Twice:
    """A policy as both have read it."""

    first: Policy
    second: SecondPolicy


def load_twice(directory: Path, now: float) -> tuple[Twice | None, str, str]:
    """Load a policy directory by both; with it, why either refused it (empty where it did not)."""
    refused, refused_again = "", ""
    try:
        first = load_policy(directory, now=now)
    except PolicyError as error:
        refused = "; ".join(map(str, error.problems))
    try:
        second = load_again(directory)
    except RefusedError as error:
        refused_again = str(error) or "refused"
    return (None if refused or refused_again else Twice(first, second)), refused, refused_again


# -- as HAProxy would write it ----------------------------------------------------------------------------------------


def _typed(value: Any) -> bytes:
    if value is NULL:
        return _NULL
    if isinstance(value, bool):
        return b"\x11" if value else b"\x01"
    if isinstance(value, int):
        return b"\x04" + varint(value)
    return b"\x08" + string(value.encode("latin-1"))


def _source(text: str) -> bytes:
    packed = ipaddress.ip_address(text).packed
    return (b"\x06" if len(packed) == 4 else b"\x07") + packed


def payload(request: Request, der: bytes | None) -> bytes:
    """Write a request as the payload of a NOTIFY."""
    arguments = []
    if request.cert is not MISSING:
        arguments.append(item(b"cert", _NULL if der is None else b"\x09" + string(der)))
    for name in ("used", "verify", "resumed", *_TEXTS):
        value = getattr(request, name)
        if value is not MISSING:
            arguments.append(item(name.encode(), _typed(value)))
    if request.src is not MISSING:
        arguments.append(item(b"src", _NULL if request.src is NULL else _source(request.src)))
    for name, value in request.headers.items():
        text = b"twice" if value is UNKNOWN else b"" if value is NULL else value.encode()
        arguments.append(item(b"hdr." + name.encode(), _NULL if value is NULL else b"\x08" + string(text)))
        count = 2 if value is UNKNOWN else 0 if value is NULL else 1
        arguments.append(item(b"hdrcnt." + name.encode(), _typed(count)))
    return message(MESSAGE, *arguments)


def _known(value: Any, read: Any) -> Any:
    return UNAVAILABLE if value is UNKNOWN else read(value)


def _oids(values: tuple[str, ...]) -> Any:
    return tuple(EKU_OIDS.get(one, one) for one in values) or ABSENT


def said(certificate: Certificate) -> Said:
    """Return a made-up certificate in the agent's own words."""
    subject: dict[str, tuple[str, ...]] = {}
    for name, value in certificate.subject:
        oid = attribute_oid(name)
        subject[oid] = (*subject.get(oid, ()), value)
    kind, bits = certificate.key
    return Said(
        sha256=_known(certificate.fingerprint, bytes.fromhex),
        sha1=_known(certificate.sha1, bytes.fromhex),
        spki_sha256=_known(certificate.spki, bytes.fromhex),
        serial=_known(certificate.serial, int),
        subject=subject,
        dns_san=certificate.dns_san,
        uri_san=certificate.uri_san,
        email_san=certificate.email_san,
        ip_san=tuple(ipaddress.ip_address(one).packed for one in certificate.ip_san),
        eku=_known(certificate.eku, _oids),
        policy_oids=_known(certificate.policy_oid, _oids),
        is_ca=certificate.is_ca,
        has_digital_signature=certificate.digital_signature,
        key_type=_KEYS[kind],
        key_bits=bits,
        signature_hash=certificate.signature_hash,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )


def _blocks(world: World) -> BlockList:
    blocks = [Block((kind, value if kind == "serial" else bytes.fromhex(value))) for kind, value in world.blocks]
    return BlockList(blocks, repr(sorted(world.blocks, key=repr)).encode())


def judge(policy: Policy, request: Request, world: World, client: Client | None) -> Judgement:
    """Have the agent's code judge, from the bytes of a message on."""
    made_up = client is not None and client.der is None
    asked: Asked | None = read_request(
        payload(request, b"0" if made_up else client.der if client is not None else None)
    )
    assert asked is not None
    if world.blocks:
        policy = policy.with_blocks(_blocks(world))
    policy.clock_usable = world.clock_usable
    subject = None
    if made_up and asked.cert is not UNAVAILABLE and asked.verify == 0 and asked.used is not False:
        assert client is not None
        subject = Subject(said(client.certificate), client.certificate.issuer or "", {})
    revocation = disagreeing(world.ocsp, world.crl)
    return policy.judge(asked, world.now, subject=subject, revocation=revocation, switches=world.open)


def difference(twice: Twice, request: Request, world: World, client: Client | None) -> tuple[str, Verdict, Any]:
    """Judge twice; return in what they differ (empty where they don't), and both answers."""
    first = judge(twice.first, request, world, client)
    second = judge_again(twice.second, request, world)
    decision = first.decision
    found = {
        "verdict": (decision.verdict, second.verdict),
        "reason": (decision.reason, second.reason),
        "rule": (decision.rule, second.rule),
        "route": (decision.route, second.route),
        "status": (decision.status, second.status),
        "identity": (decision.identity, second.identity),
        "shadow": (decision.shadow, second.shadow),
    }
    if second.path is not None:
        found["path"] = (first.path, second.path)
    parts = [
        f"{name}: {one!r} != {other!r}" for name, (one, other) in found.items() if other is not None and one != other
    ]
    return "; ".join(parts), second, decision
