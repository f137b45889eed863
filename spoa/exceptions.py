"""The whole exception tree.

::

    SpoaError
    ├── ProtocolError(status)          a peer broke SPOP; the status goes into the DISCONNECT frame
    ├── CertificateError(stage)        bytes that are no usable certificate
    ├── PolicyError(problems)          policy files that can't become a policy; all problems at once
    ├── SettingsError(option)          a flag, variable or settings file that can't be used
    ├── StateError(path)               the state directory can't be read or written
    └── ListError(path, line)          a list file that can't be read, edited or written

Every class carries fields and computes its sentence from them, so that a caller never parses text.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CertificateError",
    "ListError",
    "PolicyError",
    "Problem",
    "ProtocolError",
    "SettingsError",
    "SpoaError",
    "StateError",
]


class SpoaError(Exception):
    """Whatever this package raises on purpose."""


class ProtocolError(SpoaError):
    """A peer broke the protocol.

    Attributes:
        status: the SPOP status code (SPOE.txt section 3.5) that tells the peer what it did.
        detail: what was wrong, for our own log; never more than a sentence.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"SPOP status {self.status}: {self.detail}"


class CertificateError(SpoaError):
    """Bytes that are no certificate we can judge.

    Attributes:
        stage: which part could not be read: `load`, `subject`, `extensions`, `public_key`, …
        detail: what the parser said.
    """

    def __init__(self, stage: str, detail: str) -> None:
        super().__init__(stage, detail)
        self.stage = stage
        self.detail = detail

    def __str__(self) -> str:
        return f"certificate not usable at {self.stage}: {self.detail}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a policy file, where it stands, and what to do about it.

    `line` and `column` count from 1 and are 0 where a file as a whole is meant. `path` is the way to the value
    inside the document (`rules[3].request.path`). `is_warning` marks what does not stop activation.
    `code` is the stable name of the finding (`unknown-key`, `duplicate-id`, …), by which it is looked up.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    code: str = "invalid"
    is_warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where} {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class PolicyError(SpoaError):
    """A policy directory that can't be activated.

    Attributes:
        problems: every problem found, sorted by file, line and column; never empty.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class SettingsError(SpoaError):
    """A setting that can't be used.

    Attributes:
        option: the option's name as on the command line, without dashes.
        detail: what is wrong and what would be right.
    """

    def __init__(self, option: str, detail: str) -> None:
        super().__init__(option, detail)
        self.option = option
        self.detail = detail

    def __str__(self) -> str:
        return f"--{self.option}: {self.detail}"


class StateError(SpoaError):
    """The state directory can't serve.

    Attributes:
        path: the file or directory.
        detail: what the system said, and what to do.
    """

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class ListError(SpoaError):
    """A list file that can't be read, written, or edited without touching what is none of the edit's business.

    Attributes:
        path: the file.
        line: where, counted from 1; 0 for the file as a whole.
        detail: what is in the way, and what to do.
    """

    def __init__(self, path: str, line: int, detail: str) -> None:
        super().__init__(path, line, detail)
        self.path = path
        self.line = line
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.detail}" if self.line else f"{self.path}: {self.detail}"
