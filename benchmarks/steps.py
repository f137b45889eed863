"""How many machine instructions something takes, counted by stepping through it, which needs no tool or privilege."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import traceback
from typing import TYPE_CHECKING, Final, Never

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NOT_ALLOWED", "StepError", "steps"]

#: What the error says where it can't be counted.
NOT_ALLOWED: Final = "a process may not trace its child here"

_TRACEME: Final = 0
_SINGLESTEP: Final = 9
#: With what status who may not be traced ends.
_UNTRACED: Final = 77


class StepError(Exception):
    """What was stepped through did not come to its end."""


def steps(work: Callable[[], object]) -> int:
    """Return how many instructions *work* takes in a child of this process, those of the kernel not counted.

    Linux; the process must have no other threads that matter to *work*. A million take ten seconds, or less.

    Raises:
        PermissionError: a process may not trace its child here.
        StepError: *work* raised something, which is printed, or ended itself.
    """
    trace = ctypes.CDLL(None, use_errno=True).ptrace
    trace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    trace.restype = ctypes.c_long
    child = os.fork()
    if not child:
        _be_traced(trace, work)
    cores = os.sched_getaffinity(0)
    # Both take turns: on one core neither waits for another one to wake up.
    os.sched_setaffinity(0, {max(cores)})
    os.sched_setaffinity(child, {max(cores)})
    try:
        return _count(trace, child)
    finally:
        os.sched_setaffinity(0, cores)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it may have ended, which was noticed
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _be_traced(trace: Callable[..., int], work: Callable[[], object]) -> Never:
    """Stop before and after the work, in a child of who counts; never returns."""
    try:
        if trace(_TRACEME, 0, None, None):
            os._exit(_UNTRACED)
        signal.raise_signal(signal.SIGSTOP)
        work()
        signal.raise_signal(signal.SIGSTOP)
    except Exception:  # noqa: BLE001 -- whoever counts sees that it ended, and what stands above a fork must not run
        traceback.print_exc()
    os._exit(1)


def _count(trace: Callable[..., int], child: int) -> int:
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _UNTRACED:
        raise PermissionError(errno.EPERM, NOT_ALLOWED)
    count = 0
    while True:
        if trace(_SINGLESTEP, child, None, None):
            raise StepError(os.strerror(ctypes.get_errno()))
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            raise StepError("what was stepped through ended itself")
        if (number := os.WSTOPSIG(status)) == signal.SIGSTOP:
            return count
        if number != signal.SIGTRAP:
            raise StepError(f"what was stepped through got the signal {number}")
        count += 1
