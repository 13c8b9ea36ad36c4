"""The deliveries that wait, as a question to the planner: metres, seconds from its start, grams, micro-units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot

from controller.image import Snapshot
from controller.missions import Board
from controller.site import Place, Site
from controller.site_deliveries import Delivery
from devices.clock import HOUR_MS, MINUTE_MS, Instant, floor_to
from devices.model import DeviceKind, DeviceSpec
from devices.vda5050 import OperatingMode
from optimizer.deliveries import DeliveriesProblem
from optimizer.flight_problem import M100, PARCELS_MAX, Drone, FlightsProblem, Parcel
from optimizer.logistics import (
    Depot,
    Halt,
    Matrix,
    RoundsProblem,
    Shipment,
    Travel,
    Vehicle,
    VehicleId,
    Visit,
    VisitId,
)

PRIORITY_PRICE = 2_000_000
"""Micro-units that leaving out a delivery of priority 1 costs; priority 9 costs nine times as much."""
MEDICINE_FACTOR = 1_000
ENERGY_PRICE = 300
"""Micro-units per Wh: 0.30 a kWh."""
MARGIN_MS = 5 * MINUTE_MS
"""Plans end this long before a window does, where the window is long enough."""
FLIGHT_PRICE = 100_000
LOADING_S = 60
FULL = 0.95
DRIVEN_SHARE = 0.75
"""Of a pack's usable energy goes into driving; the rest is for stops and for what a plan does not know."""
STOP_W = 350.0
"""What a ground vehicle takes while it serves a stop [W]."""
USUAL = {
    DeviceKind.ROBOT: {"payload_kg": 80.0, "speed_mps": 1.0, "wh_per_km": 25.0},
    DeviceKind.DRONE: {"payload_kg": 1.0, "speed_mps": 10.0, "wh_per_km": 15.0},
}
CHARGE_EFFICIENCY = 0.9
QUIET_MS = 2 * HOUR_MS
"""No round waits this long for the next window: there is time to come home and charge."""
_SHIFT = "#"
"""Between a device's id and the number of its shift, the first has none."""
Held = Mapping[tuple[str, str], Instant]
"""Stops, by run and part, that do not begin before: where the energy plan has moved their trips to."""
HORIZON_MS = 36 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Waiting:
    """One day's run of a delivery that is still to be planned."""

    key: str
    delivery: Delivery
    opens: Instant
    closes: Instant
    ready: Instant


def rating(spec: DeviceSpec, name: str) -> float:
    """Returns a vehicle's rating, or what is usual for its kind."""
    return spec.ratings.get(name, USUAL[spec.kind][name])


def dock_of(site: Site) -> Place:
    """Returns the place where vehicles stand and goods are loaded."""
    return site.place("dock") or Place("dock", 0.0, 0.0)


def usable(site: Site, board: Board, snapshot: Snapshot, kind: DeviceKind) -> list[DeviceSpec]:
    """Returns the vehicles that report, drive by themselves and have no error; they may be on their way."""
    found: list[DeviceSpec] = []
    for spec in site.of_kind(kind):
        session = board.sessions.get(spec.id)
        state = None if session is None else session.state
        if session is None or state is None or not session.online or snapshot.value(spec.id, "soc") is None:
            continue
        if state.operatingMode is OperatingMode.AUTOMATIC and not state.errors:
            found.append(spec)
    return found


def build(
    site: Site,
    board: Board,
    snapshot: Snapshot,
    waiting: Sequence[Waiting],
    busy: Mapping[VehicleId, Instant],
    held: Held,
    now: Instant,
) -> DeliveriesProblem | None:
    """Returns the question, or None where nothing waits or nobody can go. `busy` tells until when a vehicle is out."""
    start = floor_to(now, MINUTE_MS)
    robots = usable(site, board, snapshot, DeviceKind.ROBOT)
    drones = usable(site, board, snapshot, DeviceKind.DRONE)
    by_air = [one for one in waiting if flies(one.delivery, drones, robots)][:PARCELS_MAX]
    by_ground = [one for one in waiting if one not in by_air and one.delivery.by != "air"]

    def free(spec: DeviceSpec) -> int:
        return max(0, -(-(busy.get(VehicleId(spec.id), start) - start) // 1000))

    rounds = _rounds(site, robots, by_ground, start, held, free=[free(spec) for spec in robots])
    flights = _flights(site, snapshot, drones, by_air, start, held, free=[free(spec) for spec in drones])
    return None if rounds is None and flights is None else DeliveriesProblem(start, rounds, flights)


def flies(delivery: Delivery, drones: Sequence[DeviceSpec], robots: Sequence[DeviceSpec]) -> bool:
    """Returns whether a delivery goes by air: it must, or it may and a drone can carry it (or nobody else is there)."""
    if delivery.by == "ground" or delivery.kind in ("waste", "transfer"):
        return False
    carried = any(delivery.mass_kg <= rating(spec, "payload_kg") for spec in drones)
    return delivery.by == "air" or carried or not robots


def _seconds(at: Instant, start: Instant) -> int:
    return max(0, (at - start) // 1000)


def first_begin(one: Waiting, part: str) -> Instant:
    """Returns when a stop may begin: its window opens; what is fetched is ready."""
    return one.ready if part == "pickup" else one.opens


def last_begin(one: Waiting) -> Instant:
    """Returns when a stop should have begun at the latest."""
    return Instant(max(one.closes - MARGIN_MS, one.opens + (one.closes - one.opens) // 2))


def prize(delivery: Delivery) -> int:
    """Returns what leaving a delivery out costs [micro-units]."""
    return delivery.priority * PRIORITY_PRICE * (MEDICINE_FACTOR if delivery.kind == "medicine" else 1)


def _early(one: Waiting, part: str, start: Instant, held: Held) -> int:
    """Returns when a stop may begin [s from the start], where it is held until then, but never too late."""
    first = first_begin(one, part)
    return min(_seconds(max(first, held.get((one.key, part), first)), start), _seconds(last_begin(one), start))


def _rounds(
    site: Site,
    robots: Sequence[DeviceSpec],
    waiting: Sequence[Waiting],
    start: Instant,
    held: Held,
    free: Sequence[int],
) -> RoundsProblem | None:
    if not robots or not waiting:
        return None
    named = {one.delivery.place for one in waiting} | {one.delivery.from_place for one in waiting}
    spots = [dock_of(site), *(place for place in site.places if place.id in named)]
    index = {place.id: at for at, place in reversed(list(enumerate(spots)))}
    visits: list[Visit] = []
    shipments: list[Shipment] = []
    for one in waiting:
        delivery, grams = one.delivery, (round(one.delivery.mass_kg * 1000),)
        late = _seconds(last_begin(one), start)
        early = _early(one, "delivery" if delivery.kind == "transfer" else "serve", start, held)
        service, place = -(-delivery.service_ms // 1000), index[delivery.place]
        if delivery.kind == "transfer":
            pickup = Halt(index[delivery.from_place], service, _early(one, "pickup", start, held), late)
            shipments.append(
                Shipment(VisitId(one.key), pickup, Halt(place, service, early, late), grams, prize(delivery))
            )
            continue
        out, back = ((), grams) if delivery.kind == "waste" else (grams, ())
        release = min(_seconds(one.ready, start), late)
        visits.append(Visit(VisitId(one.key), place, out, back, service, early, late, release, prize(delivery)))
    speeds = sorted({rating(spec, "speed_mps") for spec in robots})
    shifts = _shifts(waiting, start)
    return RoundsProblem(
        tuple(_travel(spots, speed) for speed in speeds),
        (Depot(0, loading=LOADING_S),),
        tuple(
            Vehicle(
                VehicleId(spec.id if not number else f"{spec.id}{_SHIFT}{number}"),
                capacity=(round(rating(spec, "payload_kg") * 1000),),
                early=max(early, begin),
                late=end,
                distance_max=round(range_m(spec)),
                distance_cost=round(rating(spec, "wh_per_km") * ENERGY_PRICE / 1000),
                profile=speeds.index(rating(spec, "speed_mps")),
                reload_depots=(0,),
            )
            for spec, early in zip(robots, free, strict=True)
            for number, (begin, end) in enumerate(shifts)
            if early < end
        ),
        tuple(visits),
        tuple(shipments),
    )


def _shifts(waiting: Sequence[Waiting], start: Instant) -> list[tuple[int, int]]:
    """Returns (begin, end) of the times in which vehicles are out [s from the start], parted where no window is open.

    Waiting costs a round nothing, so one vehicle for everything may fetch tomorrow's waste on this morning's trip and
    stand there overnight. Each shift has vehicles of its own, with packs that were charged meanwhile: it begins when
    all windows before are closed, and ends when the next one opens.
    """
    shifts: list[tuple[int, int]] = []
    closed = begin = 0
    for one in sorted(waiting, key=lambda one: one.opens):
        opens = _seconds(one.opens, start)
        if closed and opens - closed > QUIET_MS // 1000:
            shifts.append((begin, opens))
            begin = closed
        closed = max(closed, _seconds(one.closes, start))
    return [*shifts, (begin, HORIZON_MS // 1000)]


def device_of(vehicle: VehicleId) -> VehicleId:
    """Returns the device that a vehicle of a shift is."""
    return VehicleId(vehicle.partition(_SHIFT)[0])


def range_m(spec: DeviceSpec) -> float:
    """Returns how far a full pack drives and keeps its reserve [m]."""
    usable_wh = (FULL - spec.ratings["soc_reserve"]) * spec.ratings["energy_wh"] * DRIVEN_SHARE
    return usable_wh / rating(spec, "wh_per_km") * 1000


def _travel(spots: Sequence[Place], speed: float) -> Travel:
    metres: Matrix = tuple(tuple(round(hypot(a.x - b.x, a.y - b.y)) for b in spots) for a in spots)
    return Travel(metres, tuple(tuple(-(-way // speed).__int__() if way else 0 for way in row) for row in metres))


def _flights(
    site: Site,
    snapshot: Snapshot,
    drones: Sequence[DeviceSpec],
    waiting: Sequence[Waiting],
    start: Instant,
    held: Held,
    free: Sequence[int],
) -> FlightsProblem | None:
    if not drones or not waiting:
        return None
    dock = dock_of(site)
    made: list[Drone] = []
    for spec, early in zip(drones, free, strict=True):
        energy = spec.ratings["energy_wh"]
        frame = replace(M100, payload_kg_max=rating(spec, "payload_kg"), speed_mps=rating(spec, "speed_mps"))
        made.append(
            Drone(
                VehicleId(spec.id),
                frame,
                dock.x,
                dock.y,
                battery_wh=0.98 * energy,
                charge_now_wh=min(snapshot.value(spec.id, "soc") or 0.0, 0.98) * energy,
                reserve_wh=spec.ratings["soc_reserve"] * energy,
                charge_w=spec.ratings["charge_w_max"] * CHARGE_EFFICIENCY,
                early=early,
                late=HORIZON_MS // 1000,
                flight_price=FLIGHT_PRICE,
            )
        )
    parcels: list[Parcel] = []
    for one in waiting:
        place = site.place(one.delivery.place)
        assert place is not None, "a checked site file names only places that exist"
        opens = max(_early(one, "serve", start, held), _seconds(one.ready, start))
        parcels.append(
            Parcel(
                VisitId(one.key),
                place.x,
                place.y,
                one.delivery.mass_kg,
                opens,
                max(opens, _seconds(last_begin(one), start)),
                -(-one.delivery.service_ms // 1000),
                one.delivery.priority * PRIORITY_PRICE,
                medical=one.delivery.kind == "medicine",
            )
        )
    return FlightsProblem(
        tuple(made),
        tuple(parcels),
        chargers=len(made),  # every vehicle has a dock of its own
        energy_price=ENERGY_PRICE,
        horizon=HORIZON_MS // 1000,
    )
