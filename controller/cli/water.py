"""`atoll water table NETWORK.inp`: a pressure zone as a table, made once with EPANET; `atoll water show` reads it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal


@click.group()
def water() -> None:
    """Make the table of a pressure zone at commissioning, and look at it."""


@water.command()
@click.argument("network", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it (ZONE.json).")
@click.option("--levels", default=7, show_default=True, type=click.IntRange(2, 41), help="Points along each tank.")
@click.option("--demands", default=24, show_default=True, type=click.IntRange(2, 96), help="Points of demand, at most.")
@click.option("--speed", "speeds", multiple=True, type=click.FloatRange(0.3, 1.2), help="Pump speed; repeat for a VFD.")
@click.option("--pressure-min", default=15.0, show_default=True, help="Metres of water wanted at every tap.")
def table(
    network: Path, *, output: Path | None, levels: int, demands: int, speeds: tuple[float, ...], pressure_min: float
) -> None:
    """Run EPANET over every configuration, tank level and demand of NETWORK and write what it finds.

    Needs `wntr` (x86_64 only): make the table on a workstation and carry the file to the hub.
    """
    from controller.shell.epanet import MissingEpanet, UnfitNetwork, open_network, table_of
    from optimizer import zone_file

    try:
        with open_network(network) as opened:
            day = opened.day(24, 3600)
        made = table_of(
            network, day, points=levels, demands=demands, speeds=speeds or (1.0,), pressure_m_min=pressure_min
        )
    except MissingEpanet as missing:
        raise Refusal(
            f"EPANET is not installed here: {missing}.",
            ExitCode.CONFIG,
            hint="pip install wntr six (there is no wheel for aarch64: make the table on a workstation)",
        ) from missing
    except UnfitNetwork as unfit:
        raise Refusal(str(unfit), ExitCode.CONFIG) from unfit
    target = output or network.with_suffix(".zone.json")
    target.write_text(zone_file.to_text(made))
    click.echo(f"{target}: {made.power_kw.size} states of {len(made.configurations)} configurations")


@water.command()
@click.argument("zone", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(zone: Path, *, as_json: bool) -> None:
    """Print what a ZONE table holds: its tanks, and each configuration's power and inflow at half full tanks."""
    from optimizer import zone_file
    from optimizer.zones import sheet

    try:
        held = zone_file.from_text(zone.read_text(), zone.name)
    except zone_file.BadZoneFile as bad:
        raise Refusal(str(bad), ExitCode.CONFIG) from bad
    import numpy as np

    half = np.array([[(tank.low_kl + tank.high_kl) / 2 for tank in held.tanks]])
    demand = (held.demand_kl_per_h[0] + held.demand_kl_per_h[-1]) / 2
    middle = sheet(held, demand)
    rows: list[dict[str, object]] = []
    for at, one in enumerate(held.configurations):
        flow = middle.flow(at, half)
        inflow = {tank.id: round(float(kl), 2) for tank, kl in zip(held.tanks, flow.inflow_kl_per_h[0], strict=True)}
        rows.append(
            {
                "configuration": one.name,
                "power_kw": round(float(flow.power_kw[0]), 2),
                "inflow_kl_per_h": inflow,
                "pressure_m": round(float(flow.pressure_m[0]), 1),
            }
        )
    tanks = [{"id": tank.id, "low_kl": tank.low_kl, "high_kl": tank.high_kl} for tank in held.tanks]
    if as_json:
        click.echo(json.dumps({"schema": 1, "name": held.name, "tanks": tanks, "configurations": rows}))
        return
    click.echo(f"zone {held.name}, at {demand:.1f} kL/h and half full tanks")
    for tank in held.tanks:
        click.echo(f"  tank {tank.id}: {tank.low_kl:.1f} to {tank.high_kl:.1f} kL")
    for row in rows:
        click.echo(
            f"  {row['configuration']}: {row['power_kw']} kW, {row['pressure_m']} m, inflow {row['inflow_kl_per_h']}"
        )
