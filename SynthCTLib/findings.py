"""What a check has found: severity, a sentence that says what is wrong, and one that says what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    ``code`` is stable (tests, translations and fix buttons refer to it); ``fix`` names an automatic remedy where one
    exists (``add-body``, ``drop-labels``, ``resample``); ``labels`` are the MAISI ids concerned.
    """

    severity: Severity
    code: str
    message: str
    advice: str = ""
    fix: str | None = None
    labels: tuple[int, ...] = ()

    def sentence(self) -> str:
        """Message and advice as one line of text."""
        return f"{self.message} {self.advice}".strip()

    def to_json(self) -> dict[str, Any]:
        """Plain values for reports and events."""
        return asdict(self)
