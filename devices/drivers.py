"""A device's points on its wire: which blocks to read, how signs turn, which registers a setpoint writes.

The only place where signs turn (devices/units.py has the rule). Used by the gateway to decode and by the
simulator, in the other direction, to make register images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from devices.model import DeviceKind
from devices.registers import READ_MAX, Block, Reader, Registers, RegisterWrite, scaled
from devices.sunspec import SCALES, ModelAt, ModelDef, encode_point, model, point_reader, scale_of


class Unwritable(ValueError):
    """This device cannot take that setpoint (no such control, read-only, scale factor unknown, out of range)."""


class Driver(Protocol):
    """What the gateway needs of a device: blocks to read and registers to write. No state, no I/O."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns the reads of one poll."""
        ...

    @property
    def reverts(self) -> bool:
        """Returns whether a write carries the device's own reversion timer, which must be set again in time."""
        ...

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns the value at which a counting point starts again from 0 [the point's unit], 0 if it never does."""
        ...

    def keep_alive_ms(self, point: str) -> int:
        """Returns after how long without a write the device gives the setpoint up, 0 if never or by its own timer."""
        ...

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns the writes that make `value` true, with the device's own reversion timer where it has one.

        `valid_ms` 0 means for good; `last` holds the last good answer per block, None where there is none.

        Raises:
            Unwritable: the device cannot take it.
        """
        ...


@dataclass(frozen=True, slots=True)
class SunspecPoint:
    """Point of ours = SunSpec value x factor (the sign rule and percent to fraction happen here).

    Where the point named `enable` reads 0, the value is `disabled` instead.
    """

    point: str
    model: int
    name: str
    factor: float = 1.0
    enable: str = ""
    disabled: float | None = None


SUNSPEC_POINTS: Mapping[DeviceKind, tuple[SunspecPoint, ...]] = {
    DeviceKind.METER: (
        SunspecPoint("W", 203, "W"),
        SunspecPoint("import_wh", 203, "TotWhImp"),
        SunspecPoint("export_wh", 203, "TotWhExp"),
        SunspecPoint("V", 203, "PhVphA"),
    ),
    DeviceKind.GRID: (
        SunspecPoint("W", 203, "W", -1.0),
        SunspecPoint("import_wh", 203, "TotWhImp"),
        SunspecPoint("export_wh", 203, "TotWhExp"),
        SunspecPoint("V", 203, "PhVphA"),
        SunspecPoint("hz", 203, "Hz"),
    ),
    DeviceKind.PV: (
        SunspecPoint("W", 103, "W", -1.0),
        SunspecPoint("export_wh", 103, "WH"),
        SunspecPoint("limit", 123, "WMaxLimPct", 0.01, "WMaxLim_Ena", 1.0),
    ),
    DeviceKind.BATTERY: (
        SunspecPoint("W", 701, "W", -1.0),
        SunspecPoint("soc", 713, "SoC", 0.01),
        SunspecPoint("import_wh", 701, "TotWhAbs"),
        SunspecPoint("export_wh", 701, "TotWhInj"),
        SunspecPoint("setpoint", 704, "WSet", -1.0),
    ),
}
"""SunSpec: meters count import from the grid side as positive W, generators and storages production."""

SUNSPEC_CHAINS: Mapping[DeviceKind, tuple[int, ...]] = {
    DeviceKind.METER: (1, 203),
    DeviceKind.GRID: (1, 203),
    DeviceKind.PV: (1, 103, 123),
    DeviceKind.BATTERY: (1, 701, 704, 713),
}
"""The models a simulated device of each kind shows, in this order."""

_ALTERNATIVES: Mapping[int, tuple[int, ...]] = {
    203: (203, 201, 202, 204),
    103: (103, 101, 102),
}
"""Models with the same points under the same names: a real device may show any of them."""


def sunspec_values(kind: DeviceKind, values: Mapping[str, float | None]) -> dict[int, dict[str, float | None]]:
    """Returns SunSpec values by model and name for points of ours (the inverse of the driver's reading).

    A PV `limit` below 1 also enables itself, otherwise it is disabled.
    """
    models: dict[int, dict[str, float | None]] = {m: {} for m in SUNSPEC_CHAINS[kind]}
    for mapping in SUNSPEC_POINTS[kind]:
        value = values.get(mapping.point)
        divisor = 1 / mapping.factor
        models[mapping.model][mapping.name] = None if value is None else value * divisor
        if mapping.enable:
            models[mapping.model][mapping.enable] = 0 if value in (None, mapping.disabled) else 1
    return models


class SunspecDriver:
    """Reads and writes a SunSpec device over the model chain that a scan found."""

    def __init__(self, kind: DeviceKind, chain: Sequence[ModelAt]) -> None:
        """Compiles the block reads; a point whose model is absent is left out and named in `missing`."""
        self._at = {entry.id: entry for entry in chain}
        self.missing: tuple[str, ...] = ()
        self._models: list[int] = []
        self._names = {mapping.point: mapping.name for mapping in SUNSPEC_POINTS[kind]}
        blocks: list[Block] = []
        wanted: dict[int, list[SunspecPoint]] = {}
        for mapping in SUNSPEC_POINTS[kind]:
            found = next((m for m in _ALTERNATIVES.get(mapping.model, (mapping.model,)) if m in self._at), None)
            if found is None:
                self.missing += (mapping.point,)
            else:
                wanted.setdefault(found, []).append(mapping)
        for model_id, mappings in wanted.items():
            blocks.append(self._block(self._at[model_id], mappings))
            self._models.append(model_id)
        self._blocks = tuple(blocks)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns one read per model: the span from the first wanted register to the last."""
        return self._blocks

    @property
    def reverts(self) -> bool:
        """Returns True: models 123 and 704 have reversion timers."""
        return True

    @staticmethod
    def _block(at: ModelAt, mappings: Sequence[SunspecPoint]) -> Block:
        definition = model(at.id)
        first, last = _span(definition, [n for m in mappings for n in (m.name, m.enable) if n])
        readers: list[Reader] = []
        for mapping in mappings:
            point = definition.points[mapping.name]
            counts = mapping.point.endswith("_wh")
            read = scaled(point_reader(point, scale_of(definition, point), first, rounded=counts), mapping.factor)
            if mapping.enable:
                read = _enabled(read, definition.points[mapping.enable].offset - first, mapping.disabled)
            readers.append(read)
        names = tuple(m.point for m in mappings)
        return Block(3, at.address + first, min(last - first, READ_MAX), names, tuple(readers))

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns one write: model 123's limit or model 704's W setpoint, timer and enable together."""
        if point == "limit" and 123 in self._at:
            return [self._limit(value, valid_ms, self._exponent(123, "WMaxLimPct", last))]
        if point == "setpoint" and 704 in self._at:
            return [self._set_w(-value, -fallback, valid_ms, self._exponent(704, "WSet", last))]
        raise Unwritable(f"no SunSpec control for {point}: models found {sorted(self._at)}, needed 123 or 704")

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns 2^32 x scale for acc32 counters, 2^64 x scale for 64 bit ones."""
        for index, block in enumerate(self._blocks):
            if point not in block.points:
                continue
            name = self._names[point]
            kind = model(self._models[index]).points[name].type
            try:
                exponent = self._exponent(self._models[index], name, last)
            except Unwritable:
                return 0
            return int((1 << (32 if kind.endswith("32") else 64)) * 10.0**exponent)
        return 0

    def keep_alive_ms(self, point: str) -> int:
        """Returns 0: SunSpec controls carry their own reversion timers."""
        del point
        return 0

    def _exponent(self, model_id: int, name: str, last: Sequence[Registers | None]) -> int:
        index = self._models.index(model_id)
        registers = last[index]
        definition = model(model_id)
        scale = scale_of(definition, definition.points[name])
        if scale is None:
            return 0
        if registers is None:
            raise Unwritable(f"scale factor of {name} not read yet: wait for the first good poll")
        raw = registers[self._at[model_id].address + scale.offset - self._blocks[index].address]
        if raw not in SCALES:
            raise Unwritable(f"scale factor of {name} is {raw}: the device has no usable scale")
        return raw - 65536 if raw > 32767 else raw

    def _limit(self, fraction: float, valid_ms: int, exponent: int) -> RegisterWrite:
        values = (
            ("WMaxLimPct", fraction * 100),
            ("WMaxLimPct_WinTms", 0),
            ("WMaxLimPct_RvrtTms", min(_seconds(valid_ms), 65534)),
            ("WMaxLimPct_RmpTms", 0),
            ("WMaxLim_Ena", 1),
        )
        return self._write(123, values, exponent)

    def _set_w(self, watts: float, fallback: float, valid_ms: int, exponent: int) -> RegisterWrite:
        values = (
            ("WSetEna", 1),
            ("WSetMod", 1),
            ("WSet", watts),
            ("WSetRvrt", fallback),
            ("WSetPct", None),
            ("WSetPctRvrt", None),
            ("WSetEnaRvrt", 1),
            ("WSetRvrtTms", _seconds(valid_ms)),
        )
        return self._write(704, values, exponent)

    def _write(self, model_id: int, values: Sequence[tuple[str, float | None]], exponent: int) -> RegisterWrite:
        points = model(model_id).points
        words: list[int] = []
        try:
            for name, value in values:
                words.extend(encode_point(points[name], value, exponent if isinstance(points[name].scale, str) else 0))
        except OverflowError as error:
            raise Unwritable(str(error)) from error
        return RegisterWrite(16, self._at[model_id].address + points[values[0][0]].offset, tuple(words))


def _enabled(read: Reader, index: int, disabled: float | None) -> Reader:
    def read_enabled(registers: Registers) -> float | None:
        return disabled if registers[index] == 0 else read(registers)

    return read_enabled


def _seconds(valid_ms: int) -> int:
    return -(-valid_ms // 1000)


def _span(definition: ModelDef, names: Sequence[str]) -> tuple[int, int]:
    used = [definition.points[name] for name in names]
    used += [scale for point in used if (scale := scale_of(definition, point)) is not None]
    return min(p.offset for p in used), max(p.offset + p.size for p in used)
