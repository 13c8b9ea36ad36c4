"""The rules of one ledger, published in its own log: genesis, accounts, charters, tariff tables."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from controller.charter_file import published as published_charter
from controller.ledger.canonical import Json
from controller.ledger.cosign import Policy
from controller.ledger.entries import SealedEntry, derived_id
from controller.ledger.orders import OpenAccount, Post
from controller.money.rules import MONEY_RULES, MoneyRules
from controller.money.rules import rules_document as money_document
from controller.settlement.accounts import COMMUNITY_ACCOUNTS, ENERGY, WATER, member_accounts, money
from controller.settlement.charter import Charter, Member, changed_for_life
from controller.settlement.published import CHARTER, CHARTER_TABLE, VOTE, Published, rules_document
from controller.settlement.runs import Rules
from controller.settlement.tariff import Calendar, LocalDay, TariffTable, compile_year, local_year, period_name
from controller.shell.journal import Journal
from controller.shell.roster import JOIN, left
from controller.store.key_entries import MEMBER_KEY
from controller.voting import VOTE_RULES, Electorate
from devices.clock import DAY_MS, HOUR_MS, MINUTE_MS, SLOT_MS, Instant, iso

GENESIS = "genesis"


class ChangedForLife(ValueError):
    """A charter changes what a ledger keeps for life: time zone, currency, minor digits, bill period."""


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
        self._left: Mapping[str, Instant] | None = None  # who has left, and since when, as the rules know it
        self._followed = False  # whether the log has what the site file says
        self.notices: list[str] = []  # what has become of the site file's rules, in words for the operator
        self.published = Published()
        for kind in (CHARTER, CHARTER_TABLE):
            for row in journal.file.of_kind(kind):
                self.published.absorb(row.sealed().entry)
        newest = journal.file.latest(None, 1)
        at = Instant(max([rules.charter.valid_from, *(row.sealed().entry.at for row in newest)]))  # never back in time
        if not journal.size:
            self._genesis(at)
        for account in (*COMMUNITY_ACCOUNTS, *member_accounts(rules.members)):
            if account not in journal.state.accounts:
                journal.must(OpenAccount(derived_id(at, rules.site_id, "account", account), at, account))
        if not self.published.rules:
            self._publish_rules(Rules(rules.charter, rules.members, rules.grid_point), "", at)
        elif changed := changed_for_life(self.newest.charter, rules.charter):
            raise ChangedForLife(f"the site file does not fit the ledger: {changed}")
        self._publish_money_rules(at)
        self._publish_voters(at)
        self._publish_member_keys(at)
        journal.declare(rules.witnesses, at)

    @property
    def newest(self) -> Rules:
        """Returns the rules published last."""
        return self.published.rules[next(reversed(self.published.rules))]

    @property
    def calendar(self) -> Calendar:
        """Returns the calendar of all charters: those of one ledger have the same days."""
        return next(iter(self.published.calendars.values()))

    def follow(self, now: Instant) -> None:
        """Publishes what has changed in roster and site file."""
        gone, before = left(self._journal.file, now), self._left
        if gone != before:
            self._left = gone
            for at in sorted(set(gone.values())):  # the midnights at which they left, noted before
                self._reissue(at, now, partial(_without, {name for name, since in gone.items() if since <= at}))
            back = (before or {}).keys() - gone.keys()
            joined = [row.sealed().entry.at for row in self._journal.file.of_kind(JOIN) if row.member in back]
            if joined:
                self._reissue(self._midnight(max(joined)), now, self._as_site)
        self.follow_site(now)

    def follow_site(self, now: Instant) -> None:
        """Publishes what the site file says otherwise than the log: it holds from the next local midnight on.

        No day that has begun gets other rules, nor one of which there are records already.
        """
        if self._followed:
            return
        self._followed = True
        charter = self._rules.charter
        last = next(rules for name, rules in reversed(self.published.rules.items()) if name not in self.published.votes)
        coming = [self.published.rules[name] for name in self.published.coming(now)]
        changed = replace(last.charter, valid_from=charter.valid_from) != charter
        moved = last.charter.valid_from > now and last.charter.valid_from != charter.valid_from
        if not changed and not moved and all(self._as_site(rules) == rules for rules in coming):
            return
        start = self._midnight(Instant(max(now, self._journal.file.last_start() + 1)))
        dated = replace(charter, valid_from=max(start, self._midnight(charter.valid_from)))
        changed = changed or (moved and last.charter.valid_from != dated.valid_from)
        self._reissue(start, now, self._as_site, before=dated if changed else None)
        if changed:
            self._publish_rules(self._as_site(replace(last, charter=dated)), "", now)
        self._say(dated, changed=changed)

    def _say(self, charter: Charter, *, changed: bool) -> None:
        since, what = iso(charter.valid_from), f"the charter of the site file, version {charter.version},"
        if not changed:
            text = "members or meters of the site file hold from the next local midnight on"
        elif self.published.in_force(charter.valid_from) in self.published.votes:
            text = f"{what} is published, but what members have voted for stays in force: only a vote changes it"
        else:
            text = f"{what} holds from {since} on; until then the one before stays in force"
        self.notices.append(text)

    def _midnight(self, at: Instant) -> Instant:
        """Returns the first local midnight that is not before an instant."""
        self.ensure_year(at)
        day = self.calendar.day_of(at)
        return at if at == day.start else day.end

    def _as_site(self, rules: Rules) -> Rules:
        """Returns a charter's rules with the site file's members, those who have left not among them."""
        members = (replace(one, name=one.id) for one in self._rules.members if one.id not in (self._left or {}))
        clauses = rules.charter.clauses
        if clauses is not None:  # a voted charter itself says who has no lifeline
            lifeline = clauses.get("lifeline")
            without = lifeline.get("not_for") if isinstance(lifeline, Mapping) else None
            names = without if isinstance(without, list) else ()
            members = (replace(one, lifeline=one.id not in names) for one in members)
        return replace(rules, members=tuple(members), grid_point=self._rules.grid_point)

    def _reissue(
        self, start: Instant, now: Instant, change: Callable[[Rules], Rules], *, before: Charter | None = None
    ) -> None:
        """Publishes the charters that hold from `start` on again where a change makes other rules of them.

        Of the site file's only the first is kept where a new one follows (`before`), and that until it does.
        """
        for voted in (False, True):
            rows = self.published.holding(start, voted=voted)
            if before is not None and not voted:
                rows = () if before.valid_from == start else rows[:1]
            for at, name in rows:
                rules = self.published.rules[name]
                wanted = change(rules)
                if wanted != rules or (before is not None and not voted):
                    dated = replace(wanted, charter=replace(rules.charter, valid_from=at))
                    self._publish_rules(dated, self.published.votes.get(name, ""), now)

    def period(self, day: LocalDay, charter: str = "") -> str:
        """Returns the name of the bill period that holds a day, by the charter that settled it ('': due)."""
        rules = self.published.rules[charter] if charter else self.rules_on(day.start)
        return period_name(rules.charter, day)

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

    def _publish_rules(self, rules: Rules, vote: str, at: Instant) -> None:
        """Publishes a charter with its members, and the tariff tables that the others have."""
        body = rules_document(rules) | ({VOTE: vote} if vote else {})
        count = len(self._journal.file.of_kind(CHARTER))
        identity = derived_id(at, self._rules.site_id, CHARTER, *(["vote", vote] if vote else []), count)
        tables = self._tables()
        self._publish(Post(identity, at, CHARTER, (), body))
        for table in tables:
            self._compile(identity, table.start, local_year(rules.charter, Instant(table.end - SLOT_MS)))

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

    def announce(self, charter: Charter, now: Instant) -> None:
        """Publishes a charter that will hold from its own date on, as the site file's.

        Raises:
            ChangedForLife: it does not fit the ledger.
            ValueError: its date is past.
        """
        self.follow_site(now)
        if changed := changed_for_life(self.newest.charter, charter):
            raise ChangedForLife(changed)
        if charter.valid_from < now:
            raise ValueError(f"a charter is announced before it holds, not after {iso(charter.valid_from)}")
        self._publish_rules(self._as_site(Rules(charter, (), "")), "", now)

    def adopt(self, vote: str, document: Mapping[str, Json], now: Instant) -> bool:
        """Publishes the charter that a vote has passed; it holds from its own date on. Returns whether it was new."""
        if vote in self.published.votes.values():
            return False
        self._publish_rules(self._as_site(Rules(published_charter(document), (), "")), vote, now)
        return True

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


def _without(names: Container[str], rules: Rules) -> Rules:
    return replace(rules, members=tuple(member for member in rules.members if member.id not in names))
