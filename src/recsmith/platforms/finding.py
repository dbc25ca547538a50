"""What a check-up of the machine and the installation finds."""

from __future__ import annotations

from typing import Literal

from recsmith.spec import Record


class Finding(Record, frozen=True):
    """One line of the check-up.

    Attributes:
        area: its heading ("native", "processor", "memory", "packages").
        name: what was looked at.
        value: what was seen.
        status: `ok`; `note`: worth knowing; `warning`: costs speed or distorts figures; `problem`: something
            will fail.
        remedy: what to do about it, with the command where there is one; empty when `ok`.
    """

    area: str
    name: str
    value: str
    status: Literal["ok", "note", "warning", "problem"] = "ok"
    remedy: str = ""


class Checkup(Record, frozen=True):
    """All findings, in the order in which they are shown."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Those that will make something fail."""
        return tuple(finding for finding in self.findings if finding.status == "problem")

    @property
    def areas(self) -> tuple[str, ...]:
        """The headings, in order."""
        return tuple(dict.fromkeys(finding.area for finding in self.findings))
