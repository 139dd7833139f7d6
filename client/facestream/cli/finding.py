"""One line of what `facestream doctor` reports."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the report."""

    level: str
    """'ok'; 'missing': serving or the client fails without; 'note': worth knowing."""
    subject: str
    text: str
    remedy: str = ""
