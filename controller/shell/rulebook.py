"""The rules of one ledger, published in its own log: genesis, accounts, charters, tariff tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controller.charter_file import published as published_charter
from controller.ledger.canonical import Json
from controller.ledger.cosign import Policy
from controller.ledger.entries import SealedEntry, derived_id
from controller.ledger.orders import OpenAccount, Post
from controller.money.rules import MONEY_RULES, MoneyRules
from controller.money.rules import rules_document as money_document
from controller.settlement.accounts import COMMUNITY_ACCOUNTS, ENERGY, WATER, member_accounts, money
from controller.settlement.charter import Charter, Member
from controller.settlement.published import CHARTER, CHARTER_TABLE, VOTE, Published, rules_document
from controller.settlement.runs import Rules
from controller.settlement.tariff import Calendar, LocalDay, TariffTable, compile_year, local_year, period_name
from controller.shell.journal import Journal
from controller.shell.roster import left
from controller.store.key_entries import MEMBER_KEY
from controller.voting import VOTE_RULES, Electorate
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
    money: MoneyRules = field(default_factory=MoneyRules)
    witnesses: Policy = field(default_factory=lambda: Policy((), 0))
    voters: Electorate = field(default_factory=Electorate)  # while the site file's charter holds


class RuleBook:
    """Publishes what a new file or a new charter needs, and answers by which rules a day is settled."""

    def __init__(self, journal: Journal, rules: BooksRules) -> None:
        self._journal = journal
        self._rules = rules
        self._left: dict[str, Instant] = {}  # who has left, and since when
        newest = journal.file.latest(None, 1)
        if newest:
            self._left = left(journal.file, newest[0].sealed().entry.at)
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
        self._publish_money_rules(at)
        self._publish_voters(at)
        self._publish_member_keys(at)
        journal.declare(rules.witnesses, at)
        self._reissue(at)

    @property
    def _site(self) -> Rules:
        """Returns the site file's rules without those who have left; they hold from the last leaving on."""
        rules = self._rules
        members = tuple(member for member in rules.members if member.id not in self._left)
        return Rules(replace(rules.charter, valid_from=self._since(rules.charter)), members, rules.grid_point)

    def _since(self, charter: Charter) -> Instant:
        return max([charter.valid_from, *self._left.values()])

    def follow_roster(self, now: Instant) -> None:
        """Publishes the rules without those who have left by now."""
        gone = left(self._journal.file, now)
        if gone != self._left:
            self._left = gone
            self._publish_charter(now)
            self._reissue(now)

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
            if not self.published.calendars[charter_id].covers(instant):
                self._compile(charter_id, instant, local_year(rules.charter, instant))

    def rules_on(self, instant: Instant) -> Rules:
        """Returns the rules in force for a day that begins at an instant."""
        return self.published.rules[self.published.in_force(instant)]

    def _tables(self) -> tuple[TariffTable, ...]:
        """Returns the years that the charters so far have tables of; a new one gets the same at once."""
        known = [calendar.tables for calendar in self.published.calendars.values()]
        return max(known, key=len, default=())

    def late_window_ms(self, start: Instant) -> int:
        """Returns how long a day waits for late records [ms]: the charter says, or the site file."""
        clauses = self.rules_on(start).charter.clauses
        hours = None if clauses is None else clauses.get("late_window_h")
        return hours * HOUR_MS if isinstance(hours, int) else self._rules.late_window_ms

    def _compile(self, charter_id: str, instant: Instant, year: int) -> None:
        """Compiles and publishes one charter's table of one civil year."""
        if self.published.calendars[charter_id].covers(instant):
            return
        table = compile_year(self.published.rules[charter_id].charter, year, self._rules.tzdata)
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
        wanted = rules_document(self._site)
        count = len(self._journal.file.of_kind(CHARTER))
        rows = [row for row in self._journal.file.of_kind(CHARTER) if row.id not in self.published.votes]
        if rows:
            last = rows[-1].sealed().entry
            zone = self.published.rules[last.id].charter.timezone
            if zone != self._rules.charter.timezone:
                raise TimezoneChanged(f"the ledger's days are in {zone}; a ledger keeps its time zone for life")
            if last.body == wanted:
                return last.id
        identity = derived_id(at, self._rules.site_id, CHARTER, count)
        self._publish(Post(identity, at, CHARTER, (), wanted))
        for table in self._tables():
            self._compile(identity, table.start, local_year(self._rules.charter, Instant(table.end - SLOT_MS)))
        return identity

    def _publish_voters(self, at: Instant) -> None:
        """Publishes who may vote if that differs from the last time; nothing while nobody may."""
        rows = self._journal.file.of_kind(VOTE_RULES)
        standing = rows[-1].sealed().entry.body if rows else Electorate().document()
        wanted = (self._rules.voters if self._rules.voters.of else Electorate()).document()
        if wanted != standing:
            identity = derived_id(at, self._rules.site_id, VOTE_RULES, len(rows))
            self._journal.must(Post(identity, at, VOTE_RULES, (), wanted))

    def _publish_member_keys(self, at: Instant) -> None:
        """Writes down each key that the site file names for a member, and its end, where that differs from the log."""
        standing: dict[str, str] = {}
        rows = self._journal.file.of_kind(MEMBER_KEY)
        for row in rows:
            body = row.sealed().entry.body
            standing[str(body["member"])] = str(body["key"])
        wanted = dict.fromkeys(standing, "") | dict(self._rules.voters.of)
        for count, (member, key) in enumerate(sorted(wanted.items())):
            before = standing.get(member, "")
            if key != before:
                change: dict[str, Json] = {"member": member, "key": key, "before": before}
                identity = derived_id(at, self._rules.site_id, MEMBER_KEY, member, len(rows) + count)
                self._journal.must(Post(identity, at, MEMBER_KEY, (), change))

    def _reissue(self, at: Instant) -> None:
        """Publishes voted charters again where the site file has other members than they were published with."""
        newest = {vote: name for name, vote in self.published.votes.items()}
        for vote, name in newest.items():
            standing = self.published.rules[name]
            if standing != self._voted(standing.charter):
                self._publish_voted(vote, standing.charter, at)

    def announce(self, charter: Charter, now: Instant) -> None:
        """Publishes a charter that will hold from its own date on."""
        count = len(self._journal.file.of_kind(CHARTER))
        identity = derived_id(now, self._rules.site_id, CHARTER, "announced", count)
        self._publish(Post(identity, now, CHARTER, (), rules_document(replace(self._site, charter=charter))))
        for table in self.calendar.tables:
            self._compile(identity, table.start, local_year(charter, Instant(table.end - SLOT_MS)))

    def adopt(self, vote: str, document: Mapping[str, Json], now: Instant) -> bool:
        """Publishes the charter that a vote has passed; it holds from its own date on. Returns whether it was new."""
        if vote in self.published.votes.values():
            return False
        self._publish_voted(vote, published_charter(document), now)
        return True

    def _publish_voted(self, vote: str, charter: Charter, now: Instant) -> None:
        count = len(self._journal.file.of_kind(CHARTER))
        identity = derived_id(now, self._rules.site_id, CHARTER, "vote", vote, count)
        self._publish(Post(identity, now, CHARTER, (), {**rules_document(self._voted(charter)), VOTE: vote}))
        for table in self._tables():
            self._compile(identity, table.start, local_year(charter, Instant(table.end - SLOT_MS)))

    def _voted(self, charter: Charter) -> Rules:
        """Returns a voted charter with the site's members; the charter itself says who has no lifeline."""
        lifeline = None if charter.clauses is None else charter.clauses.get("lifeline")
        without = lifeline.get("not_for") if isinstance(lifeline, Mapping) else None
        names = without if isinstance(without, list) else ()
        members = (replace(one, name=one.id, lifeline=one.id not in names) for one in self._site.members)
        return Rules(replace(charter, valid_from=self._since(charter)), tuple(members), self._site.grid_point)

    def _publish_money_rules(self, at: Instant) -> None:
        """Publishes the rules about money if they differ from the last ones; before the first the defaults hold."""
        wanted, rows = money_document(self._rules.money), self._journal.file.of_kind(MONEY_RULES)
        standing = rows[-1].sealed().entry.body if rows else money_document(MoneyRules())
        if standing != wanted:
            identity = derived_id(at, self._rules.site_id, MONEY_RULES, len(rows))
            self._journal.must(Post(identity, at, MONEY_RULES, (), wanted))

    def _publish(self, command: Post) -> None:
        sealed = self._journal.must(command)
        if isinstance(sealed, SealedEntry):
            self.published.absorb(sealed.entry)
