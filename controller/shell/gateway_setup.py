"""What a site says to one gateway, and where that keeps its files. Imports little: a gateway has 80 MiB in all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devices.clock import Instant
from devices.gateway_events import GatewayConfig
from devices.model import DeviceId

if TYPE_CHECKING:
    from controller.site import Site

LIVE_CYCLE_REAL_MS = 250


@dataclass(frozen=True, slots=True)
class GatewayOrders:
    """What one gateway is started with.

    `drones` have their radio on its machine; no clock may stand before `latest`, of which the ledger knows.
    """

    config: GatewayConfig
    drones: tuple[str, ...]
    latest: Instant


def live_periods(site: Site, speed: float) -> tuple[int, int]:
    """Returns (control cycle, poll period) in ms of the run: never below a quarter of a real second."""
    floor = round(LIVE_CYCLE_REAL_MS * speed)
    poll = max((gateway.poll_ms for gateway in site.gateways), default=1_000)
    return max(site.cycle_ms, floor), max(poll, floor)


def gateway_folder(data_dir: Path, gateway: str) -> Path:
    """Returns (and makes) the folder that a gateway owns inside a data directory."""
    folder = data_dir / gateway
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def gateway_config(site: Site, gateway: str, poll_ms: int, floor_ms: int, slow_poll_ms: int = 0) -> GatewayConfig:
    """Returns what one gateway of a site needs to know."""
    devices = tuple(device for device in site.devices if device.gateway == gateway)
    here = {device.id for device in devices}
    vehicles = {device.id: site.sky.address(device.id) for device in site.devices if device.driver == "vda5050"}
    interlocks = tuple(
        one for one in site.interlocks if one.device in here or (one.device in vehicles and one.sensor in here)
    )
    return GatewayConfig(
        id=gateway,
        site_id=site.id,
        devices=devices,
        poll_ms=poll_ms,
        slow_poll_ms=slow_poll_ms,
        deadline_floor_ms=floor_ms,
        tank_of=dict(site.tank_of),
        flow_of={
            DeviceId(pump): DeviceId(spec.flow_meter) for pump, spec in site.water.pumps.items() if spec.flow_meter
        },
        tank_high=site.water_high,
        timezone=site.timezone,
        interlocks=interlocks,
        vehicles={one.device: vehicles[one.device] for one in interlocks if one.device in vehicles},
    )
