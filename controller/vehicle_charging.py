"""Vehicles' packs in the energy plan, and the plan's word to the chargers: charge now, or wait for the sun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.deliveries import Desk
from controller.delivery_problem import CHARGE_EFFICIENCY
from controller.image import Snapshot
from controller.missions import VEHICLE_KINDS, Board, Run, RunState
from devices.clock import MINUTE_MS, Instant
from devices.model import DeviceId, Message
from devices.vda5050 import Action, BlockingType, OperatingMode
from optimizer.plan import Mode, StorageStep
from optimizer.problem import AssetId
from optimizer.trip_ask import Pack, TripAsk

READY_ABOVE_RESERVE = 0.27
"""Kept above the reserve for what comes unasked; a little more than a mission needs to start."""
FULL = 0.97
NEAR_MS = 90 * MINUTE_MS
SPARE = 0.05
TURNAROUND_MS = 2 * MINUTE_MS
"""Between two flights of a drone, as in `optimizer.flight_problem.Drone`."""
REST_MS = 5 * MINUTE_MS
"""Between two words to one charger."""


def vehicle_packs(desk: Desk, board: Board, snapshot: Snapshot, worth: float) -> tuple[Pack, ...]:
    """Returns the packs of the vehicles that deliver and report; what is left at the end is worth `worth` per kWh."""
    packs: list[Pack] = []
    site = desk.site
    for spec in (spec for kind in VEHICLE_KINDS for spec in site.of_kind(kind)) if site.deliveries else ():
        soc, session = snapshot.value(spec.id, "soc"), board.sessions.get(spec.id)
        if soc is None or session is None or not session.online:
            continue
        energy, reserve = spec.ratings["energy_wh"] / 1000, spec.ratings["soc_reserve"]
        packs.append(
            Pack(
                AssetId(spec.id),
                energy,
                soc * energy,
                spec.ratings["charge_w_max"] / 1000,
                CHARGE_EFFICIENCY,
                reserve * energy,
                min(FULL, reserve + READY_ABOVE_RESERVE) * energy,
                worth,
                tuple(run.opens for run in _jobs(board, spec.id)),
            )
        )
    return tuple(packs)


def trip_asks(desk: Desk, board: Board, snapshot: Snapshot, packs: Sequence[Pack], end: Instant) -> tuple[TripAsk, ...]:
    """Returns the trips of these packs, under way and to come, with when they may leave.

    Only a trip whose times all lie before `end` may move: beyond the plan's end power costs nothing.
    """
    known = {pack.vehicle for pack in packs}
    found: dict[AssetId, TripAsk] = {}
    for trip in (*desk.trips, *(out.trip for out in desk.out.values())):
        if AssetId(trip.vehicle) not in known:
            continue
        window = desk.window(trip, board, snapshot.now)
        if window[1] + trip.back - trip.begin > end:
            window = trip.begin, trip.begin
        back = Instant(trip.back + (0 if trip.loading_ms else TURNAROUND_MS))
        energy = 0.0 if trip.leave <= snapshot.now else trip.energy_wh / 1000
        name = AssetId(trip.id)
        found[name] = TripAsk(name, AssetId(trip.vehicle), trip.begin, back, energy, *window, trip.words)
    return tuple(found.values())


def _jobs(board: Board, device: str) -> list[Run]:
    """Returns a vehicle's daily jobs that still wait."""
    return [run for run in board.runs() if run.job.device == device and run.state is RunState.WAITING]


def urgent(desk: Desk, board: Board, snapshot: Snapshot) -> frozenset[str]:
    """Returns the vehicles that must charge whatever the plan says: work is near and the pack is not ready for it."""
    found: set[str] = set()
    for device in board.sessions:
        soc, spec = snapshot.value(device, "soc"), desk.site.device(device)
        if soc is None or spec is None:
            continue
        soon = snapshot.now + NEAR_MS
        needs = [spec.ratings["soc_reserve"] + READY_ABOVE_RESERVE]
        needs += [FULL for run in _jobs(board, device) if (run.planned or run.opens) <= soon <= run.closes + NEAR_MS]
        needs += [
            spec.ratings["soc_reserve"] + SPARE + trip.energy_wh / spec.ratings["energy_wh"]
            for trip in desk.trips
            if trip.vehicle == device and trip.leave <= soon
        ]
        if soc < min(FULL, max(needs)):
            found.add(device)
    return frozenset(found)


class Charging:
    """Start and stop, said to vehicles on their docks. A vehicle that is told nothing charges by itself."""

    def __init__(self) -> None:
        """Has said nothing yet."""
        self._said: dict[DeviceId, tuple[bool, Instant]] = {}

    def tick(
        self, desk: Desk, board: Board, steps: Mapping[DeviceId, StorageStep], snapshot: Snapshot, now: Instant
    ) -> list[Message]:
        """Returns the words that change something: the plan's, or charge when there is no plan or too little charge."""
        messages: list[Message] = []
        must = urgent(desk, board, snapshot)
        for device, session in board.sessions.items():
            state, soc, step = session.state, snapshot.value(device, "soc"), steps.get(device)
            if state is None or soc is None or session.order is not None or state.nodeStates or state.driving:
                self._said.pop(device, None)  # it charges by itself when it comes home
                continue
            wanted = step is None or device in must or step.mode is Mode.CHARGE or step.expected_w > 0
            said, at = self._said.get(device, (True, Instant(0)))
            if said is wanted or now - at < REST_MS or state.operatingMode is not OperatingMode.AUTOMATIC:
                continue
            self._said[device] = (wanted, now)
            kind = "startCharging" if wanted else "stopCharging"
            messages.append(session.instant((Action(kind, f"{kind}-{device}-{now}", BlockingType.NONE),), now))
        return messages
