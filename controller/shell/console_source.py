"""The console's window on the live hub: views from the loop, ledger and series from own read-only connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.civil import day_start
from controller.commands import Command, CommandResult
from controller.community_values import CharterPage, MoneyPage
from controller.community_view import holdable
from controller.console.source import (
    HomeEntry,
    LedgerBalance,
    LedgerEntry,
    LedgerHead,
    LedgerPosting,
    LedgerProof,
)
from controller.entry_words import amount_text, entry_text
from controller.outlook import Kept, best_hours, plan_view
from controller.settlement.charter import Member
from controller.shell.community_reader import CommunityReader
from controller.shell.hub import LiveHub
from controller.shell.ledger_reader import EntryView, LedgerReader
from controller.store.belief_file import BeliefReader
from controller.store.series import PointRange, Series
from controller.store.telemetry import TelemetryReader
from controller.storm_values import StormView
from controller.storm_view import storm_view
from controller.views import BillLineView, HomeView, NowView, PlanView
from devices.clock import DAY_MS, HOUR_MS, SLOT_MS, Instant, floor_to
from devices.model import PointId

DAYS_SHOWN = 14


class HubSource:
    """See `controller.console.source.ConsoleSource`."""

    def __init__(self, live: LiveHub, data_dir: Path) -> None:
        self._live = live
        self._site = live.site
        self._ledger = LedgerReader.open(data_dir / "ledger.db")
        self._community = CommunityReader(data_dir / "ledger.db")
        self._telemetry = TelemetryReader(data_dir)
        self._beliefs = BeliefReader(data_dir)
        self._households = [member for member in live.site.members if member.role != "community"]

    def now(self) -> NowView:
        """Returns the view of the last cycle."""
        return self._live.view()

    def changed(self, version: int, timeout_s: float) -> int:
        """Waits for a newer view."""
        return self._live.changed(version, timeout_s)

    def command(self, command: Command) -> CommandResult:
        """Hands a command to the hub."""
        return self._live.command(command)

    def plan(self, known: Instant | None = None) -> PlanView:
        """Returns forecast, plan and actual on one axis; with `known`, what was believed then beside what came."""
        now, beliefs = self._live.view().at, self._beliefs
        if known is None:
            kept = Kept(beliefs.days(DAYS_SHOWN), beliefs.scores())
        else:
            kept = Kept(belief=beliefs.belief(known), plan=beliefs.plan(known), at=known)
        return plan_view(self._live.hub, now, lambda points, start, end: self.series(points, start, end, SLOT_MS), kept)

    def storm(self) -> StormView:
        """Returns the Storm page of the last cycle."""
        return storm_view(self._live.hub, self._live.view().at)

    # -- rules and money -------------------------------------------------------------------------------------------

    def charter(self) -> CharterPage:
        """Returns the rules in force and every vote."""
        return self._community.charter(self._live.view().at)

    def ballot(self, number: int, choice: str) -> Mapping[str, object] | None:
        """Returns the ballot to sign for a choice in an open vote, or None."""
        return self._community.ballot(number, choice)

    def vote_file(self, number: int) -> bytes | None:
        """Returns what a recount of a counted vote needs, or None."""
        return self._community.vote_file(number)

    def money(self) -> MoneyPage:
        """Returns the treasurer's page."""
        labels = {member.id: member.name for member in self._site.members}
        return self._community.money(self._live.view().at, labels, holdable(self._site))

    def close_paper(self, period: str) -> Mapping[str, object] | None:
        """Returns what an officer with a key signs to close a period, or None."""
        return self._community.close_paper(period)

    def series(self, points: Sequence[PointId], start: Instant, end: Instant, step_ms: int) -> Series:
        """Returns means per step of [start, end) from the telemetry store."""
        return self._telemetry.series(points, start, end, step_ms)

    def ranges(self, points: Sequence[PointId], start: Instant, end: Instant) -> Mapping[PointId, PointRange]:
        """Returns every sample of [start, end) from the telemetry store."""
        return self._telemetry.ranges(points, start, end)

    # -- households ------------------------------------------------------------------------------------------------

    def homes(self) -> tuple[HomeEntry, ...]:
        """Returns all households in file order."""
        now = self._live.view().at
        found: list[HomeEntry] = []
        for member in self._households:
            used, _ = self._today(member, now)
            left = max(0, self._live.hub.config.site.charter.lifeline_wh - used) if member.lifeline else 0
            found.append(HomeEntry(member.id, member.name, used, left))
        return tuple(found)

    def home(self, home: str) -> HomeView | None:
        """Returns a household's page, or None."""
        member = next((one for one in self._households if one.id == home), None)
        if member is None:
            return None
        now = self._live.view().at
        day = day_start(self._site.timezone, now)
        used, given = self._today(member, now)
        water = self._sum(member.water_points, day, now)[0]
        charter = self._live.hub.config.site.charter
        lifeline_wh = charter.lifeline_wh if member.lifeline else 0
        lifeline_ml = charter.lifeline_ml if member.lifeline else 0
        so_far, bill = self._ledger.day_so_far(member.id, now), self._ledger.bill_so_far(member.id, now)
        share = None
        if so_far is not None and so_far.so_far.used > 0:
            share = so_far.so_far.from_local / so_far.so_far.used
        return HomeView(
            id=member.id,
            label=member.name,
            at=now,
            used_today_wh=used,
            exported_today_wh=given,
            local_share=share,
            lifeline_wh=lifeline_wh,
            lifeline_left_wh=max(0, lifeline_wh - used),
            water_today_ml=water,
            lifeline_ml=lifeline_ml,
            lifeline_left_ml=max(0, lifeline_ml - water),
            best_hours=best_hours(self._live.hub, now),
            period_start=day if bill is None else bill.start,
            lines=()
            if bill is None
            else tuple(
                BillLineView(line.text, line.quantity_text(), line.price_text(bill.currency), line.amount_text())
                for line in bill.lines
            ),
            total="" if bill is None else bill.text,
            provisional=True,
            hourly_wh=self._hourly(member, now),
        )

    def _today(self, member: Member, now: Instant) -> tuple[int, int]:
        return self._sum(member.usage_points, day_start(self._site.timezone, now), now)

    def _sum(self, points: Sequence[str], start: Instant, end: Instant) -> tuple[int, int]:
        slots = [slot for point in points for slot in self._ledger.home_energy(point, start, end)]
        return sum(slot.imported for slot in slots), sum(slot.exported for slot in slots)

    def _hourly(self, member: Member, now: Instant) -> tuple[tuple[Instant, int], ...]:
        end = Instant(floor_to(now, HOUR_MS) + HOUR_MS)
        hours = {Instant(at): 0 for at in range(end - DAY_MS, end, HOUR_MS)}
        for point in member.usage_points:
            for slot in self._ledger.home_energy(point, Instant(end - DAY_MS), end):
                hours[floor_to(slot.start, HOUR_MS)] += slot.imported
        return tuple(hours.items())

    # -- ledger ----------------------------------------------------------------------------------------------------

    def ledger_head(self) -> LedgerHead:
        """Returns the newest head."""
        head = self._ledger.head()
        return LedgerHead(self._live.view().at, head.size, head.root, head.checkpoint)

    def ledger_entries(self, before: int | None, limit: int) -> tuple[LedgerEntry, ...]:
        """Returns entries, newest first."""
        return tuple(self._entry(entry) for entry in self._ledger.entries(before, limit))

    def ledger_entry(self, seq: int) -> LedgerProof | None:
        """Returns an entry with its proof, or None."""
        entry, proof = self._ledger.entry(seq), self._ledger.proof(seq)
        if entry is None or proof is None:
            return None
        return LedgerProof(self._entry(entry), self._ledger.document(seq) or "", proof.size, proof.hashes, proof.root)

    def ledger_balances(self) -> tuple[LedgerBalance, ...]:
        """Returns all balances by asset and account."""
        found = [
            LedgerBalance(
                balance.account,
                self._account_label(balance.account),
                balance.asset,
                *self._amount(balance.asset, balance.posted),
            )
            for balance in self._ledger.balances()
        ]
        return tuple(sorted(found, key=lambda balance: (balance.asset, balance.account)))

    def _entry(self, entry: EntryView) -> LedgerEntry:
        postings = tuple(
            LedgerPosting(posting.account, posting.asset, *self._amount(posting.asset, posting.amount))
            for posting in entry.postings
        )
        return LedgerEntry(
            entry.seq,
            entry.at,
            entry.kind,
            entry.id,
            entry_text(entry.kind, entry.body, entry.member, entry.period, zone=self._site.timezone),
            postings,
        )

    def _amount(self, asset: str, amount: int) -> tuple[str, str]:
        return amount_text(asset, amount, self._site.charter.minor_digits)

    def _account_label(self, account: str) -> str:
        parts = account.split(":")
        if parts[0] != "member":
            return account.replace(":", " ")
        name = next((member.name for member in self._site.members if member.id == parts[1]), parts[1])
        return f"{name} {parts[2]}"
