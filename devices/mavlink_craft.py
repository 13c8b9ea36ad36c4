"""One aircraft as the ground sees it: found, read, loaded, checked, armed, followed. No I/O, no clock.

`PHASES` is the state table: how long each phase waits for an answer, how often it asks, and how long it may take. A
flight goes up only as far as the aircraft proves each step: fence up, fence back and equal, mission up, mission back
and equal, fail-safe parameters read anew, only then armed.

Source: https://mavlink.io/en/services/ (heartbeat, parameter, mission, command, opendroneid).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from devices.clock import SECOND_MS, Instant
from devices.flight_rules import FlightRules
from devices.mavlink_codec import Frame, Value
from devices.mavlink_flight import Flight, fence_items
from devices.mavlink_params import value_of
from devices.mavlink_preflight import Refusal, complete, failsafe_refusals, flight_refusals, wanted
from devices.mavlink_remote_id import frames as remote_id_frames
from devices.mavlink_transfer import Transfer, difference
from devices.mavlink_values import (
    AUTOPILOT_IDS,
    MODE_FLAG_ARMED,
    Autopilot,
    Command,
    Item,
    MissionType,
    Mode,
    Result,
    command_long,
    mode_number,
    mode_of,
)

LINK_LOST_MS = 5 * SECOND_MS
BEAT_MS = SECOND_MS
IN_AIR = 2
RESUME_MS = 10 * SECOND_MS
RATES_US = {33: 500_000, 1: 1_000_000, 147: 1_000_000, 245: 500_000, 42: 500_000, 242: 2_000_000}
"""Messages to be sent by themselves: GLOBAL_POSITION_INT, SYS_STATUS, BATTERY_STATUS, EXTENDED_SYS_STATE, ..."""


class Phase(StrEnum):
    """Where the aircraft stands with us."""

    SILENT = "silent"
    READING = "reading"  # its parameters
    IDLE = "idle"
    FENCE_UP = "fence up"
    FENCE_BACK = "fence back"
    MISSION_UP = "mission up"
    MISSION_BACK = "mission back"
    CHECKING = "checking"  # its parameters anew
    WAITING = "waiting"  # loaded and checked, not allowed to take off yet
    READYING = "readying"  # its mode
    ARMING = "arming"
    STARTING = "starting"
    FLYING = "flying"
    RETURNING = "returning"


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a phase asks, and when it has failed."""

    answer_ms: int
    tries: int
    whole_ms: int


PHASES: Mapping[Phase, Patience] = {
    Phase.READING: Patience(1_000, 6, 30_000),
    Phase.FENCE_UP: Patience(1_500, 5, 60_000),
    Phase.FENCE_BACK: Patience(1_500, 5, 60_000),
    Phase.MISSION_UP: Patience(1_500, 5, 60_000),
    Phase.MISSION_BACK: Patience(1_500, 5, 60_000),
    Phase.CHECKING: Patience(1_000, 6, 30_000),
    Phase.WAITING: Patience(60_000, 1_000_000, 10 * 60_000),
    Phase.READYING: Patience(1_500, 4, 10_000),
    Phase.ARMING: Patience(2_000, 4, 15_000),
    Phase.STARTING: Patience(2_000, 4, 30_000),
    Phase.FLYING: Patience(2_000, 1_000_000, 3 * 3_600_000),
    Phase.RETURNING: Patience(2_000, 1_000_000, 3_600_000),
}
LOADING = (
    Phase.FENCE_UP,
    Phase.FENCE_BACK,
    Phase.MISSION_UP,
    Phase.MISSION_BACK,
    Phase.CHECKING,
    Phase.WAITING,
    Phase.READYING,
)
BEFORE_FLIGHT = (*LOADING, Phase.ARMING, Phase.STARTING)
ALOFT = (Phase.FLYING, Phase.RETURNING)


@dataclass(frozen=True, slots=True)
class Airborne:
    """The aircraft has left the ground on its mission."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The mission is past an item."""

    item: int


@dataclass(frozen=True, slots=True)
class FlightDone:
    """Every item is flown, the aircraft has landed and disarmed."""

    key: str


@dataclass(frozen=True, slots=True)
class FlightFailed:
    """The flight will not be done; `refusals` where it was not allowed to begin."""

    key: str
    why: str
    refusals: tuple[Refusal, ...] = ()


CraftEvent = Airborne | Passed | FlightDone | FlightFailed


class CraftSession:
    """What the ground knows of one aircraft, and the one flight that it follows."""

    def __init__(self, rules: FlightRules, system: int | None = None) -> None:
        """Knows nothing yet; `system` None takes the first autopilot that is heard."""
        self.rules, self.system = rules, system
        self.target: tuple[int, int] = (system or 0, 1)
        self.phase = Phase.SILENT
        self.autopilot: Autopilot | None = None
        self.armed, self.mode = False, Mode.OTHER
        self.landed_state = 0
        self.place: tuple[float, float, float] | None = None  # latitude, longitude, height above take-off
        self.velocity = (0.0, 0.0)
        self.charge: float | None = None
        self.volts: float | None = None
        self.params: dict[str, float | None] = {}
        self.remote_id_why = ""
        self.link_lost = False
        self.holding = False  # hovers, or is told to
        self.paused = False  # must not take off, must hover
        self.cleared = True  # may take off once it is loaded and checked
        self.charging = False
        self.counters: dict[str, int] = {}
        self.flight: Flight | None = None
        self._fence: tuple[Item, ...] = ()
        self._transfer: Transfer | None = None
        self._out: list[Frame] = []
        self._events: list[CraftEvent] = []
        self._heard_at = Instant(0)
        self._boot_ms = 0
        self._since = self._asked_at = self._beat_at = Instant(0)
        self._tries = 0
        self._passed = -1
        self._text = ""
        self._why_back = ""
        self._resumed_at = Instant(0)

    # -- what the pilot asks -----------------------------------------------------------------------------------------

    @property
    def online(self) -> bool:
        """Returns whether the aircraft is heard and its parameters are known."""
        return not self.link_lost and self.phase not in (Phase.SILENT, Phase.READING)

    def standing(self) -> list[Refusal]:
        """Returns what keeps the aircraft from flying whatever the order: fail-safes, Remote ID."""
        if self.autopilot is None or not self.online:
            return []
        found = failsafe_refusals(self.autopilot, self.params, self.rules)
        if self.remote_id_why:
            found.append(Refusal("remoteId", "OPEN_DRONE_ID_ARM_STATUS", self.remote_id_why, "check its transmitter"))
        return found

    def dispatch(self, flight: Flight, now: Instant) -> None:
        """Begins to load a flight; an event tells how it ends. What already forbids it fails it at once."""
        assert self.flight is None, "one flight at a time"
        self.flight, self._passed, self._why_back = flight, -1, ""
        self.holding, self._resumed_at = False, Instant(0)
        if self.phase is not Phase.IDLE:
            self._fail(f"the aircraft is {self.phase}" if not self.link_lost else "no link to the aircraft")
            return
        if self.armed:
            self._fail("the aircraft is armed already: somebody else flies it")
            return
        refusals = [*self.standing(), *flight_refusals(flight, self.rules, self.charge, now)]
        if refusals:
            self._refuse(refusals)
            return
        self._fence = fence_items(self.rules.zones, self.rules.origin)
        self._enter(Phase.FENCE_UP, now)

    def give_up(self, why: str, now: Instant) -> None:
        """Ends the flight: what is not in the air stays down, what flies returns to its take-off place and lands."""
        if self.flight is None:
            return
        self._why_back = self._why_back or why
        if self.phase is Phase.FLYING or (self.phase is Phase.STARTING and self.armed):
            self._enter(Phase.RETURNING, now)
        elif self.phase is not Phase.RETURNING:
            if self.armed:
                self._command(Command.COMPONENT_ARM_DISARM, 0.0)
            self._fail(why)

    def hold(self, on: bool, now: Instant) -> None:
        """Hovers, or flies on. Before take-off it waits, loaded and checked, and one about to take off gives up."""
        self.paused = on
        match self.phase:
            case Phase.FLYING if on is not self.holding:
                self.holding, self._resumed_at = on, now
                self._asked_at = now
                self._ask()
            case Phase.READYING | Phase.ARMING | Phase.STARTING if on:
                self.give_up("stopped before take-off", now)
            case Phase.WAITING if not on and self.cleared:
                self._enter(Phase.CHECKING, now)  # everything is read anew: it may have waited for long
            case _:
                pass

    def take(self) -> tuple[list[Frame], list[CraftEvent]]:
        """Returns and forgets what is to be sent and what has happened."""
        out, events, self._out, self._events = self._out, self._events, [], []
        return out, events

    # -- what it hears -----------------------------------------------------------------------------------------------

    def receive(self, frame: Frame, now: Instant) -> None:
        """Takes a frame; those of other systems and of other components than an autopilot are not ours."""
        if frame.name == "HEARTBEAT":
            self._heartbeat(frame, now)
            return
        if self.autopilot is None or frame.system != self.target[0] or frame.component != self.target[1]:
            return
        match frame.name:
            case "GLOBAL_POSITION_INT":
                self._position(frame, now)
            case "PARAM_VALUE":
                self._param(frame, now)
            case "MISSION_CURRENT":
                self._progress(frame.whole("seq") - 1)
            case "MISSION_ITEM_REACHED":
                self._progress(frame.whole("seq"))
            case "COMMAND_ACK":
                self._acknowledged(frame, now)
            case _ if self._transfer is not None and frame.name.startswith("MISSION_"):
                self._transfer.receive(frame, now)
            case _:
                self._measure(frame)
        self._follow(now)

    def _measure(self, frame: Frame) -> None:
        match frame.name:
            case "SYS_STATUS" | "BATTERY_STATUS":
                remaining = frame.whole("battery_remaining")
                if 0 <= remaining <= 100:
                    before, self.charge = self.charge, remaining / 100
                    rose = before is not None and self.charge > before
                    self.charging = not self.armed and (rose or (self.charging and self.charge == before))
                millivolts = frame.whole("voltage_battery")
                self.volts = millivolts / 1000 if 0 < millivolts < 65535 else self.volts
            case "EXTENDED_SYS_STATE":
                self.landed_state = frame.whole("landed_state")
            case "STATUSTEXT":
                self._text = frame.text("text") if frame.whole("severity") <= 4 else self._text
            case "OPEN_DRONE_ID_ARM_STATUS":
                self.remote_id_why = (frame.text("error") or "not good to arm") if frame.whole("status") else ""
            case _:
                pass

    def due(self, now: Instant) -> None:
        """Sends what has become due: heartbeat, questions again; ends what has taken too long."""
        if now - self._beat_at >= BEAT_MS:
            self._beat_at = now
            beat: dict[str, Value] = {"type": 6, "autopilot": 8, "system_status": 4, "mavlink_version": 3}
            self._out.append(Frame("HEARTBEAT", beat))
            self._out += remote_id_frames(self.rules, self.target) if self.online else []
        if self.phase is Phase.SILENT:
            return
        if not self.link_lost and now - self._heard_at >= LINK_LOST_MS:
            self._lost()
        if self._transfer is not None:
            self._transfer.due(now)
        patience = PHASES.get(self.phase)
        if patience is not None and not self.link_lost:
            self._impatient(patience, now)
        self._follow(now)

    def next_deadline(self, now: Instant) -> Instant:
        """Returns when `due` must be called at the latest."""
        waits = [self._beat_at + BEAT_MS, now + 250 if self.phase in PHASES else now + BEAT_MS]
        return Instant(min(waits))

    # -- link --------------------------------------------------------------------------------------------------------

    def _heartbeat(self, frame: Frame, now: Instant) -> None:
        autopilot = AUTOPILOT_IDS.get(frame.whole("autopilot"))
        if autopilot is None or (self.system is not None and frame.system != self.system):
            return
        if self.autopilot is not None and frame.system != self.target[0]:
            return
        self.autopilot, self.target = autopilot, (frame.system, frame.component)
        self._heard_at = now
        self.armed = bool(frame.whole("base_mode") & MODE_FLAG_ARMED)
        self.mode = mode_of(autopilot, frame.whole("custom_mode"))
        if self.phase is Phase.SILENT:
            self._read(now)
        self.link_lost = False
        self._follow(now)

    def _lost(self) -> None:
        """Nothing heard: before take-off the flight is over, in the air its own fail-safe decides."""
        self.link_lost = True
        self._count("links_lost")
        if self.phase in BEFORE_FLIGHT and self.flight is not None:
            self._fail(f"no heartbeat for {LINK_LOST_MS // SECOND_MS} s while {self.phase}")

    def _position(self, frame: Frame, now: Instant) -> None:
        lat, lon = frame.whole("lat") / 1e7, frame.whole("lon") / 1e7
        self.place = (lat, lon, frame.whole("relative_alt") / 1000)
        self.velocity = (frame.whole("vy") / 100, frame.whole("vx") / 100)
        boot = frame.whole("time_boot_ms")
        if boot + SECOND_MS < self._boot_ms:
            self._count("reboots")
            if self.flight is not None:
                self._fail(f"the aircraft has restarted while {self.phase}")
            self._read(now)
        self._boot_ms = boot

    # -- parameters --------------------------------------------------------------------------------------------------

    def _read(self, now: Instant) -> None:
        for message, interval in RATES_US.items():
            self._command(Command.SET_MESSAGE_INTERVAL, float(message), float(interval))
        self._enter(Phase.READING, now)

    def _ask_params(self) -> None:
        assert self.autopilot is not None, "only an aircraft that is known is asked"
        for name in wanted(self.autopilot):
            if name not in self.params:
                fields: dict[str, Value] = {"param_id": name, "param_index": -1}
                self._out.append(Frame("PARAM_REQUEST_READ", {**self._to(), **fields}))

    def _param(self, frame: Frame, now: Instant) -> None:
        assert self.autopilot is not None, "receive() has looked"
        name = frame.text("param_id")
        if name not in wanted(self.autopilot):
            return
        self.params[name] = value_of(self.autopilot, frame)
        if complete(self.autopilot, self.params):
            self._params_known(now)

    def _params_known(self, now: Instant) -> None:
        if self.phase is Phase.READING:
            self.phase = Phase.IDLE
        elif self.phase is Phase.CHECKING:
            assert self.flight is not None, "only a flight is checked"
            refusals = [*self.standing(), *flight_refusals(self.flight, self.rules, self.charge, now)]
            if refusals:
                self._refuse(refusals)
            else:
                self._enter(Phase.READYING if self.cleared and not self.paused else Phase.WAITING, now)

    # -- phases ------------------------------------------------------------------------------------------------------

    def _enter(self, phase: Phase, now: Instant) -> None:
        self.phase, self._since, self._transfer = phase, now, None
        self._asked_at, self._tries = now, 1
        assert self.flight is not None or phase in (Phase.READING, Phase.RETURNING), phase
        items = () if self.flight is None else self.flight.items
        match phase:
            case Phase.READING | Phase.CHECKING:
                self.params = {}
                self._ask_params()
            case Phase.FENCE_UP:
                self._transfer = Transfer(MissionType.FENCE, self.target, self._fence, now)
            case Phase.FENCE_BACK:
                self._transfer = Transfer(MissionType.FENCE, self.target, None, now)
            case Phase.MISSION_UP:
                self._transfer = Transfer(MissionType.MISSION, self.target, items, now)
            case Phase.MISSION_BACK:
                self._transfer = Transfer(MissionType.MISSION, self.target, None, now)
            case _:
                self._ask()

    def _ask(self) -> None:
        """Sends the phase's command (again)."""
        assert self.autopilot is not None, "a flight needs a known aircraft"
        match self.phase:
            case Phase.READYING:
                self._set_mode(Mode.GUIDED)
            case Phase.ARMING:
                self._command(Command.COMPONENT_ARM_DISARM, 1.0)
            case Phase.STARTING if self.autopilot is Autopilot.PX4:
                self._set_mode(Mode.AUTO)
            case Phase.STARTING:
                self._command(Command.MISSION_START)
            case Phase.RETURNING if self.mode not in (Mode.RTL, Mode.LAND):
                self._command(Command.NAV_RETURN_TO_LAUNCH)
            case Phase.READING | Phase.CHECKING:
                self._ask_params()
            case Phase.FLYING if self.holding is not (self.mode is Mode.HOLD):
                self._set_mode(Mode.HOLD if self.holding else Mode.AUTO)
            case _:
                pass

    def _impatient(self, patience: Patience, now: Instant) -> None:
        if now - self._since >= patience.whole_ms:
            self._overdue(f"{self.phase} has taken longer than {patience.whole_ms // SECOND_MS} s", now)
        elif self._transfer is None and now - self._asked_at >= patience.answer_ms:
            if self._tries >= patience.tries:
                self._overdue(f"no answer while {self.phase} after {patience.tries} messages", now)
                return
            self._tries, self._asked_at = self._tries + 1, now
            self._ask()

    def _overdue(self, why: str, now: Instant) -> None:
        if self.phase in (Phase.READING, Phase.CHECKING):
            assert self.autopilot is not None, "only an aircraft that is known is asked"
            self.params |= {name: None for name in wanted(self.autopilot) if name not in self.params}
            self._params_known(now)  # what did not answer is a refusal with its name
        elif self.phase in ALOFT or self.armed:
            self.give_up(why, now)
        else:
            self._fail(why + (f" ({self._text})" if self._text else ""))

    def _follow(self, now: Instant) -> None:
        """Goes on where the aircraft has shown what the phase waits for."""
        if self._transfer is not None:
            self._out += self._transfer.take()
            if self._transfer.outcome is not None:
                self._transferred(self._transfer, now)
        elif self.phase is Phase.READYING and self.mode in (Mode.GUIDED, Mode.HOLD):
            self._enter(Phase.ARMING, now)
        elif self.phase is Phase.ARMING and self.armed:
            self._enter(Phase.STARTING, now)
        elif self.phase is Phase.STARTING and self.mode is Mode.AUTO and self.landed_state == IN_AIR:
            self._events.append(Airborne())
            self._enter(Phase.FLYING, now)
        elif self.phase is Phase.STARTING and not self.armed:
            self._fail("the aircraft has disarmed before take-off" + (f": {self._text}" if self._text else ""))
        elif self.phase in ALOFT and not self.armed and self.landed_state != IN_AIR:
            self._landed()
        elif self.phase is Phase.FLYING and self.armed and self.mode is not Mode.AUTO and not self._hovers(now):
            by_itself = self.mode in (Mode.RTL, Mode.LAND)
            who = "the aircraft's own fail-safe" if by_itself else "somebody has taken over"
            self._why_back = f"{who}: mode {self.mode}" + (f", {self._text}" if self._text else "")
            self.phase, self._since = Phase.RETURNING, now
            self._tries, self._asked_at = 1, Instant(now + (0 if by_itself else PHASES[Phase.RETURNING].whole_ms))

    def _hovers(self, now: Instant) -> bool:
        """Returns whether it stands in the air because we asked, or has not flown on yet."""
        return self.mode is Mode.HOLD and (self.holding or now - self._resumed_at < RESUME_MS)

    def _transferred(self, transfer: Transfer, now: Instant) -> None:
        assert transfer.outcome is not None, "_follow has looked"
        outcome, flight = transfer.outcome, self.flight
        assert flight is not None, "only a flight transfers"
        after = {
            Phase.FENCE_UP: Phase.FENCE_BACK,
            Phase.FENCE_BACK: Phase.MISSION_UP,
            Phase.MISSION_UP: Phase.MISSION_BACK,
            Phase.MISSION_BACK: Phase.CHECKING,
        }
        why = outcome.why
        if not why and self.phase is Phase.FENCE_BACK:
            why = difference(self._fence, outcome.items, skip_first=False)
            why = why and f"the fence read back is not the one sent: {why}"
        if not why and self.phase is Phase.MISSION_BACK:
            why = difference(flight.items, outcome.items, skip_first=self.autopilot is Autopilot.ARDUPILOT)
            why = why and f"the mission read back is not the one sent: {why}"
        if why:
            self._fail(why)
        else:
            self._enter(after[self.phase], now)
            self._follow(now)

    def _acknowledged(self, frame: Frame, now: Instant) -> None:
        """A refused arming or start is final; whether an accepted one has worked, the heartbeat tells."""
        result, command = frame.whole("result"), frame.whole("command")
        waited = {
            Phase.ARMING: (Command.COMPONENT_ARM_DISARM,),
            Phase.STARTING: (Command.MISSION_START, Command.DO_SET_MODE),
        }
        final = result in (Result.DENIED, Result.UNSUPPORTED, Result.FAILED)
        if final and command in waited.get(self.phase, ()):
            why = f"the aircraft refuses {Command(command).name}: {Result(result).name}"
            self.give_up(why + (f" ({self._text})" if self._text else ""), now)

    def _progress(self, through: int) -> None:
        if self.phase is not Phase.FLYING or self.flight is None:
            return
        for item in range(self._passed + 1, min(through, len(self.flight.items) - 1) + 1):
            self._passed = item
            if item < len(self.flight.items) - 1:  # the landing is over when it stands
                self._events.append(Passed(item))

    def _landed(self) -> None:
        flight = self.flight
        if flight is None:
            self.phase = Phase.IDLE
            return
        last = len(flight.items) - 1
        if self.phase is Phase.FLYING and self._passed >= last - 1:
            self._events += [Passed(last), FlightDone(flight.key)]
            self._over()
        else:
            self._fail(self._why_back or f"it landed and disarmed at item {self._passed + 1} of {last + 1}")

    # -- small things ------------------------------------------------------------------------------------------------

    def _refuse(self, refusals: list[Refusal]) -> None:
        self._fail("; ".join(refusal.text() for refusal in refusals), tuple(refusals))

    def _fail(self, why: str, refusals: tuple[Refusal, ...] = ()) -> None:
        assert self.flight is not None, "only a flight fails"
        self._events.append(FlightFailed(self.flight.key, why, refusals))
        self._over()

    def _over(self) -> None:
        self.flight, self._transfer = None, None
        if self.phase not in (Phase.SILENT, Phase.READING):
            self.phase = Phase.IDLE

    def _set_mode(self, mode: Mode) -> None:
        assert self.autopilot is not None, "only an aircraft that is known is asked"
        number = mode_number(self.autopilot, mode)
        if self.autopilot is Autopilot.PX4:
            self._command(Command.DO_SET_MODE, 1.0, float(number >> 16 & 0xFF), float(number >> 24))
        else:
            self._command(Command.DO_SET_MODE, 1.0, float(number))

    def _command(self, command: Command, *parameters: float) -> None:
        self._out.append(command_long(command, self.target, *parameters, confirmation=max(0, self._tries - 1) & 0xFF))

    def _to(self) -> dict[str, Value]:
        return {"target_system": self.target[0], "target_component": self.target[1]}

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1
