"""The function that translates what users see: Slicer's, or none where Slicer's application is missing (tests)."""

from __future__ import annotations

try:
    from slicer.i18n import tr as _
except ImportError:  # slicer-core has no translations

    def _(text: str) -> str:
        """The text as it is."""
        return text


__all__ = ["_"]
