"""Samples of a profile go to the step that they are of."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from benchmarks.microseconds import STEPS, samples, shares
from benchmarks.programs import BenchmarkError

ROOT = Path(__file__).parents[1]
COMPILED = "/x/4bbb__mypyc.cpython-311-x86_64-linux-gnu.so"
#: As `perf script` prints them: an answer that is written, one of ours with nonsense behind it, two look-ups.
SCRIPT = f"""\
\tffffffff81a00010 tcp_ack ([kernel.kallsyms])
\tffffffff81a00020 ksys_write ([kernel.kallsyms])
\tffffffff81a00030 __x64_sys_write ([kernel.kallsyms])
\t    7f0000000010 __GI___libc_write (/lib/x86_64-linux-gnu/libc.so.6)

\t    7f0000000020 CPyDef_recall___Recall___ask+0x10 ({COMPILED})
\t    7f0000000030 epoll_wait (/lib/x86_64-linux-gnu/libc.so.6)

\t    7f0000000040 _Py_dict_lookup (/usr/lib/libpython3.11.so.1.0)

\t    7f0000000040 _Py_dict_lookup (/usr/lib/libpython3.11.so.1.0)

"""


def test_the_kernel_s_samples_keep_their_calls_and_all_others_the_innermost_function() -> None:
    assert [[name for name, _ in sample] for sample in samples(SCRIPT)] == [
        ["tcp_ack", "ksys_write", "__x64_sys_write"],
        ["CPyDef_recall___Recall___ask"],
        ["_Py_dict_lookup"],
        ["_Py_dict_lookup"],
    ]


def test_a_step_has_its_share_of_the_samples() -> None:
    assert shares(SCRIPT) == {
        "kernel: an answer is written": 0.25,
        "`Recall`": 0.25,
        "look-ups": 0.5,
    }


def test_no_samples_are_an_error() -> None:
    with pytest.raises(BenchmarkError, match="may it be used here"):
        shares("")


def test_whatever_is_compiled_has_a_step_of_its_own() -> None:
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    for module in hooks["mypyc"]["include"]:
        sample = [(f"CPyDef_{Path(module).stem}___Anything___do", COMPILED)]
        assert next(step.name for step in STEPS if step.has(sample)) != "mypyc"
