"""`atoll fleet SITE`: the simulated devices alone, on real wires."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.errors import ExitCode, Refusal
from controller.cli.remote import data_dir_of, data_dir_option
from controller.cli.sites import load_site


@click.command()
@click.argument("site", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--broker", default="", help="host:port (default: the run's broker).")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--profiles", type=click.Path(path_type=Path), default=None, help="Your own interval data (CSV).")
def fleet(site: Path, data_dir: Path | None, broker: str, seed: int, profiles: Path | None) -> None:
    """Run the simulated devices of SITE on Modbus TCP and MQTT, on the clock of the run in --data-dir."""
    from controller.cli.logs import log_to_stderr
    from controller.shell.data_dir import FLEET, RUN
    from controller.shell.simulation import NoFleet, fleet_factory, start_of
    from devices.shell.run_clock import BadRunFile, RunClock
    from devices.simulated import ProfileProblems

    log_to_stderr()
    place, folder = load_site(site), data_dir_of(data_dir)
    try:
        RunClock.join(folder / RUN)
        factory = fleet_factory()
        devices = factory.build(place.devices, start_of(place), seed, None if profiles is None else str(profiles))
        factory.serve(devices, str(folder / RUN), broker, str(folder / FLEET))
    except (FileNotFoundError, BadRunFile) as error:
        raise Refusal(f"no run in {folder}: {error}", ExitCode.CONFIG, hint="atoll demo starts one") from error
    except LookupError as error:
        raise Refusal(f"the profiles do not fit the site: {error}", ExitCode.CONFIG) from error
    except ProfileProblems as error:
        raise Refusal(f"{len(error.problems)} problems in the profiles\n{error}", ExitCode.CONFIG) from error
    except NoFleet as error:
        raise Refusal(str(error), ExitCode.CONFIG) from error
    except OSError as error:
        raise Refusal(f"the devices' port cannot be opened: {error}", ExitCode.RETRY) from error
