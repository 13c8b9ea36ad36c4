"""The rules of one ledger, published in its own log: genesis, accounts, charters, tariff tables."""

from __future__ import annotations

from dataclasses import dataclass

from controller.ledger.canonical import Json
from controller.ledger.core import OpenAccount, Post
from controller.ledger.entries import SealedEntry, derived_id
from controller.settlement.accounts import COMMUNITY_ACCOUNTS, ENERGY, WATER, member_accounts, money
from controller.settlement.charter import Charter, Member
from controller.settlement.published import CHARTER, CHARTER_TABLE, Published, rules_document
from controller.settlement.runs import Rules
from controller.settlement.tariff import Calendar, LocalDay, compile_year, local_year, period_name
from controller.shell.journal import Journal
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant

GENESIS = "genesis"


class TimezoneChanged(ValueError):
    """The site's time zone differs from the one in which the ledger has settled its days."""


@dataclass(frozen=True, slots=True)
class BooksRules:
    """What the books need of the site. `key` is an Ed25519 seed; None takes the one in keys.db."""

    site_id: str
    charter: Charter
    members: tuple[Member, ...]
    grid_point: str = "grid-1"  # "" where the community has no connection to the outside
    late_window_ms: int = 6 * HOUR_MS
    checkpoint_ms: int = MINUTE_MS
    tzdata: str = "unknown"
    key: bytes | None = None


class RuleBook:
    """Publishes what a new file or a new charter needs, and answers by which rules a day is settled."""

    def __init__(self, journal: Journal, rules: BooksRules) -> None:
        self._journal = journal
        self._rules = rules
        self.present = Rules(rules.charter, rules.members, rules.grid_point)
        self.published = Published()
        for kind in (CHARTER, CHARTER_TABLE):
            for row in journal.file.of_kind(kind):
                self.published.absorb(row.sealed().entry)
        at = rules.charter.valid_from
        if not journal.size:
            self._genesis(at)
        for account in (*COMMUNITY_ACCOUNTS, *member_accounts(rules.members)):
            if account not in journal.state.accounts:
                journal.must(OpenAccount(derived_id(at, rules.site_id, "account", account), at, account))
        self._charter_id = self._publish_charter(at)

    @property
    def calendar(self) -> Calendar:
        """Returns the calendar of the charter in force; all charters of a ledger have the same days."""
        return self.published.calendars[self._charter_id]

    def period(self, day: LocalDay) -> str:
        """Returns the name of the bill period that holds a day."""
        return period_name(self._rules.charter, day)

    def ends_period(self, day: LocalDay) -> bool:
        """Returns whether a day is the last of its bill period."""
        self.ensure_year(day.end)
        return self.period(self.calendar.day_of(day.end)) != self.period(day)

    def ensure_years(self, first: Instant, last: Instant) -> None:
        """Publishes the tariff tables of all years from one instant to another."""
        instant = first
        while instant < last:
            self.ensure_year(instant)
            instant = Instant(instant + 300 * DAY_MS)
        self.ensure_year(last)

    def ensure_year(self, instant: Instant) -> None:
        """Compiles and publishes the tariff table of the civil year that holds an instant, for every charter."""
        if self.calendar.covers(instant):
            return
        for charter_id, rules in self.published.rules.items():
            if self.published.calendars[charter_id].covers(instant):
                continue
            year = local_year(rules.charter, instant)
            table = compile_year(rules.charter, year, self._rules.tzdata)
            body: dict[str, Json] = {"charter": charter_id, "table": table.document()}
            identity = derived_id(table.start, self._rules.site_id, CHARTER_TABLE, charter_id, year)
            self._publish(Post(identity, table.start, CHARTER_TABLE, (), body))

    def _genesis(self, at: Instant) -> None:
        rules = self._rules
        assets: dict[str, Json] = {
            ENERGY: "uWh",
            WATER: "mL",
            money(rules.charter): f"1e-{rules.charter.minor_digits}",
        }
        body: dict[str, Json] = {
            "site": rules.site_id,
            "origin": self._journal.origin,
            "key": self._journal.verifier,
            "assets": assets,
            "slot_ms": SLOT_MS,
        }
        self._journal.must(Post(derived_id(at, rules.site_id, GENESIS), at, GENESIS, (), body))

    def _publish_charter(self, at: Instant) -> str:
        """Returns the id of the charter in force, published now if it is new."""
        wanted = rules_document(self.present)
        rows = self._journal.file.of_kind(CHARTER)
        if rows:
            last = rows[-1].sealed().entry
            zone = self.published.rules[last.id].charter.timezone
            if zone != self._rules.charter.timezone:
                raise TimezoneChanged(f"the ledger's days are in {zone}; a ledger keeps its time zone for life")
            if last.body == wanted:
                return last.id
        identity = derived_id(at, self._rules.site_id, CHARTER, len(rows))
        self._publish(Post(identity, at, CHARTER, (), wanted))
        return identity

    def _publish(self, command: Post) -> None:
        sealed = self._journal.must(command)
        if isinstance(sealed, SealedEntry):
            self.published.absorb(sealed.entry)
