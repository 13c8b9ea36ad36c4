"""What a settlement run is called: II, SF, R1, R2, ..., RF; the names of the British electricity market.

| name | run | posted |
|---|---|---|
| II | provisional totals of a slot, or a bill so far | no: shown only |
| SF | the first final run of a meter-day, or the first bill of a period | yes |
| R1, R2, ... | a re-settlement: something came late, or was stated anew | yes, with exact reversals |
| RF | a re-settlement after the treasurer has closed the period | the same, booked after the close |

Source: Elexon BSC, section U (Initial Interim, Settlement Final, Reconciliation, Final Reconciliation).
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.ledger.canonical import Json

PROVISIONAL, FINAL, RECONCILED = "II", "SF", "RF"
RUN_KEYS = ("run", "revision", "replaces")
"""What an entry says of its run: its name, how many stood before it, and the id of the entry that it replaces."""


def run_name(revision: int, *, closed: bool = False) -> str:
    """Returns the name of a posted run; `revision` counts those of its period before it."""
    if not revision:
        return FINAL
    return RECONCILED if closed else f"R{revision}"


def name_in(body: Mapping[str, Json]) -> str:
    """Returns the name of the run that wrote a body, '' where none did; older ledgers say `final` and `correction`."""
    run, revision = body.get("run"), body.get("revision")
    if not isinstance(run, str) or not isinstance(revision, int):
        return ""
    return run_name(revision) if run in ("final", "correction") else run
