"""The site file's energy beyond single devices: capacity charge, islands, reserve, tiers, feeders, vehicles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller import site_schema as schema
from controller.site_energy_schema import ApplianceTable, GridTable, TripTable
from controller.site_network import OFF_NETWORK, NetworkSpec, network_spec, with_solar_behind
from controller.site_problems import Finding, Path, instant_problem, unknown_device
from controller.site_types import DAYS, minutes
from devices.clock import DAY_MS, Instant, parse_iso
from devices.model import DeviceId
from devices.trip_limits import TripLimit


@dataclass(frozen=True, slots=True)
class Trip:
    """When a vehicle is usually away, in minutes of the day; `days` from Monday 0."""

    leaves: int
    returns: int
    energy_wh: float
    days: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What a charger's vehicle needs: `ready_soc` of its pack at `ready_by` (minutes of the day)."""

    ready_by: int
    ready_soc: float
    trip: Trip | None


@dataclass(frozen=True, slots=True)
class Thermal:
    """What is drawn from a thermal store on a usual day: (minutes of the day, Wh); prices in major units."""

    draws: tuple[tuple[int, float], ...]
    comfort_price: float
    unserved_price: float


@dataclass(frozen=True, slots=True)
class Appliance:
    """Something on a relay that runs once a day inside a window (minutes of the day); `days` from Monday 0."""

    id: str
    device: DeviceId
    power_w: float
    duration_ms: int
    window: tuple[int, int]
    days: tuple[int, ...]
    interruptible: bool
    skip_price: float


@dataclass(frozen=True, slots=True)
class Tier:
    """Meters whose load above the lifeline may be shed; money per kWh."""

    id: str
    meters: frozenset[DeviceId]
    price: float


@dataclass(frozen=True, slots=True)
class Switch:
    """A relay that switches load of a tier; `served` is its value while the load is there."""

    device: DeviceId
    tier: str
    power_w: float
    served: float


@dataclass(frozen=True, slots=True)
class FeederSpec:
    """A line with limits of its own; `devices` holds the solar behind its meters too."""

    id: str
    devices: frozenset[DeviceId]
    import_limit_w: float
    export_limit_w: float
    price: float


@dataclass(frozen=True, slots=True)
class ReserveSpec:
    """What plans keep ready; prices in major units."""

    spinning_share: float = 0.2
    spinning_price: float = 0.5
    outage_ms: int = 0
    outage_price: float = 0.2


@dataclass(frozen=True, slots=True)
class EnergySpec:
    """All of it; empty where a site says nothing of these."""

    peak_price: float = 0.0  # per kW of the month's highest import
    islands: tuple[tuple[Instant, Instant], ...] = ()
    reserve: ReserveSpec = field(default_factory=ReserveSpec)
    weather: str = ""  # a file in the hub's data directory; empty: none
    weather_age_ms_max: int = DAY_MS
    tiers: tuple[Tier, ...] = ()
    switches: tuple[Switch, ...] = ()  # the cheapest tier first, within one the largest
    feeders: tuple[FeederSpec, ...] = ()
    vehicles: Mapping[DeviceId, Vehicle] = field(default_factory=dict[DeviceId, Vehicle])
    thermal: Mapping[DeviceId, Thermal] = field(default_factory=dict[DeviceId, Thermal])
    appliances: tuple[Appliance, ...] = ()
    follow_grid: frozenset[DeviceId] = frozenset()  # batteries that cannot hold an island
    network: NetworkSpec | None = None
    trip_limits: tuple[TripLimit, ...] = ()  # what commissioning checks inverters against; nothing else reads them


def energy_spec(file: schema.SiteFile) -> EnergySpec:
    """Returns the checked tables as values."""
    reserve = file.reserve
    return EnergySpec(
        peak_price=file.grid.peak_price,
        trip_limits=tuple(
            TripLimit(row.side, row.at_pct, row.at_hz, row.ms_min, row.ms_max) for row in file.grid.trip_limit
        ),
        islands=tuple((parse_iso(row.start), parse_iso(row.end)) for row in file.island),
        weather=file.forecast.weather,
        weather_age_ms_max=file.forecast.weather_age_ms_max,
        reserve=ReserveSpec(reserve.spinning_fraction, reserve.spinning_price, reserve.outage_ms, reserve.outage_price),
        tiers=tuple(
            Tier(row.id, frozenset(DeviceId(name) for name in row.usage_points), row.price) for row in file.shed_tier
        ),
        switches=tuple(_switches(file)),
        feeders=tuple(_feeder(file, row) for row in file.feeder),
        vehicles={
            DeviceId(row.id): Vehicle(minutes(row.ready_by), row.ready_soc, _trip(row.trip))
            for row in file.device
            if isinstance(row, schema.ChargerDevice)
        },
        thermal={
            DeviceId(row.id): Thermal(
                tuple((minutes(draw.at), draw.energy_wh) for draw in row.draws), row.comfort_price, row.unserved_price
            )
            for row in file.device
            if isinstance(row, schema.ThermalDevice)
        },
        appliances=tuple(_appliance(row) for row in file.appliance),
        follow_grid=frozenset(
            DeviceId(row.id) for row in file.device if isinstance(row, schema.BatteryDevice) and not row.forms_grid
        ),
        network=network_spec(file),
    )


def _switches(file: schema.SiteFile) -> Iterable[Switch]:
    tier_of = {name: row for row in file.shed_tier for name in row.usage_points}
    found = [
        (tier_of[row.behind], row.shed, DeviceId(row.id))
        for row in file.device
        if isinstance(row, schema.RelayDevice) and row.shed is not None and row.behind in tier_of
    ]
    for tier, shed, device in sorted(found, key=lambda one: (one[0].price, -one[1].power_w, one[2])):
        yield Switch(device, tier.id, shed.power_w, float(shed.on == "served"))


def _feeder(file: schema.SiteFile, row: schema.FeederTable) -> FeederSpec:
    devices = with_solar_behind(file, row.devices)
    return FeederSpec(row.id, devices, row.import_limit_w, row.export_limit_w, row.price)


def _appliance(row: ApplianceTable) -> Appliance:
    return Appliance(
        id=row.id,
        device=DeviceId(row.device),
        power_w=row.power_w,
        duration_ms=row.duration_ms,
        window=(minutes(row.window[0]), minutes(row.window[1])),
        days=tuple(DAYS.index(day) for day in row.days),
        interruptible=row.interruptible,
        skip_price=row.skip_price,
    )


def _trip(row: TripTable | None) -> Trip | None:
    if row is None:
        return None
    days = tuple(DAYS.index(day) for day in row.days)
    return Trip(minutes(row.leaves), minutes(row.returns), row.energy_wh, days)


# -- checks --------------------------------------------------------------------------------------------------------


def check_energy(file: schema.SiteFile) -> Iterable[Finding]:
    """Yields what is wrong between these tables and the devices."""
    yield from _check_trip_limits(file.grid)
    yield from _check_islands(file.island)
    yield from _check_tiers(file)
    yield from _check_feeders(file)
    yield from _check_trips(file)
    yield from _check_thermal(file)
    yield from _check_appliances(file)


def _check_trip_limits(grid: GridTable) -> Iterable[Finding]:
    for index, row in enumerate(grid.trip_limit):
        here: Path = ("grid", "trip_limit", index)
        if (row.at_pct is None) == (row.at_hz is None):
            seen = "neither" if row.at_pct is None else "both"
            yield "149", here, seen, "a trip limit is of a voltage or of a frequency", "at_pct = ... or at_hz = ..."
        elif row.at_pct is not None and (row.at_pct < 100) != (row.side == "low"):
            seen = f"{row.side}, {row.at_pct:g} %"
            yield "149", (*here, "side"), seen, "this voltage lies on the other side of nominal", "low is below 100 %"
        if row.ms_max is not None and row.ms_max < row.ms_min:
            seen = f"{row.ms_min} to {row.ms_max}"
            yield "149", (*here, "ms_max"), seen, "it must be off before it may be", f"at least {row.ms_min}"
        if row.ms_max is None and row.ms_min == 0:
            yield "149", here, "no times", "this limits nothing", "ms_min = ... or ms_max = ..."


def _check_islands(rows: Sequence[schema.IslandTable]) -> Iterable[Finding]:
    for index, row in enumerate(rows):
        here: Path = ("island", index)
        unread = [*instant_problem((*here, "from"), row.start), *instant_problem((*here, "until"), row.end)]
        yield from unread
        if not unread and parse_iso(row.end) <= parse_iso(row.start):
            yield "140", (*here, "until"), row.end, "the island ends before it begins", f"later than {row.start}"


def _check_tiers(file: schema.SiteFile) -> Iterable[Finding]:
    meters = {row.id: row.critical for row in file.device if isinstance(row, schema.MeterDevice)}
    tier_of: dict[str, str] = {}
    for index, row in enumerate(file.shed_tier):
        for place, name in enumerate(row.usage_points):
            path: Path = ("shed_tier", index, "usage_points", place)
            if name not in meters:
                yield "141", path, name, "no meter has this id", f"one of: {sorted(meters)}"
            elif meters[name]:
                yield "142", path, name, "this meter is critical: it is never shed", "take it out of the tier"
            elif tier_of.setdefault(name, row.id) != row.id or row.usage_points.index(name) != place:
                yield "143", path, name, f"it is in tier {tier_of[name]} already", "a meter belongs to one tier"


def _check_feeders(file: schema.SiteFile) -> Iterable[Finding]:
    kinds = {row.id: row.kind for row in file.device}
    behind = {row.id: row.behind for row in file.device if isinstance(row, schema.PvDevice)}
    for index, row in enumerate(file.feeder):
        for place, name in enumerate(row.devices):
            path: Path = ("feeder", index, "devices", place)
            kind = kinds.get(name)
            if kind is None or kind in OFF_NETWORK:
                seen = name if kind is None else f"{name}, a {kind}"
                usable = sorted(one for one, what in kinds.items() if what not in OFF_NETWORK)
                yield "144", path, seen, "no device on a feeder has this id", f"one of: {usable}"
            elif row.devices.index(name) != place:
                yield "145", path, name, "it is named twice", "remove one of them"
            elif behind.get(name) is not None and behind[name] not in row.devices:
                seen, meter = name, behind[name]
                yield "146", path, seen, f"it sits behind {meter}, which is not on this feeder", f'name "{meter}" too'


def _check_trips(file: schema.SiteFile) -> Iterable[Finding]:
    for index, row in enumerate(file.device):
        if not isinstance(row, schema.ChargerDevice) or row.trip is None:
            continue
        here: Path = ("device", index, "trip")
        if row.trip.leaves == row.trip.returns:
            yield "147", (*here, "returns"), row.trip.returns, "the vehicle returns when it leaves", "write its hours"
        if row.trip.energy_wh > row.ratings.energy_wh:
            yield (
                "148", (*here, "energy_wh"), f"{row.trip.energy_wh:g}", "a trip takes more than the pack holds",
                f"choose at most {row.ratings.energy_wh:g}",
            )  # fmt: skip


def _check_thermal(file: schema.SiteFile) -> Iterable[Finding]:
    for index, row in enumerate(file.device):
        if not isinstance(row, schema.ThermalDevice):
            continue
        ratings, cold = row.ratings, row.use == "cold"
        ordered = (
            ratings.low_c < ratings.high_c < ratings.ambient_c
            if cold
            else ratings.ambient_c < ratings.low_c < ratings.high_c
        )
        if not ordered:
            seen = f"{ratings.low_c:g}, {ratings.high_c:g}, ambient {ratings.ambient_c:g}"
            fix = "low_c < high_c < ambient_c" if cold else "ambient_c < low_c < high_c"
            yield "155", ("device", index, "ratings", "low_c"), seen, f"the temperatures of a {row.use} store", fix


def _check_appliances(file: schema.SiteFile) -> Iterable[Finding]:
    kinds = {row.id: row.kind for row in file.device}
    for index, row in enumerate(file.appliance):
        here: Path = ("appliance", index)
        yield from unknown_device("156", (*here, "device"), row.device, "relay", kinds)
        start, end = (minutes(text) for text in row.window)
        if (end - start) * 60_000 < row.duration_ms:
            need = f"the window needs {-(-row.duration_ms // 60_000)} minutes"
            yield "062", (*here, "window"), "-".join(row.window), "the appliance does not fit into its window", need
    for index, row in enumerate(file.device):
        if isinstance(row, schema.RelayDevice) and row.behind is not None:
            yield from unknown_device("157", ("device", index, "behind"), row.behind, "meter", kinds)
    tiered = {name for row in file.shed_tier for name in row.usage_points}
    busy = {row.device for row in file.appliance}
    for index, row in enumerate(file.device):
        if not isinstance(row, schema.RelayDevice) or row.shed is None:
            continue
        path: Path = ("device", index, "shed")
        if row.behind not in tiered:
            fix = "behind = a meter of a [[shed_tier]]; lifelines and critical meters are in none"
            yield "158", path, row.behind or "no meter", "what it switches is in no shed tier", fix
        if row.id in busy:
            yield "159", path, row.id, "it runs an appliance: the plan moves that", "one relay for each"
