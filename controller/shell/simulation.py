"""Builds a simulated world from a site: fleet by entry point, the real cores, books, telemetry and planner child."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from controller import hub as core
from controller.beliefs import SERIES
from controller.report import Report, StormSeen, day_row, energy_truth, lifelines_missed, outside_payment, score_rows
from controller.settlement.accounts import OUTSIDE, ROUNDING, TREASURY, money, owes_account
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books, BooksRules
from controller.shell.data_dir import LEDGER
from controller.shell.gateway_setup import gateway_config, gateway_folder
from controller.shell.happenings import TARIFF, tariff_changes
from controller.shell.ledger_verify import verify
from controller.shell.planner import Planner, PlannerLimits
from controller.shell.simulated_voters import SimulatedVoters, electorate, expanded
from controller.shell.storm_trial import StormTrial, live_through
from controller.simulate import HUB_PHASE_MS, Happening, Parts, World
from controller.site import Site
from controller.store.belief_file import BeliefWriter
from controller.store.telemetry import TelemetryWriter
from devices import gateway as edge
from devices.clock import MINUTE_MS, SLOT_MS, Instant, iso
from devices.gateway_events import ForgetRecords, StoreEpoch, StoreRecords
from devices.model import DeviceKind, IntervalRecord
from devices.shell.data_lock import DataLock
from devices.shell.gateway_key import own_key
from devices.shell.outbox_file import DayChange, OutboxFile
from devices.simulated import Fleet, FleetFactory
from optimizer.answer import Answer
from optimizer.deliveries import DeliveriesProblem
from optimizer.problem import Problem, Stop

DEFAULT_START = Instant(1_780_264_800_000)  # 2026-06-01T00:00+02:00
SIMULATED_STOP = Stop(seconds=None, gap=0.005, nodes=100)
WAITED_FOR = PlannerLimits(timeout_s=600.0, nice=0)
"""Virtual time stands still while the child works: it needs no modesty, and a busy machine must change no result."""
SIMULATION_KEY = b"atoll simulation: not a secret  "
"""A ledger that nobody keeps is signed with a published key, so that equal runs have equal roots."""


class NoFleet(RuntimeError):
    """No simulated fleet is installed."""


def fleet_factory() -> FleetFactory:
    """Returns the installed fleet.

    Raises:
        NoFleet: the `atoll.fleet` entry point is missing.
    """
    found = sorted(entry_points(group="atoll.fleet"), key=lambda point: point.name)
    if not found:
        raise NoFleet("no simulated fleet is installed (entry point group atoll.fleet)")
    return cast("FleetFactory", found[0].load())


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """How to live: periods, seed, where to keep the databases (None: in memory)."""

    seed: int = 0
    cycle_ms: int = MINUTE_MS
    meter_poll_ms: int = 5 * MINUTE_MS  # meters and solar; everything that is steered by is read every cycle
    replan_ms: int | None = None
    stop: Stop = SIMULATED_STOP
    plan: bool = True
    data_dir: Path | None = None
    durability: str = "OFF"
    profiles: str | None = None
    happenings: tuple[Happening, ...] = ()
    storm: StormTrial | None = None


class _MemoryOutbox:
    """An outbox that a simulation without a data directory keeps in the gateway's own memory."""

    def store(self, effect: StoreRecords) -> None:
        """Nothing to do: the core holds the records until they are acknowledged."""

    def keep(self, effect: ForgetRecords | StoreEpoch) -> None:
        """Nothing to do."""


class _FileOutbox:
    """The gateway's real outbox file."""

    def __init__(self, file: OutboxFile) -> None:
        self.file = file

    def store(self, effect: StoreRecords) -> None:
        """Keeps records and marks."""
        self.file.write(effect.records, effect.marks, days=DayChange(effect.days, signs=True))

    def keep(self, effect: ForgetRecords | StoreEpoch) -> None:
        """Drops what the hub has committed, or remembers its epoch."""
        if isinstance(effect, StoreEpoch):
            self.file.write(meta=[("hub_epoch", effect.epoch)])
        else:
            self.file.write(acks=effect.acks, days=DayChange(acked=effect.days))


class Simulation:
    """A world and everything that has to be closed after it."""

    def __init__(self, site: Site, options: SimulationOptions, start: Instant) -> None:
        """Builds the world.

        Raises:
            AlreadyRunning: a hub, or another simulation, works on the data directory.
        """
        self.site = site
        self.options = options
        self.start = start
        folder = options.data_dir
        self._lock = None if folder is None else DataLock(folder, "hub")  # it writes what a hub writes
        self.fleet: Fleet = fleet_factory().build(site.devices, start, options.seed, options.profiles)
        self.planner = Planner(WAITED_FOR)
        self._scratch = TemporaryDirectory(prefix="atoll-") if folder is None else None
        self.ledger = Path(self._scratch.name if self._scratch else str(folder)) / LEDGER
        key = SIMULATION_KEY if folder is None else None
        rules = books_rules(site, key)
        if (voters := electorate(site.members, options.happenings)).of:
            rules = replace(rules, voters=voters)
        self.books = Books.open(self.ledger, rules, options.durability)
        for charter in tariff_changes(site.charter, options.happenings):
            self.books.announce(charter, start)
        self.telemetry = None if folder is None else TelemetryWriter(folder, options.durability)
        self.beliefs = None if folder is None else BeliefWriter(folder, options.durability)
        self._outboxes = {
            spec.id: None
            if folder is None
            else OutboxFile(gateway_folder(folder, spec.id) / "outbox.db", options.durability)
            for spec in site.gateways
        }
        rest = [one for one in options.happenings if one.name != TARIFF]
        if options.storm is not None:
            rest += options.storm.happenings(site, start)
        self.storm: StormSeen | None = None
        self.world = World(self._parts(), start, options.seed, expanded(site.members, rest))

    def _parts(self) -> Parts:
        options, site = self.options, self.site
        replan_ms = simulated_replan_ms(site, options)
        config = core.HubConfig(
            site=site,
            epoch=1,
            cycle_ms=options.cycle_ms,
            period_ms=options.cycle_ms,
            slow_period_ms=options.meter_poll_ms,
            floor_ms=0,
            replan_ms=replan_ms,
            simulated=True,
            phase_ms=HUB_PHASE_MS,
            plans=options.plan,
        )
        gateways = {
            spec.id: edge.Gateway(
                replace(
                    gateway_config(site, spec.id, options.cycle_ms, 0, options.meter_poll_ms),
                    key=None if options.data_dir is None else own_key(gateway_folder(options.data_dir, spec.id)),
                ),
                self.start,
            )
            for spec in site.gateways
        }
        for gateway in gateways.values():
            gateway.outbox.held_max = sys.maxsize  # all in memory: there may be no disk to fetch from
        outboxes = {
            name: _MemoryOutbox() if file is None else _FileOutbox(file) for name, file in self._outboxes.items()
        }
        return Parts(
            site=site,
            fleet=self.fleet,
            hub=core.start(config, self.start),
            gateways=gateways,
            planner=self.ask,
            books=Bookkeeper(self.books),
            telemetry=self.telemetry,
            outboxes=outboxes,
            beliefs=self.beliefs,
            people=SimulatedVoters(self.books),
        )

    def ask(self, problem: Problem | DeliveriesProblem, *, warm: bool) -> Answer:
        """Returns the warm child's answer under node and gap limits, never wall time."""
        return self.planner.ask(problem, self.options.stop, self.options.seed, warm=warm)

    def live(self, until: Instant, progress: Callable[[Instant], None] | None = None) -> None:
        """Lives up to `until`, and on until every record is committed."""
        self.storm = live_through(self.world, self.options.storm, until, progress)
        self.world.drain()

    def close(self) -> None:
        """Closes files and child."""
        self.planner.close()
        if self.telemetry is not None:
            self.telemetry.close(self.world.now)
        if self.beliefs is not None:
            self.beliefs.close()
        for file in self._outboxes.values():
            if file is not None:
                file.close()
        self.books.close(self.world.now)
        if self._lock is not None:
            self._lock.close()
        if self._scratch is not None:
            self._scratch.cleanup()


def simulated_replan_ms(site: Site, options: SimulationOptions) -> int:
    """Returns the time between plans: as asked, else the site's but one a slot at most, for speed."""
    return options.replan_ms or max(site.replan_ms, SLOT_MS)


def report_of(simulation: Simulation, days: float, speed: float) -> Report:
    """Returns the report; recomputes the whole ledger for `ledger_ok`."""
    world, books, options = simulation.world, simulation.books, simulation.options
    site, tally = world.parts.hub.config.site, world.tally  # under the charters that came to hold
    reader = books.reader()
    records = [
        record
        for device in (*site.of_kind(DeviceKind.GRID), *site.of_kind(DeviceKind.GENSET))
        for record in books.records(simulation.start, world.now, device.id)
    ]
    truth = simulation.fleet.truth()
    asset = money(site.charter)
    owed = {balance.account: balance.posted for balance in reader.balances() if balance.asset == asset}
    committed = reader.records()
    return Report(
        days=days,
        seed=options.seed,
        records_sent=tally.records_sent,
        records_committed=committed,
        records_lost=tally.records_sent - committed,
        entries=books.size,
        ledger_ok=verify(simulation.ledger).ok,
        imbalance=books.imbalance(),
        lifeline_missed=lifelines_missed(site, truth.home_days),
        **energy_truth(truth),
        cost_minor=outside_payment(site, records).cost_minor,
        currency=site.charter.currency,
        cycle_s=options.cycle_ms / 1000,
        meter_poll_s=max(options.cycle_ms, options.meter_poll_ms) / 1000,
        replan_s=simulated_replan_ms(site, options) / 1000,
        plans_asked=tally.plans_asked,
        plans_used=tally.plans_used,
        plan_failures=tally.plan_failures,
        plans_shadow=tally.plans_shadow,
        plan_causes=tally.causes,
        plan_days=tuple(day_row(day) for day in tally.days),
        forecast_scores=score_rows(score for score in tally.scores if score.series in SERIES),
        plan_error_w=_plan_error(tally.planned_w, records, site),
        alarms=tally.alarms,
        missions=tally.missions,
        deliveries=tally.deliveries,
        votes=tuple(_vote_rows(books)),
        rounding_minor=owed.get(ROUNDING, 0),
        outside_minor=-owed.get(OUTSIDE, 0),
        treasury_minor=-owed.get(TREASURY, 0),
        bills_minor={member.id: owed.get(owes_account(member.id), 0) for member in site.members},
        durability="OFF (kept nowhere)" if options.data_dir is None else options.durability,
        ledger_root=books.root(),
        trace_hash=world.trace_hash,
        speed=speed,
        storm=simulation.storm,
    )


def _vote_rows(books: Books) -> Iterator[Mapping[str, object]]:
    """Yields each vote with its result, and how many days its charter has settled."""
    days = books.days_by_vote()
    for vote in books.till.votes.polls().votes:
        yield {
            "vote": vote.number,
            "charter": vote.title,
            "state": vote.state,
            "yes": len(vote.yes()),
            "no": len(vote.no()),
            "need": vote.electorate.need,
            "valid_from": iso(Instant(int(str(vote.document["valid_from"])))),
            "days_settled": days.get(vote.id, 0),
        }


def _plan_error(planned: Mapping[Instant, float], records: Sequence[IntervalRecord], site: Site) -> float | None:
    """Returns the mean |planned - actual| exchange with the outside over slots that had a plan [W]."""
    grids = {device.id for device in site.of_kind(DeviceKind.GRID)}
    errors = [
        abs(
            planned[record.start]
            - (record.import_delta - record.export_delta) * 3_600_000 / (record.end - record.start)
        )
        for record in records
        if record.usage_point in grids and record.start in planned
    ]
    return sum(errors) / len(errors) if errors else None


def books_rules(site: Site, key: bytes | None = None) -> BooksRules:
    """Returns what the books need of a site."""
    grid = site.of_kind(DeviceKind.GRID)[0].id
    return BooksRules(
        site.id, site.charter, site.members, grid_point=grid, tzdata=tzdata_version(), key=key, money=site.money,
        voters=site.ledger.voters, witnesses=site.ledger.policy(),
    )  # fmt: skip


def tzdata_version() -> str:
    """Returns the version of the time zone data in use, as far as the machine tells."""
    for path in (Path("/usr/share/zoneinfo/tzdata.zi"), Path("/usr/share/zoneinfo/+VERSION")):
        if path.exists():
            return path.read_text(encoding="ascii", errors="replace").splitlines()[0].removeprefix("# version ")
    return "unknown"


def start_of(site: Site) -> Instant:
    """Returns the instant at which a site's simulation begins."""
    return DEFAULT_START if site.simulate_start is None else site.simulate_start
