"""Reads and writes a SunSpec device over the model chain that a scan found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devices.drivers import Unwritable
from devices.model import DeviceKind
from devices.registers import READ_MAX, Block, Reader, Registers, RegisterWrite, scaled
from devices.sunspec import SCALES, ModelAt, ModelDef, PointDef, group_point, model, point_reader, scale_of
from devices.sunspec_controls import Order, limit_123, limit_704, power_124, power_704, power_reader_124
from devices.sunspec_points import (
    ALTERNATIVES,
    EXTRAS,
    EXTRAS_EVERY,
    INSTEAD,
    STRINGS,
    STRINGS_MAX,
    SUNSPEC_POINTS,
    SunspecPoint,
)

STORAGE = 124
HELD = ("WChaMax", "StorCtl_Mod", "OutWRte", "InWRte")
"""What model 124's setpoint is read from."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One point to be read: which definition, and the mapping behind it."""

    mapping: SunspecPoint
    definition: PointDef


class SunspecDriver:
    """Blocks and controls of one device; no state, no I/O."""

    def __init__(self, kind: DeviceKind, chain: Sequence[ModelAt]) -> None:
        """Compiles the block reads; a point whose model is absent is left out and named in `missing`."""
        self._at = {entry.id: entry for entry in chain}
        self.missing: tuple[str, ...] = ()
        self._where: dict[str, tuple[int, SunspecPoint]] = {}  # point -> (model, mapping)
        wanted: dict[int, list[_Wanted]] = {}
        for mapping in SUNSPEC_POINTS[kind]:
            if not self._want(wanted, (mapping, *INSTEAD.get((kind, mapping.point), ()))):
                self.missing += (mapping.point,)
        own = tuple(wanted)
        for mapping in EXTRAS.get(kind, ()):
            if mapping.point not in self._where:
                self._want(wanted, (mapping,))
        if kind is DeviceKind.PV and own:
            self._want_strings(wanted)
        self._models = list(wanted)
        self._blocks = tuple(
            self._block(self._at[model_id], points, 1 if model_id in own else EXTRAS_EVERY)
            for model_id, points in wanted.items()
        )

    def _want(self, wanted: dict[int, list[_Wanted]], options: Sequence[SunspecPoint]) -> bool:
        for mapping in options:
            for model_id in ALTERNATIVES.get(mapping.model, (mapping.model,)):
                definition = model(model_id).points.get(mapping.name) if model_id in self._at else None
                if definition is not None:
                    wanted.setdefault(model_id, []).append(_Wanted(mapping, definition))
                    self._where[mapping.point] = (model_id, mapping)
                    return True
        return False

    def _want_strings(self, wanted: dict[int, list[_Wanted]]) -> None:
        """Adds the power of each DC input, as many as the model's length has and one read can bring."""
        model_id = next((one for one in STRINGS if one in self._at), None)
        if model_id is None:
            return
        definition = model(model_id)
        there = (self._at[model_id].length + 2 - definition.size) // definition.group_size
        for index in range(min(there, STRINGS_MAX)):
            point = group_point(definition, STRINGS[model_id], index)
            if point.offset + point.size > READ_MAX:
                break
            mapping = SunspecPoint(f"dc{index + 1}_w", model_id, STRINGS[model_id])
            wanted.setdefault(model_id, []).append(_Wanted(mapping, point))
            self._where[mapping.point] = (model_id, mapping)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Returns one read per model: the span from the first wanted register to the last."""
        return self._blocks

    @property
    def reverts(self) -> bool:
        """Returns True: models 123, 124 and 704 have reversion timers."""
        return True

    @staticmethod
    def _block(at: ModelAt, wanted: Sequence[_Wanted], every: int) -> Block:
        definition = model(at.id)
        first, last = _span(definition, list(_used(definition, wanted)))
        readers = tuple(_reader(definition, one, first) for one in wanted)
        names = tuple(one.mapping.point for one in wanted)
        return Block(3, at.address + first, min(last - first, READ_MAX), names, readers, every)

    def writes(
        self, point: str, value: float, fallback: float, valid_ms: int, last: Sequence[Registers | None]
    ) -> list[RegisterWrite]:
        """Returns the writes of the point's control, with the device's own reversion timer."""
        model_id = self._where[point][0] if point in self._where else 0
        order = Order(value, fallback, valid_ms)

        def exponent(name: str) -> int:
            return self._exponent(model_id, name, last)

        match point, model_id:
            case "limit", 123:
                return limit_123(self._at[123], order, exponent)
            case "limit", 704:
                return limit_704(self._at[704], order, exponent)
            case "setpoint", 704:
                return power_704(self._at[704], order, exponent)
            case "setpoint", 124:
                return power_124(self._at[124], order, exponent, self._charge_w_max(last))
            case _:
                models = sorted(self._at)
                raise Unwritable(f"no SunSpec control for {point}: models found {models}, needed 123, 124 or 704")

    def _charge_w_max(self, last: Sequence[Registers | None]) -> float:
        index = self._models.index(STORAGE)
        registers, definition = last[index], model(STORAGE)
        first = self._blocks[index].address - self._at[STORAGE].address
        most = None
        if registers is not None:
            most = _number(definition, definition.points["WChaMax"], first)(registers)
        if not most:
            raise Unwritable("WChaMax of model 124 is not known: the rates are parts of it")
        return most

    def rollover(self, point: str, last: Sequence[Registers | None]) -> int:
        """Returns 2^32 x scale for acc32 counters, 2^64 x scale for 64 bit ones."""
        found = self._where.get(point)
        if found is None:
            return 0
        model_id, mapping = found
        kind = model(model_id).points[mapping.name].type
        try:
            exponent = self._exponent(model_id, mapping.name, last)
        except Unwritable:
            return 0
        return int((1 << (32 if kind.endswith("32") else 64)) * 10.0**exponent)

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


def _used(definition: ModelDef, wanted: Sequence[_Wanted]) -> Iterator[PointDef]:
    for one in wanted:
        yield one.definition
        if one.mapping.enable:
            yield definition.points[one.mapping.enable]
        if (definition.id, one.mapping.point) == (STORAGE, "setpoint"):
            yield from (definition.points[name] for name in HELD)


def _reader(definition: ModelDef, wanted: _Wanted, first: int) -> Reader:
    mapping, point = wanted.mapping, wanted.definition
    if (definition.id, mapping.point) == (STORAGE, "setpoint"):
        return _held(definition, first)
    read = scaled(_number(definition, point, first, rounded=mapping.point.endswith("_wh")), mapping.factor)
    if mapping.enable:
        return _enabled(read, definition.points[mapping.enable].offset - first, mapping.disabled)
    return read


def _number(definition: ModelDef, point: PointDef, first: int, *, rounded: bool = False) -> Reader:
    return point_reader(point, scale_of(definition, point), first, rounded=rounded)


def _held(definition: ModelDef, first: int) -> Reader:
    points = definition.points
    most, given, taken = (_number(definition, points[name], first) for name in ("WChaMax", "OutWRte", "InWRte"))
    return power_reader_124(points["StorCtl_Mod"].offset - first, given, taken, most)


def _enabled(read: Reader, index: int, disabled: float | None) -> Reader:
    def read_enabled(registers: Registers) -> float | None:
        return disabled if registers[index] == 0 else read(registers)

    return read_enabled


def _span(definition: ModelDef, used: Sequence[PointDef]) -> tuple[int, int]:
    scales = [scale for point in used if (scale := scale_of(definition, point)) is not None]
    every = [*used, *scales]
    return min(p.offset for p in every), max(p.offset + p.size for p in every)
