"""Policies, allowlists and requests for measuring, of any size, with the verdict that each request must get.

The policy reads path, method, source, CN, OU and a list. Verdicts are known because requests are made from the rules:
one that a rule allows, or one of three kinds that none does. Nothing of the agent takes part in that.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.certificates import UNITS, serial_of, unit_of
from benchmarks.lists import Revoked, entries_of, sign_list
from spoa.pki import Issued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.certificates import Certificates

__all__ = [
    "UNLISTED_EVERY",
    "Service",
    "add_line",
    "add_rule",
    "is_unlisted",
    "services",
    "write_crl",
    "write_policy",
    "write_requests",
]

#: One in so many certificates isn't on the list.
UNLISTED_EVERY: Final = 100
#: One in so many of those that come again is revoked, where there is a revocation list: the one in the middle.
REVOKED_EVERY: Final = 100
#: One in so many requests is for a path that no rule allows, and one for a method.
ODD_EVERY: Final = 100

#: Stands for a number that the load puts in, another one in every request.
SERIAL: Final = "#" * 12

_PIECE: Final = 1 << 18

_KINDS: Final = ("ou", "ou", "ou", "cn", "ou", "source", "ou", "deny")


@dataclass(frozen=True, slots=True)
class Service:
    """What one rule allows: a unit may use the paths below `/NAME/`."""

    name: str
    unit: str


def services(rules: int) -> Iterator[Service]:
    """Yield what a policy of so many rules allows, besides reading `/shared/**`."""
    for number in range(2, rules):
        if _KINDS[number % len(_KINDS)] in {"ou", "cn"}:
            yield Service(f"svc-{number}", unit_of(number))


def _rule(number: int) -> str:
    kind, unit = _KINDS[number % len(_KINDS)], unit_of(number)
    before = f"svc-{number - 1}"  # a rule that allows stands before each of those that take away
    if kind == "source":
        request = f'request: {{path: "/{before}/**"}}, when: {{source: [10.0.0.0/8, 192.168.{number % 256}.0/24]}}'
        return f"  - {{id: inside-{number}, effect: require, {request}}}"
    if kind == "deny":
        request = f'request: {{path: "/{before}/admin/**", method: write}}, unless: {{source: 10.255.0.0/24}}'
        return f'  - {{id: no-writing-{number}, effect: deny, who: {{issuer: bench, cn: "*.{unit}.*"}}, {request}}}'
    who = unit if kind == "ou" else f'{{issuer: bench, cn: "client-*.{unit}.example.test"}}'
    request = f'request: {{path: "/svc-{number}/**", method: [GET, POST]}}'
    return f"  - {{id: svc-{number}, effect: allow, who: {who}, {request}}}"


def write_policy(directory: Path, certificates: Certificates, rules: int, listed: int, revoked: int = 0) -> None:
    """Write a policy directory.

    Args:
        directory: does not exist yet.
        certificates: whose issuer is trusted; all but every hundredth are on the list.
        rules: 10 or more.
        listed: lines of the list; what the certificates don't take is filled up.
        revoked: entries of the issuer's revocation list, or 0: there is none.
    """
    (directory / "lists").mkdir(parents=True)
    (directory / "trust").mkdir()
    (directory / "trust" / "ca.pem").write_bytes(certificates.ca.read_bytes())
    (directory / "lists" / "devices.txt").write_text("\n".join(_fingerprints(certificates, listed)) + "\n")
    if revoked:
        write_crl(directory / "crl" / "bench.crl", certificates, revoked)
    revocation = "crl: {files: [crl/bench.crl]}" if revoked else 'none: "measured by itself"'
    units = sorted({service.unit for service in services(rules) if _kind_of(service) == "ou"})
    lines = [
        "apiVersion: authz/v1",
        "metadata: {name: bench}",
        "issuers:",
        f"  bench: {{ca: trust/ca.pem, revocation: {{{revocation}}}}}",
        "lists:",
        "  devices: {file: lists/devices.txt}",
        "identities:",
        *(f"  {unit}: {{issuer: bench, ou: {unit}}}" for unit in units),
        "  device: {issuer: bench, in_list: devices}",
        "rules:",
        '  - {id: listed-only, effect: require, request: {path: "/**"}, who: device}',
        '  - {id: shared, effect: allow, who: any_certificate, request: {path: "/shared/**", method: read}}',
        *map(_rule, range(2, rules)),
        "routes:",
        "  - {backend: internal_api}",
    ]
    (directory / "policy.yaml").write_text("\n".join(lines) + "\n")


def add_rule(directory: Path, name: str) -> None:
    """Write another document into a policy directory, which makes another revision of it."""
    rule = f'{{id: {name}, effect: allow, who: any_certificate, request: {{path: "/{name}"}}}}'
    text = f"apiVersion: authz/v1\nrules:\n  - {rule}\n"
    beside = directory / f".{name}.new"
    beside.write_text(text)
    beside.replace(directory / "zz-added.yaml")


def add_line(directory: Path, name: str) -> None:
    """Write another line into the list of a policy directory, which makes another revision of it."""
    file = directory / "lists" / "devices.txt"
    beside = file.with_name(f".{file.name}.new")
    # In pieces, as `cp` does: a system call that moves all of it would keep the load or the agent from its core.
    with file.open("rb") as before, beside.open("wb") as after:
        shutil.copyfileobj(before, after, _PIECE)
        after.write(hashlib.sha256(name.encode()).hexdigest().encode() + b"\n")
    beside.replace(file)


def write_crl(file: Path, certificates: Certificates, count: int) -> None:
    """Write a revocation list of *count* entries, good for a year, on which one in a hundred of the usual ones is."""
    file.parent.mkdir(exist_ok=True)
    known = [Revoked(serial_of(number), 1) for number in range(certificates.count) if _is_revoked(number)]
    ca = x509.load_pem_x509_certificate(certificates.ca.read_bytes())
    key = serialization.load_pem_private_key(certificates.ca_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = int(time.time())
    many = entries_of((count - len(known) + 1) // 2 * 2)
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(sign_list(Issued(ca, key, ()), many, known, now, (now - 3600, now + 365 * 86400)))
    beside.replace(file)


def _kind_of(service: Service) -> str:
    return _KINDS[int(service.name.removeprefix("svc-")) % len(_KINDS)]


def _fingerprints(certificates: Certificates, listed: int) -> list[str]:
    usual = certificates.fingerprints(certificates.usual)
    known = [one for number, one in enumerate(usual) if not is_unlisted(number)]
    lines = (known + certificates.fingerprints(certificates.fresh))[:listed]
    lines += [hashlib.sha256(f"somebody {number}".encode()).hexdigest() for number in range(listed - len(lines))]
    return sorted(lines)


def is_unlisted(certificate: int) -> bool:
    """Tell whether one of the usual certificates is not on the list."""
    return certificate % UNLISTED_EVERY == UNLISTED_EVERY - 1


def _is_revoked(certificate: int) -> bool:
    return certificate % REVOKED_EVERY == REVOKED_EVERY // 2 - 1


def write_requests(
    file: Path,
    certificates: int,
    rules: int,
    count: int,
    *,
    first: int = 0,
    fresh_paths: bool = False,
    fresh_every: int = 0,
    is_revoking: bool = False,
) -> None:
    """Write requests for `load`, one a line.

    Args:
        file: where to.
        certificates: how many of the usual ones take turns.
        rules: of the policy.
        count: requests before they recur.
        first: of those certificates.
        fresh_paths: each has a path that was never there before.
        fresh_every: one in so many, from 2, comes with a certificate that was never there before.
        is_revoking: the policy has a revocation list.
    """
    allowed: dict[str, list[Service]] = {unit_of(number): [] for number in range(UNITS)}
    for service in services(rules):
        allowed[service.unit].append(service)
    lines: list[str] = []
    for number in range(count):
        certificate = first + number % certificates
        if fresh_every and number % fresh_every == 0:
            lines.append(f"* GET /shared/items/{number} 10.1.0.1 allow")
            continue
        item = SERIAL if fresh_paths else str(number)
        choice = allowed[unit_of(certificate)]
        place = choice[number // UNITS % len(choice)].name if choice else "shared"
        source = f"10.0.{certificate >> 8 & 255}.{certificate & 255}"
        is_denied = is_unlisted(certificate) or (is_revoking and _is_revoked(certificate))
        verdict = "deny" if is_denied else "allow"
        line = f"{certificate} GET /{place}/v1/items/{item} {source} {verdict}"
        if number % ODD_EVERY == ODD_EVERY // 2:
            line = f"{certificate} DELETE /shared/items/{item} {source} deny"
        lines.append(line)
    file.write_text("\n".join(lines) + "\n")
