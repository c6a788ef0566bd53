"""One thing that a person should know of a file: a sentence that carries a code, a severity and what was done."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

__all__ = ["Finding", "Severity", "worst"]


class Severity(Enum):
    """How much a finding matters.

    INFO: the image is where the file says. WARNING: something was assumed, or may mislead. ERROR: read as it lies, the
    image would be in the wrong place, so it is refused.
    """

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Finding(str):
    """A sentence, usable as a plain ``str``, with what programs need beside it.

    Attributes:
        code: stable, lower case with hyphens, e.g. ``"gantry-tilt"``; "note" where none was given.
        severity: see ``Severity``.
        done: what was done about it: "read as it is", "refused", "left out", "assumed", "converted", ...
    """

    __slots__ = ("code", "done", "severity")

    code: str
    severity: Severity
    done: str

    def __new__(
        cls, sentence: str, code: str = "note", severity: Severity = Severity.INFO, done: str = "read as it is"
    ) -> Finding:
        """Make a finding; an existing one keeps what it carries."""
        found = super().__new__(cls, sentence)
        found.code, found.severity, found.done = code, severity, done
        return found

    def __getnewargs__(self) -> tuple[str, str, Severity, str]:  # type: ignore[override]  # more than str's own
        """Return what pickle and copy call ``__new__`` with."""
        return (str(self), self.code, self.severity, self.done)

    @staticmethod
    def of(sentence: str) -> Finding:
        """Return the sentence itself where it is a finding already, else a note of severity INFO."""
        return sentence if isinstance(sentence, Finding) else Finding(sentence)

    def to_dict(self) -> dict[str, str]:
        """Return ``{"code", "severity", "sentence", "done"}``."""
        return {"code": self.code, "severity": self.severity.value, "sentence": str(self), "done": self.done}


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the highest severity, INFO where there is none."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.INFO)
