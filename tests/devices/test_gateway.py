"""The gateway's core against in-memory devices: polls, faults, births, records, leases, interlocks, clocks."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.clock import HOUR_MS, MINUTE_MS, SLOT_MS, ClockQuality, Instant
from devices.events import Incoming, LinkDown, LinkUp
from devices.model import BusFault, DeviceId, IntervalRecord, RecordQuality, UsagePointId
from devices.outbox import Ack
from devices.sparkplug_codec import REBIRTH, DataType, Metric, decode, encode_command
from tests.devices.gateway_bench import ALL, BATTERY, CHARGER, GENSET, METER, PUMP, PV, TANK, WATER, Bench


def value(bench: Bench, device: str, point: str) -> float | None:
    return bench.gateway.value(DeviceId(device), point)


def test_every_device_is_read_with_signs_and_units() -> None:
    bench = Bench()
    bench.run(2000)
    seen = {str(name): dict(zip(unit.points, unit.values, strict=True)) for name, unit in bench.gateway.units.items()}
    for device, values in seen.items():
        for point, number in values.items():
            assert number == pytest.approx(bench.devices[device].values[point]), (device, point)
    assert seen["home-01"]["import_wh"] == 10_000


def test_a_first_answer_is_a_birth_then_data_follow() -> None:
    bench = Bench()
    bench.run(3000)
    assert [m.topic.split("/")[2] for m in bench.sent[:2]] == ["NBIRTH", "DBIRTH"]  # the node and its records
    for spec in ALL:
        kinds = bench.kinds(spec.id)
        assert kinds[0] == "DBIRTH"
        assert set(kinds[1:]) == {"DDATA"}


def test_with_a_slow_period_meters_are_read_less_often_and_records_stay_whole() -> None:
    bench = Bench()
    config = bench.gateway.config
    bench.gateway.config = dataclasses.replace(config, poll_ms=MINUTE_MS, slow_poll_ms=5 * MINUTE_MS)
    bench.run(2 * SLOT_MS + 2 * MINUTE_MS)
    fast, slow = bench.kinds("battery-1").count("DDATA"), bench.kinds("home-01").count("DDATA")
    assert fast > 4 * slow > 0
    mine = [record for record in bench.disk.values() if record.usage_point == "home-01"]
    assert {record.quality for record in mine} == {RecordQuality.MEASURED}
    assert len(mine) == 2


def test_sequence_numbers_have_no_gap() -> None:
    bench = Bench()
    bench.devices["home-01"].fault = BusFault.TIMEOUT
    bench.run(400_000)
    numbers = [decode(m.payload).seq for m in bench.sent]
    assert numbers == [i % 256 for i in range(len(numbers))]


def test_a_rebirth_tells_everything_again() -> None:
    bench = Bench()
    bench.run(2000)
    bench.sent.clear()
    ask = encode_command([Metric(REBIRTH, DataType.BOOLEAN, value=True)], bench.now)
    bench.step(Incoming("spBv1.0/village/NCMD/gw-1", ask))
    assert [m.topic.split("/")[2] for m in bench.sent] == ["NBIRTH"] + ["DBIRTH"] * (len(ALL) + 1)


def test_nothing_is_sent_while_the_link_is_down_and_records_wait() -> None:
    bench = Bench([METER])
    bench.run(2000)
    bench.step(LinkDown("test"))
    bench.sent.clear()
    bench.run(SLOT_MS + 5000)
    assert bench.sent == []
    assert len(bench.disk) == 1
    bench.step(LinkUp())
    assert [r.page for r in bench.batches()] == [1]


@pytest.mark.parametrize(
    ("address", "register", "point"),
    [(40070 + 18, 0x8000, "W"), (40070 + 22, 0x8000, "W"), (40070 + 22, 77, "W")],
    ids=["int16 not implemented", "scale factor not implemented", "scale factor out of range"],
)
def test_sentinels_are_bad_quality_never_a_number(address: int, register: int, point: str) -> None:
    bench = Bench([METER])
    bench.devices["home-01"].garbage[address] = register
    bench.run(2000)
    assert value(bench, "home-01", point) is None
    assert value(bench, "home-01", "V") == 231
    metrics = {m.name: m for m in decode(bench.sent[-2].payload).metrics if m.name}
    assert metrics == {} or metrics[point].value is None


def test_a_broken_current_loop_is_bad() -> None:
    bench = Bench([TANK])
    bench.devices["tank-1"].garbage[0] = 3500
    bench.run(1000)
    assert value(bench, "tank-1", "level") is None
    bench.devices["tank-1"].garbage[0] = 12000
    bench.run(1000)
    assert value(bench, "tank-1", "level") == 0.5


def test_silence_backs_off_dies_and_comes_back_with_a_birth() -> None:
    bench = Bench([METER, TANK])
    bench.run(5000)
    bench.devices["home-01"].fault = BusFault.TIMEOUT
    bench.reads = 0
    bench.run(600_000)
    assert bench.kinds("home-01").count("DDEATH") == 1
    assert bench.reads - 600 < 25, "a dead unit is asked ever more rarely, the other one every second"
    assert value(bench, "home-01", "W") is None
    assert "unit-silent" in bench.codes()
    bench.devices["home-01"].fault = None
    bench.run(61_000)
    assert bench.kinds("home-01")[-2:] == ["DBIRTH", "DDATA"] or bench.kinds("home-01")[-1] == "DDATA"
    assert bench.kinds("home-01").count("DBIRTH") == 2
    assert value(bench, "home-01", "W") == 500


def test_a_modbus_exception_costs_only_its_block() -> None:
    bench = Bench([BATTERY])
    bench.run(1000)
    bench.devices["battery-1"].exception_at = 5  # model 713
    bench.run(5000)
    assert value(bench, "battery-1", "soc") is None
    assert value(bench, "battery-1", "W") == 0
    assert bench.kinds("battery-1").count("DDEATH") == 0


def test_an_answer_of_the_wrong_length_is_no_value() -> None:
    bench = Bench([CHARGER])
    bench.run(1000)
    bench.devices["charger-1"].extra = 3
    bench.run(1000)
    assert value(bench, "charger-1", "W") is None


def test_a_device_without_sunspec_is_reported_not_raised() -> None:
    bench = Bench([METER])
    bench.devices["home-01"].garbage[40000] = 1
    bench.run(20_000)
    assert bench.kinds("home-01") == []
    assert any("SunS" in log.text for log in bench.logs)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("spBv1.0/village/DCMD/gw-1/battery-1", b"\xff\xff"),
        ("spBv1.0/village/DCMD/gw-1/battery-1", b""),
        ("spBv1.0/village/DCMD/gw-1/nobody", b""),
        ("spBv1.0/village/NCMD/other", b""),
        ("rubbish", b"{}"),
        ("spBv1.0/village/DCMD/gw-1/records", b"\x00" * 300_000),
        ("spBv1.0/STATE/atoll", b'{"online": "maybe"}'),
    ],
)
def test_malformed_messages_are_counted_and_change_nothing(topic: str, payload: bytes) -> None:
    bench = Bench()
    bench.run(1000)
    bench.step(Incoming(topic, payload))
    bench.run(1000)
    assert all(not device.writes for device in bench.devices.values())


def test_a_malformed_acknowledgement_forgets_nothing() -> None:
    bench = Bench([METER])
    bench.run(SLOT_MS + 2000)
    bad = encode_command([Metric("Records/ack", DataType.BYTES, b'[1,[["home-01",1]]]')], bench.now)
    bench.step(Incoming("spBv1.0/village/DCMD/gw-1/records", bad))
    assert len(bench.disk) == 1
    assert bench.gateway.counters["acks_rejected"] == 1


# ---- records -------------------------------------------------------------------------------------------------


def test_each_slot_gives_one_record_per_usage_point_resent_until_acknowledged() -> None:
    bench = Bench(poll_ms=5000)
    bench.run(6000)
    bench.devices["home-01"].values["import_wh"] = 10_250
    bench.devices["water-1"].values["clinic.water_ml"] = 9000
    bench.run(SLOT_MS)
    points = {r.usage_point: r for r in bench.batches()}
    assert set(points) == {
        "home-01", "pv-01", "battery-1", "genset-1", "pump-1", "charger-1", "home-01.water", "clinic.water",
    }  # fmt: skip
    assert points[UsagePointId("home-01")].import_delta == 250
    assert points[UsagePointId("clinic.water")].import_delta == 7000
    assert points[UsagePointId("home-01")].quality is RecordQuality.MEASURED
    before = len(bench.batches())
    bench.run(11_000)
    assert len(bench.batches()) == 2 * before
    bench.ack(*[Ack(point, 1, 1) for point in points])
    assert bench.disk == {}
    bench.run(30_000)
    assert len(bench.batches()) == 2 * before


def test_a_dead_meter_makes_no_record_and_an_estimated_one_when_it_is_back() -> None:
    bench = Bench([METER])
    bench.run(SLOT_MS + 2000)
    bench.devices["home-01"].fault = BusFault.TIMEOUT
    bench.run(3 * SLOT_MS)
    assert len(bench.disk) == 1
    bench.devices["home-01"].fault = None
    bench.devices["home-01"].values["import_wh"] = 10_900
    bench.run(2 * MINUTE_MS)
    assert [(r.page, r.import_delta, r.quality) for r in bench.disk.values()] == [
        (1, 0, RecordQuality.MEASURED),
        (2, 300, RecordQuality.ESTIMATED),
        (3, 300, RecordQuality.ESTIMATED),
        (4, 300, RecordQuality.ESTIMATED),
    ]


def test_a_replaced_meter_opens_an_epoch() -> None:
    bench = Bench([METER])
    bench.run(5 * MINUTE_MS)
    bench.devices["home-01"].values["import_wh"] = 3
    bench.run(SLOT_MS)
    assert "meter-epoch" in bench.codes()
    assert [(r.meter_epoch, r.page, r.quality) for r in bench.disk.values()] == [(2, 1, RecordQuality.SUSPECT)]


def test_a_rollover_is_no_new_meter() -> None:
    bench = Bench([METER])
    bench.devices["home-01"].values["import_wh"] = 2**32 - 10
    bench.run(5 * MINUTE_MS)
    bench.devices["home-01"].values["import_wh"] = 40
    bench.run(SLOT_MS)
    assert [(r.meter_epoch, r.import_delta) for r in bench.disk.values()] == [(1, 50)]


def test_a_clock_stepping_back_stops_nothing_and_marks_records() -> None:
    bench = Bench([METER, BATTERY], poll_ms=5000)
    bench.run(SLOT_MS + 5000)
    bench.setpoint("battery-1", 5000, valid_ms=30_000)
    bench.now = Instant(bench.now - 10 * MINUTE_MS)
    reads = bench.reads
    bench.run(31_000, each_ms=1000)
    assert bench.reads - reads >= 6 * 4, "polling goes on"
    assert bench.devices["battery-1"].values["setpoint"] == 0, "the lease ran out on time"
    bench.run(2 * SLOT_MS, each_ms=5000)
    records = [r for r in bench.disk.values() if r.usage_point == "home-01"]
    assert [r.page for r in records] == [1, 2]
    assert records[1].start == records[0].end
    assert records[1].clock is ClockQuality.UNKNOWN
    assert "clock-back" in bench.codes()


happenings = st.lists(
    st.tuples(
        st.integers(1_000, 20 * MINUTE_MS),
        st.integers(0, 2000),
        st.sampled_from(["live", "live", "restart", "silent", "answering", "link-down", "link-up", "ack"]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(happenings)
def test_records_conserve_energy_through_restarts_silence_and_lost_acks(events: list[tuple[int, int, str]]) -> None:
    bench = Bench([METER], poll_ms=10_000)
    device = bench.devices["home-01"]
    committed: dict[tuple[str, int, int], IntervalRecord] = {}

    def commit() -> None:
        for r in bench.batches():
            key = (r.usage_point, r.meter_epoch, r.page)
            assert committed.setdefault(key, r) == r, "a page never changes once it was sent"

    bench.run(20_000)
    for wait, used, what in events:
        device.values["import_wh"] = (device.values["import_wh"] or 0) + used
        if what == "restart":
            bench.restart()
        elif what in {"silent", "answering"}:
            device.fault = BusFault.TIMEOUT if what == "silent" else None
        elif what in {"link-down", "link-up"}:
            bench.step(LinkDown() if what == "link-down" else LinkUp())
        elif what == "ack":
            commit()
            pages = [key[2] for key in committed]
            if pages:
                bench.ack(Ack(UsagePointId("home-01"), 1, max(pages)))
        bench.run(wait)
    device.fault = None
    bench.step(LinkUp())
    bench.run(2 * SLOT_MS)
    commit()
    pages = sorted(key[2] for key in committed)
    assert pages == list(range(1, len(pages) + 1))
    assert sum(r.import_delta for r in committed.values()) == (device.values["import_wh"] or 0) - 10_000


# ---- leases --------------------------------------------------------------------------------------------------


def test_a_lease_is_written_renewed_and_falls_back_by_itself() -> None:
    bench = Bench([BATTERY])
    bench.run(2000)
    device = bench.devices["battery-1"]
    bench.setpoint("battery-1", 5000, valid_ms=30_000, fallback=-200)
    assert device.values["setpoint"] == 5000
    assert device.writes[-1][2][9:11] == (0, 30), "the device reverts by itself after 30 s"
    bench.run(25_000)
    assert len(device.writes) > 1, "its timer is set again on the way"
    assert device.writes[-1][2][10] <= 30
    bench.run(6000)
    assert device.values["setpoint"] == -200
    assert device.writes[-1][2][9:11] == (0, 0), "the fallback stands for good"
    assert "lease-lapsed" in bench.codes()


def test_a_short_lease_lasts_at_least_half_a_second_of_real_time() -> None:
    bench = Bench([BATTERY])
    bench.gateway.config = dataclasses.replace(bench.config, deadline_floor_ms=30_000)
    bench.run(2000)
    bench.setpoint("battery-1", 5000, valid_ms=1000)
    bench.run(25_000)
    assert bench.devices["battery-1"].values["setpoint"] == 5000


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"epoch": 2}, "superseded"),
        ({"epoch": 3, "sequence": 5}, "not-newer"),
        ({"epoch": 3, "sequence": 4}, "not-newer"),
        ({"epoch": 3, "point": "soc"}, "not-writable"),
        ({"epoch": 3, "valid_ms": 25 * HOUR_MS}, "validity"),
    ],
)
def test_old_repeated_and_foreign_setpoints_are_refused(changes: dict[str, float | str], code: str) -> None:
    bench = Bench([BATTERY])
    bench.run(2000)
    bench.setpoint("battery-1", 1000, epoch=3, sequence=5)
    bench.setpoint("battery-1", 9000, **{"sequence": 99, **changes})
    assert bench.devices["battery-1"].values["setpoint"] == 1000
    assert bench.gateway.leases.refused == {code: 1}
    assert bench.epoch == 3


def test_a_superseded_hub_is_refused_after_a_restart_too() -> None:
    bench = Bench([BATTERY])
    bench.run(2000)
    bench.setpoint("battery-1", 1000, epoch=3)
    bench.restart()
    bench.run(2000)
    bench.setpoint("battery-1", 9000, epoch=2)
    assert bench.devices["battery-1"].values["setpoint"] == 1000


def test_nothing_is_written_to_a_read_only_device() -> None:
    bench = Bench([dataclasses.replace(BATTERY, read_only=True)])
    bench.run(2000)
    bench.setpoint("battery-1", 1000)
    bench.devices["battery-1"].values["soc"] = None
    bench.run(120_000)
    assert bench.devices["battery-1"].writes == []
    assert bench.gateway.leases.refused == {"read-only": 1}


def test_after_a_start_without_a_hub_outputs_go_to_their_default() -> None:
    bench = Bench([PUMP, TANK, PV], linked=False)
    bench.devices["pump-1"].values |= {"on": 1, "flow_lpm": 90}
    bench.run(55_000)
    assert bench.devices["pump-1"].values["on"] == 1
    bench.run(10_000)
    assert bench.devices["pump-1"].values["on"] == 0
    assert bench.devices["pv-01"].values["limit"] == 1


def test_a_failed_write_is_tried_again() -> None:
    bench = Bench([PUMP, TANK])
    bench.run(2000)
    device = bench.devices["pump-1"]
    device.exception_at = 0
    bench.setpoint("pump-1", 1)
    assert device.values["on"] == 0
    device.exception_at = None
    bench.run(3000)
    assert device.values["on"] == 1
    assert "write-failed" in bench.codes()


def test_a_device_that_ignores_its_setpoint_is_told_again_and_reported() -> None:
    bench = Bench([CHARGER])
    bench.run(2000)
    device = bench.devices["charger-1"]
    device.deaf = True
    bench.setpoint("charger-1", 7000, valid_ms=HOUR_MS)
    bench.run(10_000)
    assert bench.codes().count("ignores-setpoint") == 1
    assert len(device.writes) == 2
    device.deaf = False
    bench.run(120_000)
    assert device.values["setpoint"] == 7000
    assert "follows" in bench.codes()


def test_a_device_that_was_away_is_told_again() -> None:
    bench = Bench([CHARGER])
    bench.run(2000)
    device = bench.devices["charger-1"]
    bench.setpoint("charger-1", 7000, valid_ms=HOUR_MS)
    device.fault = BusFault.TIMEOUT
    bench.run(60_000)
    device.values["setpoint"] = 0
    device.fault = None
    bench.run(70_000)
    assert device.values["setpoint"] == 7000


def test_a_genset_gets_key_and_complement_in_one_write() -> None:
    bench = Bench([GENSET])
    bench.run(2000)
    bench.setpoint("genset-1", -12_000)
    assert bench.devices["genset-1"].writes == [(16, 42496, (0, 12_000)), (16, 4104, (35732, 29803))]


# ---- interlocks through the whole core -----------------------------------------------------------------------


def test_the_pump_stops_when_the_tank_is_full_within_one_poll() -> None:
    bench = Bench([PUMP, TANK])
    bench.run(2000)
    bench.setpoint("pump-1", 1, valid_ms=HOUR_MS)
    bench.devices["tank-1"].values["level"] = 0.96
    bench.run(1000)
    assert bench.devices["pump-1"].values["on"] == 0
    assert any("pump-tank-high" in log.text for log in bench.logs)


def test_the_pump_stops_when_the_level_is_bad_or_silent() -> None:
    for change in ("bad", "silent"):
        bench = Bench([PUMP, TANK])
        bench.run(2000)
        bench.setpoint("pump-1", 1, valid_ms=HOUR_MS)
        if change == "bad":
            bench.devices["tank-1"].garbage[0] = 100
        else:
            bench.devices["tank-1"].fault = BusFault.TIMEOUT
        bench.run(1000)
        assert bench.devices["pump-1"].values["on"] == 0, change


def test_a_pump_without_flow_is_stopped_and_locked() -> None:
    bench = Bench([PUMP, TANK])
    bench.run(2000)
    device = bench.devices["pump-1"]
    bench.setpoint("pump-1", 1, valid_ms=HOUR_MS)
    device.values["flow_lpm"] = 2
    bench.run(13_000)
    assert device.values["on"] == 0
    bench.run(9 * MINUTE_MS)
    assert device.values["on"] == 0
    bench.run(2 * MINUTE_MS)
    assert device.values["on"] == 1


def test_a_pump_runs_no_longer_than_max_on_and_rests() -> None:
    bench = Bench([dataclasses.replace(PUMP, ratings={**PUMP.ratings, "max_on_ms": 600_000}), TANK], poll_ms=5000)
    bench.run(10_000)
    bench.setpoint("pump-1", 1, valid_ms=HOUR_MS)
    bench.run(615_000)
    assert bench.devices["pump-1"].values["on"] == 0
    bench.run(40_000)
    assert bench.devices["pump-1"].values["on"] == 0
    bench.run(40_000)
    assert bench.devices["pump-1"].values["on"] == 1


def test_the_battery_is_set_to_zero_when_its_charge_is_not_known() -> None:
    bench = Bench([BATTERY])
    bench.run(2000)
    bench.setpoint("battery-1", -8000, valid_ms=HOUR_MS)
    assert bench.devices["battery-1"].values["setpoint"] == -8000
    bench.devices["battery-1"].values["soc"] = None
    bench.run(1000)
    assert bench.devices["battery-1"].values["setpoint"] == 0


def test_water_meters_and_tank_have_no_outputs() -> None:
    bench = Bench([WATER, TANK])
    assert bench.gateway.leases.outputs == {}


def test_a_new_poll_period_takes_all_deadlines_with_it() -> None:
    bench = Bench([BATTERY], poll_ms=1000)
    bench.run(2000)
    bench.gateway.config = dataclasses.replace(bench.config, poll_ms=60_000)
    bench.run(125_000)
    bench.setpoint("battery-1", 5000, valid_ms=HOUR_MS)
    bench.run(50_000)
    assert bench.devices["battery-1"].values["setpoint"] == 5000, "a reading of a minute ago is young enough now"
    bench.gateway.config = bench.config
    bench.reads = 0
    bench.run(10_000)
    assert bench.reads >= 10


def test_a_meter_without_one_of_its_registers_makes_no_records() -> None:
    bench = Bench([METER])
    device = bench.devices["home-01"]
    bench.by_unit[1] = dataclasses.replace(device, garbage={40070: 713})  # the meter's model is another one
    bench.run(SLOT_MS + 5000)
    assert bench.disk == {}
    assert "unit-silent" in bench.codes()
    assert any("none of them has what a meter needs" in log.text for log in bench.logs)
