"""A plan as a terminal shows it: a table of blocks, a picture of block characters, and the reason of one step. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from controller.civil import clock_text, local_time
from controller.step_words import AWAY, OFF, role, steps_shown
from devices.clock import HOUR_MS, Instant
from optimizer.plan import Binding, Mode, Plan, Reason
from optimizer.problem import AssetId
from optimizer.words import effect

MODE_MARKS = {Mode.FOLLOW: "~", Mode.HOLD: "·", Mode.CHARGE: "█", Mode.DISCHARGE: "▒", AWAY: "»"}
ON_MARKS = "▁▂▃▄▅▆▇█"
LEVEL_MARKS = " ▁▂▃▄▅▆▇█"
WIDTH_MIN = 40
LABEL_MAX = 22
NOTHING = 0.005
"""Money below which there is none to tell of."""


@dataclass(frozen=True, slots=True)
class Row:
    """One block of equal steps of one asset."""

    asset: str
    start: Instant
    end: Instant
    what: str
    reason: Reason


def rows(plan: Plan) -> list[Row]:
    """Returns the blocks of a plan, asset by asset; an idle unit has none."""
    found: list[Row] = []
    for asset in (*plan.storages, *(one for one in plan.units if one not in plan.zones)):
        found += [block.row for block in _blocks(plan, asset) if asset in plan.storages or block.mode != OFF]
    return found


def quality(plan: Plan, currency: str) -> str:
    """Returns how far a plan is from the best that there can be, in words: the bound is of all but other sectors."""
    over = plan.cost - plan.bound
    others = [word for word, there in (("gas engines", plan.engines), ("pressure zones", plan.zones)) if there]
    rest = f", {' and '.join(others)} as they are planned" if others else ""
    if over < NOTHING:
        return f"no plan can cost less{rest}"
    told = abs(plan.cost) >= max(1.0, 10 * over)  # a part of a cost near nothing says nothing
    part = f" ({over / abs(plan.cost):.1%})" if told else ""
    return f"at most {over:.2f} {currency}{part} above the best there can be{rest}"


def remarks(plan: Plan, zone: str, currency: str) -> list[str]:
    """Returns what a plan has to say beside its steps: limits it does not keep, load it sheds, what was odd."""
    lines = [
        f"a limit cannot be kept: {name.replace(':', ' ')} (priced at {money:.2f} {currency})"
        for name, money in plan.violations.items()
        if money >= NOTHING
    ]
    hours = plan.slot_ms / HOUR_MS
    for tier, series in plan.shed_by_tier_kw.items():
        slots = [slot for slot, kw in enumerate(series) if kw > 0.0]
        if slots:
            first, last = clock_text(zone, _at(plan, slots[0])), local_time(zone, _at(plan, slots[-1] + 1))
            lines.append(f"shed: {sum(series) * hours:.1f} kWh of {tier}, {first}-{last:%H:%M}")
    in_words = re.compile(r"\bslot (\d+)")
    return lines + [
        in_words.sub(lambda found: f"the slot of {clock_text(zone, _at(plan, int(found.group(1))))}", notice)
        for notice in plan.notices
    ]


@dataclass(frozen=True, slots=True)
class _Block:
    """Equal steps of one asset in the slots [first, until)."""

    first: int
    until: int
    mode: str
    words: str  # without power
    row: Row


def _blocks(plan: Plan, asset: AssetId) -> list[_Block]:
    found: list[_Block] = []
    said, watts, reasons = steps_shown(plan, asset), _watts(plan, asset), _reasons(plan, asset)
    begun = 0
    for at in range(1, len(said) + 1):
        if at < len(said) and said[at] == said[begun]:
            continue
        mode, words = said[begun]
        text = words + _about(sum(watts[begun:at]) / (at - begun))
        row = Row(asset, _at(plan, begun), _at(plan, at), text, reasons[begun])
        found.append(_Block(begun, at, mode, words, row))
        begun = at
    return found


def _watts(plan: Plan, asset: AssetId) -> list[int]:
    steps = plan.storages.get(asset)
    return [abs(step.expected_w) for step in steps] if steps else [abs(step.power_w) for step in plan.units[asset]]


def _reasons(plan: Plan, asset: AssetId) -> list[Reason]:
    return [step.reason for step in plan.storages.get(asset) or plan.units[asset]]


def _about(watts: float) -> str:
    return f", about {watts / 1000:.1f} kW" if watts >= 50 else ""


def _at(plan: Plan, slot: int) -> Instant:
    return Instant(plan.start + slot * plan.slot_ms)


def table(plan: Plan, zone: str, width: int) -> list[str]:
    """Returns the blocks as lines of at most `width` characters."""
    lines: list[str] = []
    for row in rows(plan):
        when = f"{clock_text(zone, row.start)}-{local_time(zone, row.end):%H:%M}"
        price = "" if row.reason.marginal_price is None else f"  [{row.reason.marginal_price:.3f}/kWh]"
        why = "" if row.what.startswith(AWAY) else f": {row.reason.constraint}{price}"
        lines.append(_cut(f"{row.asset:<14} {when}  {row.what}{why}", width))
    return lines


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: max(width - 1, 1)] + "…"


def gantt(plan: Plan, zone: str, width: int, now: Instant) -> list[str]:
    """Returns the plan as a picture: one line per asset, one more per store, an hour scale; `width` characters."""
    assets = [*plan.storages, *plan.units]
    label = min(LABEL_MAX, max((len(asset) for asset in [*assets, *plan.tank_kl, "grid"]), default=4) + 1)
    slots = len(plan.grid_kw)
    cells = max(min(max(width, WIDTH_MIN) - label - 1, slots), 1)
    spans = [
        (cell * slots // cells, max((cell + 1) * slots // cells, cell * slots // cells + 1)) for cell in range(cells)
    ]
    lines = [" " * label + _scale(plan, zone, spans)]
    for asset, steps in plan.storages.items():
        said = [mode for mode, _ in steps_shown(plan, asset)]
        modes = "".join(MODE_MARKS[_most(said[a:b])] for a, b in spans)
        lines.append(_line(asset, label, modes))
        lines.append(_line("  charge", label, "".join(_level(steps[b - 1].expected_soc) for _, b in spans)))
    for asset, units in plan.units.items():
        top = max((abs(step.power_w) for step in units), default=0)
        if asset in plan.zones or (not top and not any(step.on for step in units)):
            continue  # a zone's pumps have lines of their own
        lines.append(_line(asset, label, "".join(_power([abs(u.power_w) for u in units[a:b]], top) for a, b in spans)))
    for tank, levels in plan.tank_kl.items():
        top_kl = max(levels, default=0.0)
        lines.append(
            _line(f"{tank} level", label, "".join(_level(levels[b - 1] / top_kl if top_kl else 0) for _, b in spans))
        )
    top_kw = max((abs(kw) for kw in plan.grid_kw), default=0.0)
    bought = [max(kw, 0.0) * 1000 for kw in plan.grid_kw]
    lines.append(_line("import", label, "".join(_power(bought[a:b], top_kw * 1000) for a, b in spans)))
    slot = plan.slot(now)
    if slot is not None:
        at = next(index for index, (a, b) in enumerate(spans) if a <= slot < b)
        lines.append(" " * (label + at) + "^ now")
    lines.append(
        "█ charge  ▒ discharge  · hold  ~ follow (battery: the meter, vehicle: surplus)  » away;  bars: tallest = most"
    )
    return lines


def _line(name: str, label: int, cells: str) -> str:
    return f"{name[: label - 1]:<{label}}{cells}"


def _most(modes: Sequence[str]) -> str:
    return max(modes, key=lambda mode: (modes.count(mode), mode != Mode.FOLLOW))


def _level(share: float) -> str:
    return LEVEL_MARKS[min(max(round(share * (len(LEVEL_MARKS) - 1)), 0), len(LEVEL_MARKS) - 1)]


def _power(watts: Sequence[float], top: float) -> str:
    mean = sum(watts) / len(watts)
    if mean <= 0 or top <= 0:
        return " "
    return ON_MARKS[min(int(mean / top * (len(ON_MARKS) - 1) + 0.5), len(ON_MARKS) - 1)]


def _scale(plan: Plan, zone: str, spans: Sequence[tuple[int, int]]) -> str:
    """Returns hour marks over the cells, as many as fit."""
    cells = [" "] * len(spans)
    free_from = 0
    for index, (first, last) in enumerate(spans):
        full = next((s for s in range(first, last) if _at(plan, s) % HOUR_MS == 0), None)
        if full is None:
            continue
        hour = local_time(zone, _at(plan, full)).hour
        text = f"{hour:02d}"
        if hour % 3 == 0 and index >= free_from and index + len(text) <= len(cells):
            cells[index : index + len(text)] = list(text)
            free_from = index + len(text) + 1
    return "".join(cells)


def why(plan: Plan, asked: str, at: Instant) -> Mapping[str, object] | None:
    """Returns what a plan asks of an asset at an instant, why, and what comes next; None where it says nothing of it.

    `asked` may be the device of a job: that of the job which runs then, or comes next.
    """
    slot = plan.slot(at)
    asset = None if slot is None else _asset(plan, asked, slot)
    if slot is None or asset is None:
        return None
    storage, unit = plan.storages.get(asset), plan.units.get(asset)
    mode, words = steps_shown(plan, asset)[slot]
    what: dict[str, object] = {"what": words, "mode": mode}
    if storage is not None:
        step = storage[slot]
        what |= {"limit_w": step.limit_w, "expected_w": step.expected_w, "expected_soc": step.expected_soc}
    elif unit is not None:
        what |= {"expected_w": unit[slot].power_w}
    reason = _reasons(plan, asset)[slot]
    return {
        "device": asset,
        "from": _at(plan, slot),
        "until": _at(plan, slot + 1),
        **what,
        "constraint": reason.constraint,
        "marginal_price": reason.marginal_price,
        "alternative": reason.alternative,
        "alternative_cost": reason.alternative_cost,
        "binding": _binding(plan, slot, reason.binding),
        "next": _next(plan, asset, slot),
        "ready": _ready(plan, asset, slot),
    }


def _asset(plan: Plan, asked: str, slot: int) -> AssetId | None:
    """Returns the asset of that name, or the job that runs on the device of that name, now or soonest after."""
    if asked in plan.storages or asked in plan.units:
        return AssetId(asked)
    jobs = [(name, plan.units[name]) for name, one in plan.roles.items() if one.device == asked and name in plan.units]
    ahead = [(next((t for t in range(slot, len(steps)) if steps[t].on), len(steps)), name) for name, steps in jobs]
    return min(ahead)[1] if ahead else None


def _next(plan: Plan, asset: AssetId, slot: int) -> list[dict[str, object]]:
    """Returns the two blocks that follow the present one, and the next time away where that comes later."""
    ahead = [block for block in _blocks(plan, asset) if block.first > slot]
    away = next((block for block in ahead[2:] if block.mode == AWAY), None)
    told = (*ahead[:2], *(() if away is None else (away,)))
    return [{"from": block.row.start, "until": block.row.end, "what": block.row.what} for block in told]


def _ready(plan: Plan, asset: AssetId, slot: int) -> dict[str, object] | None:
    """Returns when a vehicle is next to be ready, what it wants then and what it will have [kWh]."""
    leaves = next((one for one in role(plan, asset).departures if one.slot > slot), None)
    if leaves is None:
        return None
    kwh = plan.soc_kwh.get(asset)
    if kwh is not None:
        has = kwh[leaves.slot - 1]
    else:
        has = sum(step.power_w for step in plan.units[asset][: leaves.slot]) / 1000 * plan.slot_ms / HOUR_MS
    return {"at": _at(plan, leaves.slot), "wanted_kwh": leaves.energy_kwh, "expected_kwh": has}


def _binding(plan: Plan, slot: int, binding: Binding | None) -> dict[str, object] | None:
    """Returns the limit that a reason names: what, whose, when, and what one unit more of it saves."""
    if binding is None:
        return None
    return {
        "limit": str(binding.limit),
        "asset": binding.asset or None,
        "from": _at(plan, binding.slot),
        "price": binding.price,
        "words": effect(binding, slot, plan.slot_ms),
    }


def why_lines(found: Mapping[str, object], zone: str, currency: str) -> list[str]:
    """Returns the reason of one step for a terminal."""
    start, end = Instant(int(str(found["from"]))), Instant(int(str(found["until"])))
    about = _about(abs(int(str(found["expected_w"]))))
    lines = [f"{found['device']}, {clock_text(zone, start)}-{local_time(zone, end):%H:%M}: {found['what']}{about}"]
    if found["mode"] != AWAY:
        lines.append(f"  because     {found['constraint']}")
    binding = found["binding"]
    if isinstance(binding, Mapping):
        lines.append(f"  worth       {cast('Mapping[str, object]', binding)['words']} {currency}")
    if found["marginal_price"] is not None:
        lines.append(f"  one kWh     more would cost {float(str(found['marginal_price'])):.3f} {currency} then")
    if found["alternative"]:
        cost = found["alternative_cost"]
        dearer = "" if cost is None else f": {float(str(cost)):.3f} {currency} dearer per kWh"
        lines.append(f"  rejected    {found['alternative']}{dearer}")
    return lines + _coming(found, zone)


def _coming(found: Mapping[str, object], zone: str) -> list[str]:
    """Returns what a device does next, and when a vehicle is ready."""
    lines: list[str] = []
    for block in cast("Sequence[Mapping[str, object]]", found["next"]):
        start, end = Instant(int(str(block["from"]))), Instant(int(str(block["until"])))
        lines.append(f"  then        {clock_text(zone, start)}-{local_time(zone, end):%H:%M} {block['what']}")
    ready = found["ready"]
    if isinstance(ready, Mapping):
        said = cast("Mapping[str, float]", ready)
        by, wanted, has = clock_text(zone, Instant(int(said["at"]))), said["wanted_kwh"], said["expected_kwh"]
        lines.append(f"  ready       by {by} with {wanted:.1f} kWh: {has:.1f} kWh expected")
    return lines
