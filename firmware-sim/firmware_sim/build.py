"""From device specs and interval data to a village at its first instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from devices.clock import DAY_MS, HOUR_MS, Instant, floor_to
from devices.model import DeviceId, DeviceKind, DeviceSpec
from devices.profile import load_profile
from firmware_sim.chance import draw
from firmware_sim.days import DayBook
from firmware_sim.fridge import Fridge
from firmware_sim.gas import Digester
from firmware_sim.machines import Battery, Charger, Genset, rating
from firmware_sim.plumbing import Plumbing, Pump
from firmware_sim.profiles import PER_KW, Profiles
from firmware_sim.switched import Switched
from firmware_sim.thermal import HeatStore
from firmware_sim.village import Dock, Meter, Plant, Village
from firmware_sim.water import Water

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
    grid = one[DeviceKind.GRID]
    channels = [name for spec in by_kind[DeviceKind.WATER_METERS] for name in spec.channels]
    source = profiles if all(profiles.find(name) is not None for name in channels) else built_in()
    grid_id = grid.id if grid is not None else "grid"
    village = Village(
        at=start,
        seed=seed,
        profiles=profiles,
        water_profiles=source,
        meters=meters,
        plants=[_plant(spec, seed, profiles, places) for spec in by_kind[DeviceKind.PV]],
        battery=None,
        gensets=[
            Genset.of(spec, past_energy(seed, spec.id, "out") // GENSET_COUNT_MS * GENSET_COUNT_MS)
            for spec in by_kind[DeviceKind.GENSET]
        ],
        charger=None,
        plumbing=Plumbing.of(
            _waters(by_kind[DeviceKind.TANK], by_kind[DeviceKind.WATER_METERS], source, start, seed),
            by_kind[DeviceKind.TANK],
            by_kind[DeviceKind.SENSOR],
            [Pump.of(s, past_energy(seed, s.id, "in"), keep_alive_ms(s, "on")) for s in by_kind[DeviceKind.PUMP]],
        ),
        fridges=[
            Fridge.of(spec, places.get(DeviceId(str(spec.simulate.get("meter", "")))))
            for spec in by_kind[DeviceKind.SENSOR]
            if "ua_w_per_k" in spec.simulate
        ],
        stores=[
            HeatStore.of(spec, seed, past_energy(seed, spec.id, "in"), keep_alive_ms(spec, "setpoint"))
            for spec in by_kind[DeviceKind.THERMAL]
        ],
        digesters=[Digester.of(spec, seed) for spec in by_kind[DeviceKind.SENSOR] if "holder_m3" in spec.simulate],
        switched=[
            Switched.of(spec, places[spec.behind], keep_alive_ms(spec, "on"))
            for spec in by_kind[DeviceKind.RELAY]
            if spec.behind is not None and "power_w" in spec.simulate
        ],
        docks=[Dock() for _ in by_kind[DeviceKind.ROBOT] + by_kind[DeviceKind.DRONE]],
        grid_offsets=(past_energy(seed, grid_id, "in"), past_energy(seed, grid_id, "out")),
        grid_present=grid is not None,
        segment=start,
        days=DayBook(floor_to(start, DAY_MS)),
    )
    _add_machines(village, one, seed)
    return village


def _waters(
    tanks: Sequence[DeviceSpec], meters: Sequence[DeviceSpec], profiles: Profiles, start: Instant, seed: int
) -> dict[str, Water]:
    """Returns the taps by tank: those that name none draw from the first, which has an entry in any case."""
    first = tanks[0].id if tanks else ""
    names: dict[str, list[str]] = {first: []}
    for spec in meters:
        names.setdefault(str(spec.simulate.get("tank") or first), []).extend(spec.channels)
    by_id = {spec.id: spec for spec in tanks}
    waters: dict[str, Water] = {}
    for tank, channels in names.items():
        columns = [column for name in channels if (column := profiles.find(name)) is not None]
        pulses = [draw(seed, f"{name}/ml", 5_000_000) * PULSE_ML for name in channels]
        known = columns if len(columns) == len(channels) else []
        waters[tank] = Water.of(by_id.get(DeviceId(tank)), channels, known, start, pulses)
    return waters


def _add_machines(village: Village, one: Mapping[DeviceKind, DeviceSpec | None], seed: int) -> None:
    if (spec := one[DeviceKind.BATTERY]) is not None:
        village.battery = Battery.of(spec, past_energy(seed, spec.id, "in"), past_energy(seed, spec.id, "out"))
    for genset in village.gensets:
        genset.gas = next((one for one in village.digesters if one.engine == genset.id), None)
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
