"""``promptseg doctor``: what is installed and works, and what to do about what does not."""

from __future__ import annotations

import typer

from promptseg.cli.terminal import tell

__all__ = ["doctor"]


def doctor() -> None:
    """Say what is installed, which device is really used, and what to do about what is missing.

    Everything that is called ok was tried. Exit code 1: something is broken.
    """
    from promptseg.cli.environment import examine

    findings = examine()
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:7} {finding.topic:15} {finding.text}")
        if finding.remedy:
            lines.append(f"{'':23} -> {finding.remedy}")
    tell(lines, [vars(finding) for finding in findings])
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
