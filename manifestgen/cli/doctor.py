"""`doctor`: look a project over, and say what to do about what is not right."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import ChannelName, Output, Session, Site, command, one_line, plural
from manifestgen.config import check_base_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestgen.doctor import Finding

_URL = "The live site, if not base_url."
_PROBE = "Also try to PUT a file of a random name there, and to delete it."


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "doctor")(_doctor)


def _doctor(
    session: Session,
    url: Annotated[str | None, typer.Argument(metavar="URL", help=_URL)] = None,
    *,
    app: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A Capacitor project to look at, too.")
    ] = None,
    probe_writes: Annotated[bool, typer.Option("--probe-writes", help=_PROBE)] = False,
    site: Site = None,
    channel: ChannelName = None,
) -> Output:
    """Look over keys, site, live origin and app.

    Each finding comes with its fix.

    It mends nothing by itself. Exit code 1 if there are problems.

    Examples:
        manifestgen doctor https://cdn.example.com/app
        manifestgen doctor --app .
    """
    from manifestgen.doctor import Request, Severity, examine

    settings = session.settings(site=site, channel=channel)
    address = check_base_url(url, "URL") if url else None
    found = examine(settings, Request(address, app, probe_writes), session.now())
    counts = {one: sum(finding.severity is one for finding in found) for one in Severity}
    data = {
        "findings": [
            {
                "area": one.area,
                "code": one.code,
                "severity": one.severity.value,
                "sentence": one.sentence,
                "fix": one.fix,
            }
            for one in found
        ],
        "problems": counts[Severity.PROBLEM],
        "warnings": counts[Severity.WARNING],
    }
    summary = (
        f"{plural(counts[Severity.PROBLEM], 'problem')},"
        f" {plural(counts[Severity.WARNING], 'warning')}"
    )
    return Output(data, _text(found, summary), exit_code=1 if counts[Severity.PROBLEM] else 0)


def _text(found: "Sequence[Finding]", summary: str) -> str:
    """Group by area, in each the worst first."""
    order = ["problem", "warning", "ok"]
    lines: list[str] = []
    for area, group in groupby(found, key=lambda one: one.area):
        lines.append(area)
        for one in sorted(group, key=lambda one: order.index(one.severity)):
            lines.append(f"  {one.severity:<9}{one_line(one.sentence)} [{one.code}]")
            if one.fix:
                lines.append(f"           fix: {one_line(one.fix)}")
        lines.append("")
    return "\n".join([*lines, summary])
