"""Pictures as SVG text: power flow, levels, bars, Gantt rows and lines. Pure; no style attributes (strict CSP).

Widths are per cent, so that a picture fits 360 px and a desktop alike without stretched letters; only
bands and lines live in a nested box that stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from itertools import groupby

from markupsafe import Markup, escape

from controller.console import outlook, words
from controller.console.grading import Graded
from controller.views import FlowView, PlanRow, PlanSeries
from devices.clock import HOUR_MS, Instant, floor_to
from devices.model import Quality

ROW_PX = 58
IDLE_W = 20.0
"""Below this a device counts as neither giving nor taking."""
BUS_X = (47.5, 52.5)
CHART_PX = 180
DAY_PX = 110
LABEL_PER_CENT = 9.0
"""Below this width a block's label stands beside it."""


def _picture(svg: str) -> Markup:
    """Returns finished SVG text; every word from outside in it went through `escape`."""
    return Markup(svg)  # noqa: S704  # the one place where text becomes markup


def is_source(flow: FlowView) -> bool:
    """Returns whether a flow stands on the giving side of the picture."""
    watts = flow.power.value
    if watts is None or abs(watts) < IDLE_W:
        return flow.kind in ("grid", "pv", "genset", "battery")
    return watts < 0


def sides(flows: Sequence[FlowView]) -> tuple[tuple[FlowView, ...], tuple[FlowView, ...]]:
    """Returns (sources, loads) in the order given."""
    return tuple(f for f in flows if is_source(f)), tuple(f for f in flows if not is_source(f))


def flow_picture(flows: Sequence[FlowView]) -> Markup:
    """Returns the bands between the two columns of labels; the labels themselves are HTML beside it."""
    sources, loads = sides(flows)
    height = ROW_PX * max(len(sources), len(loads), 1)
    total = max(_total(sources), _total(loads), 1.0)
    bands = _bands(sources, height, total, left=True) + _bands(loads, height, total, left=False)
    bus = (
        f'<rect class="bus" x="{BUS_X[0]}" width="{BUS_X[1] - BUS_X[0]}" '
        f'y="{height * 0.06:.1f}" height="{height * 0.88:.1f}"/>'
    )
    return _picture(
        f'<svg class="flow" viewBox="0 0 100 {height}" width="100%" height="{height}" preserveAspectRatio="none"'
        f' aria-hidden="true">{"".join(bands)}{bus}</svg>'
    )


def _total(flows: Sequence[FlowView]) -> float:
    return sum(abs(flow.power.value or 0.0) for flow in flows)


def _bands(flows: Sequence[FlowView], height: float, total: float, *, left: bool) -> list[str]:
    room = height * 0.8
    at_bus = (height - room * _total(flows) / total) / 2
    bands: list[str] = []
    for index, flow in enumerate(flows):
        watts = abs(flow.power.value or 0.0)
        centre = (index + 0.5) * height / len(flows)
        quality = "" if flow.power.quality <= Quality.UNCERTAIN else " stale"
        if watts < IDLE_W:
            bands.append(_idle_line(centre, height / 2, quality, left=left))
            continue
        wide = max(2.0, room * watts / total)
        at_device = min(wide, height / len(flows) * 0.72)
        path = _band(centre, at_device, at_bus, wide, left=left)
        bands.append(f'<path class="band{quality}" d="{path}"/>')
        at_bus += room * watts / total
    return bands


def _band(centre: float, at_device: float, at_bus: float, wide: float, *, left: bool) -> str:
    outer, inner, bend = (0.0, BUS_X[0], 26.0) if left else (100.0, BUS_X[1], 74.0)
    top, bottom = centre - at_device / 2, centre + at_device / 2
    return (
        f"M{outer:g} {top:.1f}C{bend:g} {top:.1f} {bend:g} {at_bus:.1f} {inner:g} {at_bus:.1f}"
        f"L{inner:g} {at_bus + wide:.1f}C{bend:g} {at_bus + wide:.1f} {bend:g} {bottom:.1f} {outer:g} {bottom:.1f}Z"
    )


def _idle_line(centre: float, middle: float, quality: str, *, left: bool) -> str:
    outer, inner, bend = (0.0, BUS_X[0], 26.0) if left else (100.0, BUS_X[1], 74.0)
    curve = f"M{outer:g} {centre:.1f}C{bend:g} {centre:.1f} {bend:g} {middle:.1f} {inner:g} {middle:.1f}"
    return f'<path class="idle{quality}" d="{curve}"/>'


def level(fraction: float | None, reserve: float, label: str) -> Markup:
    """Returns a horizontal level bar with its reserve mark; both fractions 0-1."""
    low = fraction is not None and fraction < reserve
    fill = (
        ""
        if fraction is None
        else f'<rect class="{"fill low" if low else "fill"}" width="{_per_cent(fraction)}" height="100%"/>'
    )
    empty = '<rect class="unknown" width="100%" height="100%"/>' if fraction is None else ""
    mark = _per_cent(reserve)
    return _picture(
        f'<svg class="level" width="100%" height="26" role="img" aria-label="{escape(label)}">'
        f'<rect class="track" width="100%" height="100%"/>{empty}{fill}'
        f'<rect class="kept" width="{mark}" y="22" height="4"/>'
        f'<line class="mark" x1="{mark}" x2="{mark}" y1="0" y2="26"/></svg>'
    )


def _per_cent(fraction: float) -> str:
    return f"{min(max(fraction, 0.0), 1.0) * 100:.2f}%"


def hour_bars(hourly: Sequence[tuple[Instant, int]], tz: tzinfo, label: str) -> Markup:
    """Returns one bar per hour [Wh] with hour labels beneath."""
    count = max(len(hourly), 1)
    top = _nice_top(max((wh for _, wh in hourly), default=0))
    bars: list[str] = []
    for index, (at, wh) in enumerate(hourly):
        share = wh / top * 82
        x = f"{(index + 0.12) / count * 100:.2f}%"
        tip = escape(f"{words.clock(at, tz)}: {words.energy(wh)}")
        bars.append(
            f'<rect class="bar" x="{x}" width="{76 / count:.2f}%" y="{86 - share:.2f}%" height="{share:.2f}%">'
            f"<title>{tip}</title></rect>"
        )
        if index % 6 == 0:
            bars.append(f'<text x="{index / count * 100:.2f}%" y="98%">{words.clock(at, tz)}</text>')
    highest = f'<text x="0" y="3.5%" dy=".9em">{escape(words.energy(top))}</text>'
    scale = f'<line class="grid" x1="0" x2="100%" y1="4%" y2="4%"/>{highest}'
    return _picture(
        f'<svg class="bars" width="100%" height="150" role="img" aria-label="{escape(label)}">{scale}'
        f'<line class="axis" x1="0" x2="100%" y1="86%" y2="86%"/>{"".join(bars)}</svg>'
    )


def _nice_top(value: float) -> float:
    """Returns the next 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def gantt_row(row: PlanRow, start: Instant, end: Instant, now: Instant, tz: tzinfo) -> Markup:
    """Returns one device's blocks on the time axis [start, end)."""
    width = max(end - start, 1)
    shown = [block for block in row.blocks if block[1] > start and block[0] < end]
    blocks: list[str] = []
    for index, (since, until, label, mode, reason) in enumerate(shown):
        x, wide = (max(since, start) - start) / width * 100, (min(until, end) - max(since, start)) / width * 100
        free = ((shown[index + 1][0] if index + 1 < len(shown) else end) - until) / width * 100
        tip = escape(f"{words.clock(since, tz)}–{words.clock(until, tz)} {label}: {reason}")
        inside = wide >= LABEL_PER_CENT or free < LABEL_PER_CENT
        text = f'<text x="6" y="21">{escape(label)}</text>' if inside else ""
        blocks.append(
            f'<svg x="{x:.2f}%" width="{wide:.2f}%" height="34"><title>{tip}</title>'
            f'<rect class="block m-{_class_word(mode)}" y="4" width="100%" height="26" rx="3"/>{text}</svg>'
        )
        if not inside:  # as far as the next block
            beside = f'<text x="6" y="21">{escape(label)}</text>'
            blocks.append(f'<svg x="{x + wide:.2f}%" width="{free:.2f}%" height="34">{beside}</svg>')
    return _picture(
        f'<svg class="gantt" width="100%" height="34" role="img" aria-label="{escape(row.label)}">'
        f"{_hour_lines(start, end, tz)}{''.join(blocks)}{_now_line(start, end, now)}</svg>"
    )


def _class_word(mode: str) -> str:
    return "".join(letter for letter in mode.lower() if letter.isascii() and letter.isalnum()) or "other"


def _ticks(start: Instant, end: Instant, tz: tzinfo) -> list[tuple[float, Instant]]:
    """Returns (per cent, instant) at every full civil third hour."""
    width = max(end - start, 1)
    first = floor_to(Instant(start + HOUR_MS - 1), HOUR_MS)
    every = [Instant(at) for at in range(first, end, HOUR_MS)]
    return [((at - start) / width * 100, at) for at in every if int(words.clock(at, tz)[:2]) % 3 == 0]


def _hour_lines(start: Instant, end: Instant, tz: tzinfo) -> str:
    return "".join(
        f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="100%"/>' for x, _ in _ticks(start, end, tz)
    )


def _now_line(start: Instant, end: Instant, now: Instant) -> str:
    if not start <= now < end:
        return ""
    x = (now - start) / (end - start) * 100
    return f'<line class="now" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="100%"/>'


def time_axis(start: Instant, end: Instant, tz: tzinfo) -> Markup:
    """Returns the hour labels of a time axis."""
    labels = "".join(
        f'<text{_fine(at, tz)} x="{x:.2f}%" y="14" text-anchor="middle">{words.clock(at, tz)}</text>'
        for x, at in _ticks(start, end, tz)
        if 2 < x < 98
    )
    return _picture(f'<svg class="ticks" width="100%" height="18" aria-hidden="true">{labels}</svg>')


def _fine(at: Instant, tz: tzinfo) -> str:
    """Returns the class of a tick that narrow screens leave out."""
    return ' class="fine"' if int(words.clock(at, tz)[:2]) % 6 else ""


def value_range(series: Sequence[PlanSeries]) -> tuple[float, float]:
    """Returns (low, high) of an axis that holds every value and zero."""
    values = [value for line in series for value in line.values if value is not None]
    if series and series[0].unit == "fraction":
        return 0.0, 1.0
    high = _nice_top(max(values, default=1.0))
    low = -_nice_top(-min(values)) if values and min(values) < 0 else 0.0
    return low, high


def lines(times: Sequence[Instant], chart: outlook.Chart, now: Instant, tz: tzinfo) -> Markup:
    """Returns a line chart of series that share a unit; the figure for browsers without scripts."""
    series, label = chart.series, chart.sentence
    if len(times) < 2:
        return _picture("")
    start, end = times[0], times[-1]
    low, high = value_range(series)
    spread = (high - low) or 1.0
    zero = (high / spread) * 100
    curves = [_line_path(times, one, start, end - start, (low, spread)) for one in series]
    paths = [
        f'<path class="line s{tone} {_class_word(one.kind)}" d="{curve}"/>'
        for tone, one, curve in zip(chart.tones, series, curves, strict=True)
    ]
    return _picture(
        f'<svg class="lines" width="100%" height="{CHART_PX}" role="img" aria-label="{escape(label)}">'
        f'{_hour_lines(start, end, tz)}<line class="axis" x1="0" x2="100%" y1="{zero:.2f}%" y2="{zero:.2f}%"/>'
        f'<svg viewBox="0 0 1000 1000" width="100%" height="100%" preserveAspectRatio="none">{"".join(paths)}</svg>'
        f"{_now_line(start, end, now)}</svg>"
    )


def _line_path(times: Sequence[Instant], one: PlanSeries, start: int, width: int, scale: tuple[float, float]) -> str:
    low, spread = scale
    path: list[str] = []
    pen = "M"
    for at, value in zip(times, one.values, strict=False):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{(at - start) / width * 1000:.0f} {1000 - (value - low) / spread * 1000:.0f}")
        pen = "L"
    return "".join(path)


def day_range(label: str, unit: str, values: Sequence[float | None]) -> tuple[float, float]:
    """Returns (low, high) of an axis: with zero, but for counters and voltages, whose zero is far away."""
    known = [value for value in values if value is not None]
    if unit == "fraction":
        return 0.0, 1.0
    if known and (label.endswith(("_wh", "_ml")) or min(known) > 0.8 * max(known) > 0):
        return min(known), max(*known, min(known) + 1.0)
    high = _nice_top(max(known, default=1.0))
    return (-_nice_top(-min(known)) if known and min(known) < 0 else 0.0), high


def day_line(
    graded: Graded,
    told: Sequence[tuple[Instant, Instant, float]],
    scale: tuple[float, float],
    span: tuple[Instant, Instant, tzinfo],
    label: str,
) -> Markup:
    """Returns a point's day: its means with gaps, what it was told (dotted), and where its quality was not good."""
    start, end, tz = span
    width, (low, high) = max(end - start, 1), scale
    spread = (high - low) or 1.0
    measured = PlanSeries("", "actual", "", graded.means)
    path = _line_path(graded.times, measured, start, width, (low, spread))
    dotted = "".join(
        f"M{(max(since, start) - start) / width * 1000:.0f} {1000 - (value - low) / spread * 1000:.0f}"
        f"H{(min(until, end) - start) / width * 1000:.0f}"
        for since, until, value in told
    )
    strips = "".join(
        f'<rect class="q {name}" x="{(since - start) / width * 100:.2f}%" y="94%" height="6%"'
        f' width="{(until - since) / width * 100:.2f}%"><title>{escape(said)}</title></rect>'
        for since, until, name, said in _strips(graded, end, tz)
    )
    zero = high / spread * 100
    axis = f'<line class="axis" x1="0" x2="100%" y1="{zero:.2f}%" y2="{zero:.2f}%"/>' if low <= 0 <= high else ""
    return _picture(
        f'<svg class="lines day" width="100%" height="{DAY_PX}" role="img" aria-label="{escape(label)}">'
        f"{_hour_lines(start, end, tz)}{axis}"
        '<svg viewBox="0 0 1000 1000" width="100%" height="100%" preserveAspectRatio="none">'
        f'<path class="line s4 actual" d="{path}"/><path class="line s1 plan" d="{dotted}"/></svg>{strips}</svg>'
    )


def _strips(graded: Graded, end: Instant, tz: tzinfo) -> list[tuple[Instant, Instant, str, str]]:
    """Returns (from, until, class, words) of each stretch of a quality that is not good."""
    found: list[tuple[Instant, Instant, str, str]] = []
    for quality, steps in groupby(zip(graded.worst, graded.times, strict=True), key=lambda one: one[0]):
        if quality is Quality.GOOD:
            continue
        times = [at for _, at in steps]
        until = min(end, Instant(times[-1] + graded.step_ms))
        name = "none" if quality is None else quality.name.lower()
        said = f"{words.clock(times[0], tz)}–{words.clock(until, tz)} {'nothing heard' if quality is None else name}"
        found.append((times[0], until, f"q-{name}", said))
    return found
