"""`atoll fairness`: per quarter who got what, by tier and tariff group; fit to be pinned to the wall."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option

if TYPE_CHECKING:
    from controller.ledger.canonical import Json


@click.command()
@click.option("--quarter", metavar="2026-Q2", default="", help="Only this quarter (default: all).")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fairness(quarter: str, data_dir: Path | None, as_json: bool) -> None:
    """Print who got what per quarter, by tier (lifeline, community, outside) and tariff group.

    It names no household, and shows no amounts of fewer than three households. The community's own bodies (clinic,
    community) are always shown: what they use is everybody's.
    """
    from controller.cli.remote import ledger_file
    from controller.shell.fairness_report import quarters
    from controller.store.ledger_file import NotALedger

    folder = data_dir_of(data_dir)
    try:
        found = quarters(ledger_file(folder))
    except NotALedger as error:
        raise Refusal(str(error), hint=f"atoll ledger verify {folder} says more") from error
    names = [str(one["quarter"]) for one in found]
    if quarter and quarter not in names:
        raise Refusal(
            f"no day of {quarter!r} has been settled; quarters: {', '.join(names) or 'none yet'}", ExitCode.USAGE
        )
    shown = [one for one in found if quarter in ("", one["quarter"])]
    if as_json:
        click.echo(json.dumps({"schema": 1, "quarters": shown}, indent=2))
        return
    for one in shown:
        click.echo("\n".join(_lines(one)))
    if not shown:
        click.echo("no day has been settled yet")


def _lines(found: dict[str, Json]) -> list[str]:
    from controller.settlement.bills import Line

    erased = f", {found['erased_days']} erased member-days left out" if found["erased_days"] else ""
    lines = [
        f"{found['quarter']}: {found['days']} days{erased}",
        f"  Gini of the community's share in what members used: {found['gini_of_community_share']}",
    ]
    groups, currency = found["groups"], str(found["currency"])
    for row in groups if isinstance(groups, list) else ():
        assert isinstance(row, dict), "a report has groups"
        if "withheld" in row:
            lines.append(f"  {row['group']} ({row['members']}): {row['withheld']}")
            continue
        spread = [row[f"community_permille_{name}"] for name in ("lowest", "median", "highest")]
        low, middle, high = (f"{int(str(part)) / 10:g} %" for part in spread)
        price = f"{int(str(row['price_per_kwh_micro'])) / 1e6:.4f}"
        lines.append(f"  {row['group']} ({row['members']}): a kWh cost {price} {currency} on average")
        lines.append(f"    from the community: lowest {low}, median {middle}, highest {high} of what a member used")
        tiers = row["tiers"]
        for tier in tiers if isinstance(tiers, list) else ():
            assert isinstance(tier, dict), "a group has tiers"
            line = Line(str(tier["tier"]), int(str(tier["quantity"])), str(tier["unit"]), int(str(tier["price"])))
            quantity = line.quantity_text() or f"{line.amount_text()} {currency}"
            lines.append(f"    {line.text:<34} {quantity:>20}  {line.price_text(currency)}".rstrip())
    return lines
