"""Votes, charters and the cash book of one ledger file, for the console: by an own read-only connection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from controller.community_values import CharterPage, MoneyPage
from controller.community_view import NO_DEVICES, Devices, charter_page, money_page
from controller.ledger.quorum import close_document
from controller.ledger.trial import trial_root
from controller.money.closing import ClosingRefused, period_end
from controller.shell.ballot_box import PollReader
from controller.shell.till import CashReader
from controller.shell.vote_export import NotCountedYet, export_vote
from controller.store.ledger_file import LedgerFile
from controller.store.ledger_port import LedgerStore
from devices.clock import Instant


def close_paper(store: LedgerStore, period: str, zone: str) -> Mapping[str, object] | None:
    """Returns what an officer with a key signs to close a period; None where that is no period."""
    try:
        until = period_end(period, zone)
    except ClosingRefused:
        return None
    return close_document(until, trial_root(store.trial_balance(until)))


class CommunityReader:
    """Reads only what is new since the last call."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._file = LedgerFile.read(path)
        self._polls = PollReader(self._file)
        self._cash = CashReader.of(self._file)

    def charter(self, now: Instant) -> CharterPage:
        """Returns the charter in force at an instant, and every vote."""
        with self._lock:
            _, electorate = self._polls.electorate(now)
            return charter_page(self._polls.published, self._polls.polls, electorate, now)

    def ballot(self, number: int, choice: str) -> Mapping[str, object] | None:
        """Returns the ballot to sign for a choice in an open vote; None where there is no such vote."""
        with self._lock:
            vote = self._polls.now().by_number(number)
            return None if vote is None or vote.passed is not None else vote.ballot(choice)

    def vote_file(self, number: int) -> bytes | None:
        """Returns what a recount of a vote needs; None where it is not counted and signed."""
        with self._lock:
            vote = self._polls.now().by_number(number)
            try:
                return None if vote is None else export_vote(self._file, vote)
            except NotCountedYet:
                return None

    def money(self, now: Instant, labels: Mapping[str, str], devices: Devices = NO_DEVICES) -> MoneyPage:
        """Returns the treasurer's page."""
        with self._lock:
            return money_page(self._cash.now(), now, labels, devices)

    def close_paper(self, period: str) -> Mapping[str, object] | None:
        """Returns what an officer with a key signs to close a period; None where that is no period."""
        with self._lock:
            return close_paper(self._file, period, self._cash.now().timezone)
