"""A site file held against the ledger that it is to go on with: what may not change, and what will, from when on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controller.settlement.charter import Charter, changed_for_life, first_for_life
from controller.settlement.published import CHARTER, Published
from controller.shell.data_dir import LEDGER
from controller.site import Site
from controller.site_problems import LineIndex, Problem, where
from controller.store.ledger_file import LedgerFile, NotALedger


def against_ledger(site: Site, text: str, file: str, data_dir: Path) -> tuple[list[Problem], str]:
    """Returns (problems, notice for the operator) of a sound site file beside the ledger of a data directory.

    Nothing is said where there is no ledger, none that can be read, or that of another site.
    """
    standing, voted = _standing(data_dir / LEDGER, site.id)
    if standing is None:
        return [], ""
    if name := first_for_life(standing, site.charter):
        path = ("site", name) if name == "timezone" else ("charter", name)
        fix = f"write {getattr(standing, name)!r} again, or begin a new ledger in an empty data directory"
        seen = str(getattr(site.charter, name))
        message = changed_for_life(standing, site.charter).partition(":")[0]
        return [Problem("SITE-098", file, LineIndex(text).find(path), where(path), seen, message, fix)], ""
    if replace(standing, valid_from=site.charter.valid_from) == site.charter:
        return [], ""
    if voted:
        return (
            [],
            "[charter] differs from the ledger's, but a charter that members have voted for holds: it changes nothing",
        )
    return [], "[charter] differs from the ledger's: it holds from the first local midnight after the hub's next start"


def _standing(path: Path, site: str) -> tuple[Charter | None, bool]:
    """Returns the site file's charter as the ledger published it last, and whether members have voted for another."""
    if not path.exists():
        return None, False
    try:
        ledger = LedgerFile.read(path)
    except NotALedger:
        return None, False
    try:
        genesis, published = ledger.entry(0), Published()
        if genesis is None or genesis.sealed().entry.body.get("site") != site:
            return None, False
        for row in ledger.of_kind(CHARTER):
            published.absorb(row.sealed().entry)
    except ValueError:  # `atoll ledger verify` says what is wrong with it
        return None, False
    finally:
        ledger.close()
    own = [rules.charter for name, rules in published.rules.items() if name not in published.votes]
    return (own[-1] if own else None), bool(published.votes)
