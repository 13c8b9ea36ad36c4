"""Do the meters of a feeder add up? All devices on the bus against the feeder's own meter, over some minutes. Pure.

By the sign rule (devices/units.py) the powers of all devices on one bus sum to zero, the feeder's included. What is
missing is a loss, a load without a meter, or one meter that lies; where turning one meter round or moving its decimal
point would make the sum right, that one is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devices.known_value import SCALES
from devices.plausible import PointVerdict, Sample, Verdict

SHARE = 0.05
"""Of what flows: losses, and meters of class 1 that are read one after the other."""
LEAST_W, LEAST_WH = 100.0, 50.0
"""So much may always be missing; energies below twenty times that say nothing."""
SUSPECTS_MAX = 3


def judge_balance(feeder: str, heard: Mapping[str, Sequence[Sample]]) -> list[PointVerdict]:
    """Returns a verdict on the powers, and one on the energies counted meanwhile, where enough was.

    `heard` holds each device's polls, the feeder's among them; a device without `W` is left out.
    """
    powers = {device: mean for device, samples in heard.items() if (mean := _mean(samples)) is not None}
    if feeder not in powers:
        return [PointVerdict("W", Verdict.BAD, None, f"{feeder} shows no power: there is nothing to compare with")]
    found = [_judge("W", "W", feeder, powers, LEAST_W)]
    gains = {device: gain for device, samples in heard.items() if (gain := _gained(samples)) is not None}
    if feeder in gains and _flow(gains) >= 20 * LEAST_WH:
        found.append(_judge("energy", "Wh", feeder, gains, LEAST_WH))
    else:
        found.append(PointVerdict("energy", Verdict.WARN, None, "too little was counted to tell: watch for longer"))
    return found


def _flow(amounts: Mapping[str, float]) -> float:
    return sum(abs(amount) for amount in amounts.values()) / 2


def _judge(point: str, unit: str, feeder: str, amounts: Mapping[str, float], least: float) -> PointVerdict:
    off, flow = sum(amounts.values()), _flow(amounts)
    slack = max(least, SHARE * flow)
    others, count = off - amounts[feeder], len(amounts) - 1
    said = f"{feeder} {-amounts[feeder]:.0f} {unit}, the {count} other{'s' * (count != 1)} together {others:.0f} {unit}"
    share = f", {abs(off) / flow:.0%}" if flow else ""
    said += f": off by {abs(off):.0f} {unit}{share}"
    if abs(off) <= slack:
        return PointVerdict(point, Verdict.OK, off, said)
    suspects = _suspects(amounts, off, slack)
    if suspects:
        return PointVerdict(point, Verdict.BAD, off, f"{said}; right if {' or '.join(suspects)}")
    reason = "a load without a meter?" if off < 0 else "a source without a meter, or a meter that counts too much?"
    return PointVerdict(point, Verdict.BAD, off, f"{said}; no single sign or scale explains it: {reason}")


def _suspects(amounts: Mapping[str, float], off: float, slack: float) -> list[str]:
    """Returns single faults that would explain the difference, the best first."""
    found: list[tuple[float, str]] = []
    for device, amount in amounts.items():
        if abs(amount) > slack / 2:
            found.append((abs(off - 2 * amount), f"{device} were turned round"))
        found += [(abs(off + amount * (factor - 1)), f"{device} were {factor:g} times as much") for factor in SCALES]
    return [text for left, text in sorted(found) if left <= slack][:SUSPECTS_MAX]


def _mean(samples: Sequence[Sample]) -> float | None:
    powers = [value for sample in samples if (value := sample.values.get("W")) is not None]
    return sum(powers) / len(powers) if powers else None


def _gained(samples: Sequence[Sample]) -> float | None:
    """Returns what was taken in less what was given out, by the registers that the device has [Wh]."""
    if len(samples) < 2:
        return None
    first, last = samples[0].values, samples[-1].values
    total, seen = 0.0, False
    for point, sign in (("import_wh", 1.0), ("export_wh", -1.0)):
        before, after = first.get(point), last.get(point)
        if before is not None and after is not None:
            total, seen = total + sign * (after - before), True
    return total if seen else None
