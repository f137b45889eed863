"""Coverage-guided fuzzing with atheris: one target for some seconds, on what is kept and what earlier runs came upon.

    python -m tests.fuzz.guided paths --seconds 300
    python -m tests.fuzz.guided --all --seconds 60
    python -m tests.fuzz.guided paths --keep

What runs come upon is gathered in `build/fuzz/TARGET`; an input that fails is written there as `crash-…`, `timeout-…`
or `oom-…`, to be mended and then kept in the corpus as a test. `--keep` adds to the corpus what reaches code that it
did not reach before, the smallest inputs first.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build" / "fuzz"
_MEBIBYTES: Final = 2048
_PLAIN_EDITS: Final = 8  # of so many edits, one is of bytes also where a target knows the structure
#: By target, what it drives besides the readers that it is for, and what has targets of its own. Such modules are
#: imported before anything is instrumented: they guide no fuzzer to where it shouldn't look, and run at full speed.
_UNGUIDED: Final = {
    "importer": (
        *("spoa.authorizer", "spoa.pki", "spoa.policy.load"),
        *("spoa.haproxy_config.proxies", "spoa.haproxy_config.reading"),
    )
}


def _fuzz(name: str, arguments: Sequence[str]) -> None:
    """Become the fuzzer of one target; ends the process."""
    import atheris

    for module in _UNGUIDED.get(name, ()):
        importlib.import_module(module)
    with atheris.instrument_imports(include=["spoa"]):
        from tests.fuzz.targets import TARGETS
    # What libFuzzer calls itself by when it merges: a command for the shell.
    command = f"{shlex.quote(sys.executable)} -W error -m tests.fuzz.guided --become {name} --"
    target = TARGETS[name]
    edit = target.edit
    if edit is None:
        atheris.Setup([command, *arguments], target)
    else:

        def mutate(data: bytes, longest: int, seed: int) -> bytes:
            edited = edit(data, longest, seed) if seed % _PLAIN_EDITS else None
            return atheris.Mutate(data, longest) if edited is None else edited

        atheris.Setup([command, *arguments], target, custom_mutator=mutate)
    atheris.Fuzz()


def _names() -> list[str]:
    from tests.fuzz.targets import TARGETS

    return list(TARGETS)


def _folders(name: str) -> tuple[Path, Path]:
    from tests.fuzz.target import CORPUS

    gathered = BUILD / name
    gathered.mkdir(parents=True, exist_ok=True)
    return gathered, CORPUS / name


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _options(name: str, gathered: Path) -> list[str]:
    from tests.fuzz.target import SECONDS
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    words = gathered.with_suffix(".dict")
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    return [
        *(f"-max_len={target.longest}", f"-timeout={SECONDS}", f"-rss_limit_mb={_MEBIBYTES}"),
        *(f"-dict={words}", f"-artifact_prefix={gathered}/", "-print_final_stats=1", "-verbosity=1"),
    ]


def _call(name: str, *arguments: str) -> int:
    command = [sys.executable, "-W", "error", "-m", "tests.fuzz.guided", "--become", name, "--", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def run(name: str, seconds: int) -> int:
    """Fuzz one target for so long; return 0 unless something was found."""
    gathered, kept = _folders(name)
    print(f"== {name}, {seconds} s", flush=True)  # noqa: T201 -- a program's output
    return _call(name, *_options(name, gathered), f"-max_total_time={seconds}", str(gathered), str(kept))


def keep(name: str, largest: int = 512, most: int = 20) -> int:
    """Add to the corpus what runs found new code with, the smallest inputs first; return how many.

    Args:
        name: of the target.
        largest: bytes of an input that is worth keeping.
        most: how many at a time.
    """
    gathered, kept = _folders(name)
    merged = gathered.with_suffix(".merged")
    merged.mkdir(exist_ok=True)
    for old in merged.iterdir():
        old.unlink()
    _call(name, *_options(name, gathered), "-merge=1", str(merged), str(kept), str(gathered))
    before = {path.read_bytes() for path in kept.iterdir()}
    found = sorted((path.read_bytes() for path in merged.iterdir()), key=len)
    added = [data for data in found if data not in before and len(data) <= largest][:most]
    for data in added:
        (kept / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    print(f"{name}: {len(added)} of {len(found)} inputs added")  # noqa: T201 -- a program's output
    return len(added)


def main() -> int:
    """Do what the command line says; the exit status is 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--all", action="store_true", help="every target, one after the other")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add what was found to the corpus, instead of fuzzing")
    parser.add_argument("--become", metavar="TARGET", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.become:
        _fuzz(given.become, given.targets)
    unknown = set(given.targets) - set(_names())
    if unknown or not (given.targets or given.all):
        parser.error(f"name targets, or say --all; there are: {', '.join(_names())}")
    names = given.targets or _names()
    if given.keep:
        return 0 if all(keep(name) >= 0 for name in names) else 1
    bad = [name for name in names if run(name, given.seconds)]
    print(f"failed: {', '.join(bad)}" if bad else "nothing found")  # noqa: T201 -- a program's output
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
