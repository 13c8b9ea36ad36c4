"""The survival curve as SVG text. Pure; no style attributes (strict CSP)."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from controller.storm_values import CurvePoint, StormView

CHART_PX = 180
TICK_H = 12
TABLE_H = (0, 3, 6, 12, 18, 24, 36, 48, 72, 96)


def values(view: StormView, *, open_table: bool) -> dict[str, object]:
    """Returns what `parts/survival.html` needs."""
    rows = tuple(point for point in view.curve if point.hours in TABLE_H)
    return {"view": view, "survival_rows": rows, "open_table": open_table}


def survival(points: Sequence[CurvePoint], needed_h: float, label: str) -> Markup:
    """Returns probability over hours: the ration that holds (full line), no ration (dashed), and the hours needed."""
    if len(points) < 2:
        return Markup("")
    last = points[-1].hours or 1
    held = _steps([(point.hours, point.all) for point in points], last)
    free = _steps([(point.hours, point.unrationed) for point in points], last)
    ticks = "".join(
        f'<line class="grid" x1="{100 * h / last:.2f}%" x2="{100 * h / last:.2f}%" y1="0" y2="100%"/>'
        for h in range(TICK_H, last, TICK_H)
    )
    needed = 100 * min(needed_h, last) / last
    mark = f'<line class="now" x1="{needed:.2f}%" x2="{needed:.2f}%" y1="0" y2="100%"/>'
    return Markup(  # noqa: S704  # numbers, and a label that went through `escape`
        f'<svg class="lines" width="100%" height="{CHART_PX}" role="img" aria-label="{escape(label)}">{ticks}'
        f'<line class="axis" x1="0" x2="100%" y1="100%" y2="100%"/>'
        f'<svg viewBox="0 0 1000 1000" width="100%" height="100%" preserveAspectRatio="none">'
        f'<path class="line s1 forecast" d="{free}"/><path class="line s0 actual" d="{held}"/></svg>{mark}</svg>'
    )


def hours_axis(points: Sequence[CurvePoint]) -> Markup:
    """Returns the hour labels beneath the curve."""
    last = points[-1].hours if points else 0
    labels = "".join(
        f'<text x="{100 * h / last:.2f}%" y="14" text-anchor="middle">{h} h</text>' for h in range(TICK_H, last, TICK_H)
    )
    return Markup(f'<svg class="ticks" width="100%" height="18" aria-hidden="true">{labels}</svg>')  # noqa: S704


def _steps(points: Sequence[tuple[int, float]], last: int) -> str:
    """Returns a path that falls in steps, 1000 wide and high."""
    path = [f"M0 {1000 - 1000 * points[0][1]:.0f}"]
    for hours, chance in points[1:]:
        path.append(f"H{1000 * hours / last:.0f}V{1000 - 1000 * chance:.0f}")
    return "".join(path)
