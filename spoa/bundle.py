"""Bundles: how the process that builds a policy hands it to the workers that judge by it.

A bundle is a directory: `policy` holds the pickled model and issuers, cut into slices that take a millisecond or two
to read, so that requests are answered between them; `lists/NAME` holds each list as an index that is mapped, so that
all workers share one copy. Pickles are code: bundles live in the agent's own state directory and nowhere else.
"""

from __future__ import annotations

import enum
import hashlib
import io
import json
import mmap
import pickle
import struct
import time
import zoneinfo
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from spoa._version import __version__
from spoa.authorizer import Policy
from spoa.evidence_store import sources_of, write_sources
from spoa.exceptions import PolicyError, StateError
from spoa.listindex import ListIndex
from spoa.loading import fixtures, load_directory
from spoa.ocsp_store import responders_of, write_responders
from spoa.policy.evaluator import evaluator_steps
from spoa.policy.model import IdentityPattern, PolicyModel, Switch
from spoa.policy.reading import Report
from spoa.rehearsal import rehearse
from spoa.state import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from spoa.exceptions import Problem
    from spoa.loading import Loaded

__all__ = ["BundleReport", "build_bundle", "is_of_this_version", "open_bundle", "read_switches", "write_switches"]

_SWITCHES: Final = "switches.json"
_VERSION: Final = "version"
#: Version of the format, and of the agent: what is pickled is its own classes.
_OWN_VERSION: Final = f"1 {__version__}\n"
_LENGTH: Final = struct.Struct(">Q")
_DIGEST_SIZE: Final = 32
#: What is cut into slices, in the order of writing: rules refer to identities.
_PARTS: Final = ("identities", "rules", "routes")
#: Rules, identities or routes in one slice.
_SLICE: Final = 24


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What was built.

    Attributes:
        revision: of the policy, lists and CA certificates.
        warnings: that didn't stop it.
        files: all paths that were read; a change of any may make another policy.
        contents: all that was read for it, tests and their certificates too, by name.
    """

    revision: str
    warnings: tuple[Problem, ...]
    files: tuple[str, ...] = field(default=())
    contents: Mapping[str, bytes] = field(default_factory=dict)


def build_bundle(directory: Path, bundle_dir: Path, *, live: Path | None = None) -> BundleReport:
    """Read, check, test and compile the policy in *directory*, and write it to *bundle_dir*, an empty directory.

    Args:
        directory: the policy directory, or where the files of an earlier revision were written out.
        bundle_dir: where to.
        live: the policy directory in use, where revocation lists lie also for an earlier revision.

    Raises:
        PolicyError: with every problem found.
        OSError: the bundle can't be written.
    """
    report = Report()
    loaded = load_directory(directory, report, time.time())
    contents: dict[str, bytes] = {}
    if loaded is not None:
        contents |= loaded.documents.contents
        read = fixtures(directory)

        def read_fixture(name: str) -> bytes | None:
            content = read(name)
            if content is not None:
                contents[name] = content
            return content

        rehearse(loaded.policy(), loaded.documents.tests, read_fixture, report, now=time.time())
    if loaded is None or report.errors:
        raise PolicyError(report.problems)
    _write(loaded, bundle_dir)
    write_sources(sources_of(loaded.model, loaded.issuers, live or directory), bundle_dir)
    write_switches(loaded.model.switches, bundle_dir)
    write_responders(responders_of(loaded.model), bundle_dir)
    (bundle_dir / _VERSION).write_text(_OWN_VERSION)
    files = tuple(sorted(str(path) for path in loaded.documents.files))
    return BundleReport(loaded.revision, report.problems, files, contents)


def is_of_this_version(bundle_dir: Path) -> bool:
    """Tell whether a bundle was built by this version of the agent: no other's can be opened."""
    try:
        return (bundle_dir / _VERSION).read_text() == _OWN_VERSION
    except (OSError, ValueError):
        return False


def write_switches(switches: Iterable[Switch], bundle_dir: Path) -> None:
    """Write down beside a bundle which break-glass switches its policy declares."""
    (bundle_dir / _SWITCHES).write_text(json.dumps([asdict(switch) for switch in switches]))


def read_switches(bundle_dir: Path) -> tuple[Switch, ...]:
    """Return the break-glass switches that the policy of a bundle declares.

    Raises:
        StateError: the bundle can't be read.
    """
    try:
        return tuple(Switch(**row) for row in json.loads((bundle_dir / _SWITCHES).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise StateError(str(bundle_dir / _SWITCHES), f"can't be read ({error}); build the bundle again") from error


def _write(loaded: Loaded, bundle_dir: Path) -> None:
    (bundle_dir / "lists").mkdir()
    for number, index in enumerate(loaded.indexes.values()):
        write_file(bundle_dir / "lists" / str(number), index)
    model = loaded.model
    head = {
        "model": replace(model, rules=(), routes=(), identities=()),
        "issuers": loaded.issuers,
        "lists": tuple(loaded.indexes),
        "revision": loaded.revision,
    }
    slices: list[tuple[str, Any]] = [("head", head)]
    for part in _PARTS:
        items = getattr(model, part)
        slices += [(part, items[at : at + _SLICE]) for at in range(0, len(items), _SLICE)]
    named: dict[int, str] = {}
    written: list[bytes] = []
    for part, content in slices:
        text = io.BytesIO()
        _Pickler(text, named).dump((part, content))
        written += (_LENGTH.pack(text.tell()), text.getvalue())
        if part == "identities":
            named.update({id(identity): identity.name for identity in content})
    whole = b"".join(written)
    write_file(bundle_dir / "policy", hashlib.sha256(whole).digest() + whole)


class _Pickler(pickle.Pickler):
    """Writes a named identity that an earlier slice holds as its name, so that rules go on sharing it."""

    def __init__(self, file: io.BytesIO, named: dict[int, str]) -> None:
        super().__init__(file, protocol=5)
        self._named = named

    def persistent_id(self, value: object) -> str | None:
        return self._named.get(id(value)) if isinstance(value, IdentityPattern) else None


class _Unpickler(pickle.Unpickler):
    """Reads what a policy is made of and nothing else, so that a foreign file is no way to run code."""

    def __init__(self, file: io.BytesIO, named: dict[str, IdentityPattern]) -> None:
        super().__init__(file)
        self._named = named

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member
        if (module, name) == ("zoneinfo", "ZoneInfo"):
            return zoneinfo.ZoneInfo
        if name.isidentifier() and (module == "spoa.issuers" or module.startswith("spoa.policy.")):
            found = super().find_class(module, name)
            if found.__module__ == module and (isinstance(found, type) or name == "_rebuild"):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a policy")

    def persistent_load(self, name: str) -> IdentityPattern:
        return self._named[name]


def _member(owner: object, name: str) -> Any:
    """Stand in for `getattr`, which pickles of time zones and of enumerations ask for."""
    if owner is zoneinfo.ZoneInfo and name == "_unpickle":
        return getattr(owner, name)
    if isinstance(owner, enum.EnumMeta) and name in owner.__members__:
        return owner[name]
    raise pickle.UnpicklingError(f"{name} of {owner!r} is no part of a policy")


def open_bundle(bundle_dir: Path, previous: Policy | None = None) -> Iterator[Policy | None]:
    """Yield None for each slice of work done, and at last the policy.

    Args:
        bundle_dir: what `build_bundle` wrote, on the same machine and with the same version of the agent.
        previous: the policy before, from which whatever is known of certificates is carried over: what they say, and
            who signed them where the issuers are the same.

    Raises:
        StateError: the bundle can't be read.
    """
    parts: dict[str, list[Any]] = {part: [] for part in _PARTS}
    named: dict[str, IdentityPattern] = {}
    head: dict[str, Any] = {}
    try:
        if not is_of_this_version(bundle_dir):
            raise ValueError("another version of the agent built it")  # noqa: TRY301 -- told like all else
        content = read_file(bundle_dir / "policy")
        yield None
        content = _checked(content)
        yield None
        for part, value in _slices(content, named):
            if part == "head":
                head = value
            else:
                parts[part] += value
            if part == "identities":
                named.update({identity.name: identity for identity in value})
            yield None
        lists = {name: _map(bundle_dir / "lists" / str(number)) for number, name in enumerate(head["lists"])}
        model: PolicyModel = replace(head["model"], **{part: tuple(items) for part, items in parts.items()})
    except Exception as error:  # what a damaged pickle raises has no class in common
        raise StateError(str(bundle_dir), f"the bundle can't be read ({error}); build it again") from error
    for evaluator in evaluator_steps(model):
        if evaluator is None:
            yield None
        else:
            issuers = head["issuers"]
            if previous is not None and previous.issuers.is_same(issuers):
                issuers = previous.issuers
            known = None if previous is None else previous.certificates
            yield Policy(evaluator, issuers, lists, head["revision"], known)


def _checked(content: bytes) -> bytes:
    """Return the slices; a file that was cut or damaged is refused, since one rule less may be one deny less."""
    digest, slices = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    if hashlib.sha256(slices).digest() != digest:
        raise ValueError("it was cut off or damaged")
    return slices


def _slices(content: bytes, named: dict[str, IdentityPattern]) -> Iterable[tuple[str, Any]]:
    position = 0
    while position < len(content):
        (length,) = _LENGTH.unpack_from(content, position)
        position += _LENGTH.size
        yield _Unpickler(io.BytesIO(content[position : position + length]), named).load()
        position += length


def _map(path: Path) -> ListIndex:
    with path.open("rb") as file:
        return ListIndex(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
