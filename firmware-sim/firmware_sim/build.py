"""From device specs and interval data to a village at its first instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from devices.clock import DAY_MS, HOUR_MS, Instant, floor_to
from devices.model import DeviceId, DeviceKind, DeviceSpec
from devices.profile import load_profile
from firmware_sim.chance import draw
from firmware_sim.days import DayBook
from firmware_sim.machines import Battery, Charger, Genset, rating
from firmware_sim.profiles import PER_KW, Profiles
from firmware_sim.village import Dock, Meter, Plant, Village
from firmware_sim.water import Pump, Water

GENSET_COUNT_MS = 100 * HOUR_MS
"""The genset's register counts 0.1 kWh."""
PULSE_ML = 10


def build_village(
    devices: Sequence[DeviceSpec], start: Instant, seed: int, profiles: Profiles, built_in: Callable[[], Profiles]
) -> Village:
    """Returns the village at `start`; `built_in` gives the year that lends water columns to a file without them."""
    by_kind: dict[DeviceKind, list[DeviceSpec]] = {kind: [] for kind in DeviceKind}
    for spec in devices:
        by_kind[spec.kind].append(spec)
    one = {kind: specs[0] if specs else None for kind, specs in by_kind.items()}
    meters = [_meter(spec, seed, profiles) for spec in by_kind[DeviceKind.METER]]
    places = {meter.id: i for i, meter in enumerate(meters)}
    water_spec, grid = one[DeviceKind.WATER_METERS], one[DeviceKind.GRID]
    channels = water_spec.channels if water_spec is not None else ()
    source = profiles if all(profiles.find(name) is not None for name in channels) else built_in()
    columns = [source.find(name) for name in channels]
    pulses = [draw(seed, f"{name}/ml", 5_000_000) * PULSE_ML for name in channels]
    grid_id = grid.id if grid is not None else "grid"
    village = Village(
        at=start,
        seed=seed,
        profiles=profiles,
        water_profiles=source,
        meters=meters,
        plants=[_plant(spec, seed, profiles, places) for spec in by_kind[DeviceKind.PV]],
        battery=None,
        genset=None,
        charger=None,
        pump=None,
        water=Water.of(one[DeviceKind.TANK], water_spec, start, pulses),
        water_columns=[column for column in columns if column is not None] if None not in columns else [],
        docks=[Dock() for _ in by_kind[DeviceKind.ROBOT] + by_kind[DeviceKind.DRONE]],
        grid_offsets=(past_energy(seed, grid_id, "in"), past_energy(seed, grid_id, "out")),
        grid_present=grid is not None,
        segment=start,
        days=DayBook(floor_to(start, DAY_MS)),
    )
    _add_machines(village, one, seed)
    return village


def _add_machines(village: Village, one: Mapping[DeviceKind, DeviceSpec | None], seed: int) -> None:
    if (spec := one[DeviceKind.BATTERY]) is not None:
        village.battery = Battery.of(spec, past_energy(seed, spec.id, "in"), past_energy(seed, spec.id, "out"))
    if (spec := one[DeviceKind.GENSET]) is not None:
        village.genset = Genset.of(spec, past_energy(seed, spec.id, "out") // GENSET_COUNT_MS * GENSET_COUNT_MS)
    if (spec := one[DeviceKind.PUMP]) is not None:
        village.pump = Pump.of(spec, past_energy(seed, spec.id, "in"), keep_alive_ms(spec, "on"))
    if (spec := one[DeviceKind.CHARGER]) is not None:
        village.charger = Charger.of(spec, past_energy(seed, spec.id, "in"), keep_alive_ms(spec, "setpoint"))
        village.charger.next_move = 0
        village.trip_minutes = str(spec.simulate.get("leaves", "07:30")), str(spec.simulate.get("returns", "16:30"))
        village.zone = str(spec.simulate.get("timezone", "UTC"))


def keep_alive_ms(spec: DeviceSpec, point: str) -> int:
    """Returns for how long the product obeys without being written again [ms], 0 = for good."""
    if not spec.driver.startswith("profile:"):
        return 0
    rule = load_profile(spec.driver.removeprefix("profile:")).writes.get(point)
    return 0 if rule is None else rule.keep_alive_s * 1000


def past_energy(seed: int, device: str, register: str) -> int:
    """Returns what a register shows at the start [W ms, whole Wh]: meters have a past."""
    return draw(seed, f"{device}/{register}", 9_000_000) * HOUR_MS


def _column(profiles: Profiles, spec: DeviceSpec) -> tuple[int, bool]:
    """Returns (position, is it per kW) of a device's column."""
    name = str(spec.simulate.get("profile", spec.id))
    for text, per_kw in ((name, False), (name + PER_KW, True)):
        if (found := profiles.find(text)) is not None:
            return found, per_kw
    raise LookupError(f"no profile column {name!r} for device {spec.id}: there are {', '.join(profiles.columns)}")


def _meter(spec: DeviceSpec, seed: int, profiles: Profiles) -> Meter:
    column, _ = _column(profiles, spec)
    critical = bool(spec.simulate.get("critical", 0))
    return Meter(spec.id, column, critical, past_energy(seed, spec.id, "in"), past_energy(seed, spec.id, "out"))


def _plant(spec: DeviceSpec, seed: int, profiles: Profiles, places: Mapping[DeviceId, int]) -> Plant:
    column, per_kw = _column(profiles, spec)
    behind = None if spec.behind is None else places.get(spec.behind)
    rated = round(rating(spec, "power_w_max", 5_000))
    return Plant(spec.id, column, per_kw, behind, rated, past_energy(seed, spec.id, "out"))
