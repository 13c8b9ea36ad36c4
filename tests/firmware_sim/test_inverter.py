"""The technician's simulated inverter: pysunspec2 reads its curves, and nobody on the wire changes them."""

from __future__ import annotations

from sunspec2.modbus import client as reference

from devices.model import BusFault
from devices.sunspec import Scan
from firmware_sim.inverter import HV, LF, LV, SunspecInverter


def chain(inverter: SunspecInverter) -> dict[int, reference.SunSpecModbusClientModel]:
    device = reference.SunSpecModbusClientDevice()

    def read(addr: int, count: int) -> bytes:
        found = inverter.read(3, int(addr), int(count))
        assert not isinstance(found, BusFault)
        return b"".join(word.to_bytes(2, "big") for word in found)

    device.read = read  # type: ignore[method-assign]
    device.base_addr_list = [40000]
    device.scan()
    return {one.model_id: one for one in device.model_list}


def steps(model: reference.SunSpecModbusClientModel, level: str) -> list[tuple[float, float]]:
    must = model.groups["Crv"][0].groups["MustTrip"]
    rows = must.groups["Pt"][: must.points["ActPt"].value]
    return [(row.points[level].cvalue, row.points["Tms"].cvalue) for row in rows]


def test_pysunspec2_reads_the_settings_that_it_has() -> None:
    models = chain(SunspecInverter())
    assert list(models) == [1, 103, 123, 707, 708, 709, 710, 711]
    assert steps(models[707], "V") == list(LV)
    assert steps(models[708], "V") == list(HV)
    assert steps(models[709], "Hz") == list(LF)
    assert models[711].groups["Ctl"][0].points["DbOf"].cvalue == 0.2
    assert not any(one.error_info for one in models.values())


def test_the_limit_may_be_set_and_no_curve() -> None:
    inverter = SunspecInverter()
    scan = Scan()
    while (asked := scan.request()) is not None:
        found = inverter.read(3, *asked)
        scan.answer(found if isinstance(found, BusFault) else tuple(found))
    at = {entry.id: entry for entry in scan.chain}
    limit, trip = at[123], at[707]
    assert inverter.write(16, limit.address + 5, [5000]) is None
    assert inverter.write(16, limit.address, [124]) is BusFault.EXCEPTION, "not its ID"
    before = inverter.read(3, trip.address, trip.length + 2)
    for offset in range(trip.length + 2):
        assert inverter.write(6, trip.address + offset, [0]) is BusFault.EXCEPTION
    assert inverter.write(16, limit.address + limit.length + 1, [0, 0]) is BusFault.EXCEPTION, "across the border"
    assert inverter.read(3, trip.address, trip.length + 2) == before
