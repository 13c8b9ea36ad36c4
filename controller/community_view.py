"""The Charter and Money pages' values: the rules in force and under vote, and the treasury at a glance. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.charter_file import NotACharter, published
from controller.charter_text import changes, facts
from controller.civil import local_time
from controller.community_values import (
    CharterPage,
    CharterView,
    ClosingLine,
    MemberLine,
    MoneyPage,
    ProposalLine,
    ReceiptLine,
    VoteView,
)
from controller.ledger.quorum import quorum_of
from controller.money.arrears import Arrears, arrears, step_text
from controller.money.cashbook import CashBook, Proposal, Receipt, budget_account, treasury_accounts
from controller.money.desk import money_text, owes_text
from controller.settlement.charter import Charter
from controller.settlement.published import Published
from controller.site import Site
from controller.voting import Electorate, Polls, Vote
from devices.clock import Instant
from devices.model import DeviceKind

RECEIPTS_SHOWN = 25
PROPOSALS_SHOWN = 25
CLOSED_SHOWN = 12
Devices = Mapping[str, Sequence[tuple[str, str]]]
"""Member -> (id, name) of devices in its home that can be held."""
NO_DEVICES: Devices = {}


def charter_page(rules: Published, polls: Polls, electorate: Electorate, now: Instant) -> CharterPage:
    """Returns the charter in force and every vote; `electorate` is who may vote now."""
    name = rules.in_force(now)
    charter = rules.rules[name].charter
    vote = polls.by_id(rules.votes.get(name, ""))
    in_force = CharterView(charter.version, charter.valid_from, 0 if vote is None else vote.number, facts(charter))
    if problem := electorate.problem():
        quorum = f"No vote can be opened: {problem}"
    else:
        quorum = f"A change needs {electorate.need} of {len(electorate.of)} voters within {electorate.expires_h} h"
    return CharterPage(now, in_force, quorum, tuple(_vote(one, charter, now) for one in reversed(polls.votes)))


def _vote(vote: Vote, charter: Charter, now: Instant) -> VoteView:
    valid_from = Instant(int(str(vote.document["valid_from"])))
    ahead = vote.passed is None or (vote.passed and valid_from > now)
    waiting = tuple(name for name in vote.electorate.of if name not in vote.ballots)
    return VoteView(
        number=vote.number,
        title=vote.title,
        state=vote.state,
        opened=vote.opened,
        closes=vote.closes,
        valid_from=valid_from,
        by=vote.by,
        need=vote.electorate.need,
        yes=tuple(vote.yes()),
        no=tuple(vote.no()),
        waiting=waiting,
        digest=vote.digest,
        changes=_changes(charter, vote) if ahead else (),
    )


def _changes(charter: Charter, vote: Vote) -> tuple[tuple[str, str, str], ...]:
    try:
        return changes(charter, published(vote.document))
    except NotACharter:  # of a newer format: only its hash can be shown
        return ()


def money_page(book: CashBook, now: Instant, labels: Mapping[str, str], devices: Devices = NO_DEVICES) -> MoneyPage:
    """Returns the treasurer's page; `labels` are the members' names as people know them."""
    labels, late = _told_apart(labels), {one.member: one for one in arrears(book, now)}
    proposals = sorted(book.proposals, key=lambda one: (one.state != "open", -one.number))
    return MoneyPage(
        at=now,
        accounts=tuple((name, money_text(held, book)) for name, held in treasury_accounts(book)),
        budgets=tuple(
            (name, purpose, money_text(-book.balances.get(budget_account(name), 0), book))
            for name, purpose in sorted(book.budgets.items())
        ),
        loans=tuple(
            (labels.get(one.member, one.member), one.device, _left(one.rest, one.amount, book))
            for one in book.loans.values()
            if one.rest
        ),
        proposals=tuple(_proposal(one) for one in proposals[:PROPOSALS_SHOWN]),
        members=tuple(
            replace(_member(member, book, late.get(member), labels), id=member, devices=tuple(devices.get(member, ())))
            for member in book.accounts()
        ),
        receipts=tuple(_receipt(one, book, labels) for one in reversed(book.receipts[-RECEIPTS_SHOWN:])),
        receipts_all=len(book.receipts),
        closed=tuple((until, " and ".join(by)) for until, by in reversed(book.closed[-CLOSED_SHOWN:])),
        closing=_closing(book),
        officers={one.name: one.role for one in book.rules.officers},
        keys={one.name: one.key for one in book.rules.officers if one.key},
    )


def _told_apart(labels: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the names of members, with the id where two have the same: money must not go to the wrong one."""
    count = Counter(labels.values())
    return {member: label if count[label] == 1 else f"{label} ({member})" for member, label in labels.items()}


def holdable(site: Site) -> Devices:
    """Returns, for each household, the loads in its home that an operator can hold: chargers, heat stores, relays.

    Nothing hazardous and nothing behind a critical meter; the home's own supply has no switch.
    """
    loads = [
        device
        for device in site.devices
        if device.kind in (DeviceKind.CHARGER, DeviceKind.THERMAL, DeviceKind.RELAY)
        and not (device.read_only or device.hazardous or device.behind in site.critical)
    ]
    return {
        member.id: [(str(device.id), str(device.id)) for device in loads if device.behind in member.usage_points]
        for member in site.members
        if member.role == "household"
    }


def _receipt(one: Receipt, book: CashBook, labels: Mapping[str, str]) -> ReceiptLine:
    label, amount = labels.get(one.member, one.member), money_text(one.amount, book)
    return ReceiptLine(one.number, one.at, label, amount, one.method, one.ref, one.cancelled)


def _left(rest: int, amount: int, book: CashBook) -> str:
    return f"{money_text(rest, book)} of {money_text(amount, book)}"


def _proposal(one: Proposal) -> ProposalLine:
    text, approved = str(one.body.get("text")), tuple(one.approved)
    quorum = quorum_of(one.body)  # the one that the proposal itself names: the site file may have changed since
    if one.state != "open" or quorum is None:
        return ProposalLine(one.number, text, one.state, approved, "", one.expires, one.leaf)
    missing = quorum.missing({name: quorum.who[name].role for name in approved})
    waiting = {name: who.key for name, who in quorum.who.items() if name not in approved}
    return ProposalLine(one.number, text, one.state, approved, missing, one.expires, one.leaf, waiting)


def _member(member: str, book: CashBook, late: Arrears | None, labels: Mapping[str, str]) -> MemberLine:
    label, owed = labels.get(member, member), book.owed(member)
    balance = owes_text("", owed, book).strip()
    if late is None:
        return MemberLine(label, balance, "", 0, "")
    if late.step is None:
        return MemberLine(label, balance, money_text(late.amount, book), late.days, "")
    done = book.steps_done.get((member, late.step.step, late.due), "")
    step = step_text(late.step, late.lifeline)
    return MemberLine(label, balance, money_text(late.amount, book), late.days, step, done=done)


def _closing(book: CashBook) -> ClosingLine | None:
    if book.closing is None:
        return None
    _, until, by = book.closing
    return ClosingLine(by, f"{local_time(book.timezone, Instant(until - 1)):%Y-%m-%d}")
