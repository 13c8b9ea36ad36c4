"""Which registers of which device belong to which usage point; readings in, interval records out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from devices.clock import ClockQuality, Instant
from devices.model import Commodity, DeviceId, DeviceKind, DeviceSpec, IntervalRecord, UsagePointId
from devices.poll import Unit
from devices.records import Meter, MeterMark

ENERGY_POINTS: Mapping[DeviceKind, tuple[str, str]] = {
    DeviceKind.GRID: ("import_wh", "export_wh"),
    DeviceKind.METER: ("import_wh", "export_wh"),
    DeviceKind.PV: ("", "export_wh"),
    DeviceKind.BATTERY: ("import_wh", "export_wh"),
    DeviceKind.GENSET: ("", "export_wh"),
    DeviceKind.PUMP: ("import_wh", ""),
    DeviceKind.CHARGER: ("import_wh", ""),
    DeviceKind.THERMAL: ("import_wh", ""),
}
"""(import, export) register per kind; "" where the kind has none and counts as 0. Usage point = device id."""


def on_bus(specs: Iterable[DeviceSpec]) -> list[DeviceSpec]:
    """Returns the devices whose powers sum to zero, the feeder's meter among them: none behind another's meter."""
    return [spec for spec in specs if spec.kind in ENERGY_POINTS and spec.behind is None]


@dataclass(slots=True)
class Channel:
    """One usage point with the columns that its registers stand in (None = its kind has no such register).

    `missing`: the device shows no such register, though its kind has one; nothing can be metered then.
    """

    meter: Meter
    import_point: str
    export_point: str
    import_column: int | None = None
    export_column: int | None = None
    missing: bool = False


class Metering:
    """All usage points of a gateway."""

    def __init__(self, specs: Sequence[DeviceSpec], marks: Iterable[MeterMark], late_ms: int, slot_ms: int) -> None:
        known = {mark.usage_point: mark for mark in marks}
        self._channels: dict[DeviceId, list[Channel]] = {}
        self._compiled: dict[DeviceId, tuple[str, ...]] = {}
        for spec in specs:
            channels = [
                Channel(Meter(point, commodity, late_ms, rate, slot_ms, known.get(point)), imported, exported)
                for point, commodity, imported, exported, rate in _usage_points(spec)
            ]
            if channels:
                self._channels[spec.id] = channels

    @property
    def meters(self) -> list[Meter]:
        """Returns every meter, in device order."""
        return [channel.meter for channels in self._channels.values() for channel in channels]

    def take(
        self, unit: Unit, now: Instant, clock: ClockQuality
    ) -> tuple[list[IntervalRecord], list[MeterMark], list[str]]:
        """Returns the records that the unit's last poll closes, the marks that moved and texts for the log."""
        device = unit.spec.id
        channels = self._channels.get(device)
        records: list[IntervalRecord] = []
        marks: list[MeterMark] = []
        texts: list[str] = []
        if channels is None:
            return records, marks, texts
        if self._compiled.get(device) is not unit.points:
            self._compile(device, unit)
        values = unit.values
        for channel in channels:
            imported = 0 if channel.import_column is None else values[channel.import_column]
            exported = 0 if channel.export_column is None else values[channel.export_column]
            if imported is None or exported is None or channel.missing:
                continue
            meter = channel.meter
            if meter.follow_quickly(int(imported), int(exported), now):
                continue
            before, epochs = meter.mark, meter.epochs_opened
            modulus = _modulus(channel, unit, meter, imported, exported)
            records += meter.take(int(imported), int(exported), now, modulus, clock)
            if meter.mark is not before and meter.mark is not None:
                marks.append(meter.mark)
                if meter.epochs_opened != epochs:
                    texts.append(
                        f"{meter.usage_point}: register left its path and stayed at {imported:.0f}/{exported:.0f};"
                        f" meter epoch {meter.mark.epoch} begins, its first record is suspect: check the meter"
                    )
        return records, marks, texts

    def _compile(self, device: DeviceId, unit: Unit) -> None:
        for channel in self._channels[device]:
            channel.import_column = unit.columns.get(channel.import_point)
            channel.export_column = unit.columns.get(channel.export_point)
            wanted = {point for point in (channel.import_point, channel.export_point) if point}
            channel.missing = not wanted <= unit.columns.keys()
        self._compiled[device] = unit.points


def _modulus(channel: Channel, unit: Unit, meter: Meter, imported: float, exported: float) -> tuple[int, int]:
    """Returns where the raw registers roll over; asked of the driver only when one ran backwards."""
    mark = meter.mark
    if mark is None or unit.driver is None:
        return 0, 0
    back_import = imported + mark.import_offset < meter.imported
    back_export = exported + mark.export_offset < meter.exported
    return (
        unit.driver.rollover(channel.import_point, unit.last) if back_import else 0,
        unit.driver.rollover(channel.export_point, unit.last) if back_export else 0,
    )


def _usage_points(spec: DeviceSpec) -> list[tuple[UsagePointId, Commodity, str, str, int]]:
    if spec.kind is DeviceKind.WATER_METERS:
        return [(UsagePointId(c), Commodity.WATER, f"{c}_ml", "", 0) for c in spec.channels]
    points = ENERGY_POINTS.get(spec.kind)
    if points is None or spec.driver == "vda5050":
        return []
    return [(UsagePointId(spec.id), Commodity.ENERGY, *points, _rate_max(spec))]


def _rate_max(spec: DeviceSpec) -> int:
    """Returns twice the rated power [W = Wh per hour], 0 where the site file gives none."""
    names = ("power_w_max", "power_w", "charge_w_max", "discharge_w_max")
    return round(2 * max((spec.ratings.get(name, 0.0) for name in names), default=0.0))
