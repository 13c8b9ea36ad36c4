"""What the ledger has published is what plans reckon with: prices and lifelines of the slot's own charter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controller import hub as core
from controller.civil import day_start
from controller.outside import export_prices, import_prices
from controller.shell.bookkeeper import Bookkeeper
from controller.shell.books import Books
from controller.shell.simulation import SIMULATION_KEY, books_rules
from devices.clock import DAY_MS, SLOT_MS, Instant
from tests.controller.scene import NOW, village


def test_plans_reckon_with_the_charter_that_holds_in_each_slot(tmp_path: Path) -> None:
    site = village()
    old = site.charter
    midnight = day_start(site.timezone, Instant(NOW + DAY_MS))
    dear = replace(
        old,
        version=old.version + 1,
        valid_from=midnight,
        bands=tuple(replace(band, import_price=band.import_price * 2) for band in old.bands),
        export_price=old.export_price + 1,
        lifeline_wh=old.lifeline_wh + 500,
    )
    books = Books.open(tmp_path / "ledger.db", books_rules(site, SIMULATION_KEY))
    hub = core.start(core.HubConfig(site, 1, 1_000, 1_000, 0, 300_000), NOW)
    keeper = Bookkeeper(books)
    core.step(hub, keeper.commit(NOW)[0], NOW)
    assert hub.config.site.charter == old
    before = hub.config.site
    core.step(hub, keeper.commit(NOW)[0], NOW)
    assert hub.config.site is before  # nothing was published: nothing is made anew

    books.announce(dear, NOW)
    core.step(hub, keeper.commit(NOW)[0], NOW)
    start, slots = Instant(midnight - 4 * SLOT_MS), 8
    usual = import_prices(site, start, slots)
    assert import_prices(hub.config.site, start, slots) == (*usual[:4], *(2 * price for price in usual[4:]))
    assert export_prices(hub.config.site, start, slots) == (old.export_price,) * 4 + (old.export_price + 1,) * 4
    assert hub.config.site.charter == old  # it is not midnight yet
    core.step(hub, keeper.commit(midnight)[0], midnight)
    assert hub.config.site.charter.lifeline_wh == hub.days.site.charter.lifeline_wh == old.lifeline_wh + 500
    books.close(midnight)
