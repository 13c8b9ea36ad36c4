"""The failure catalogue's rows of devices, meters and the broker, each with the tests that inject its fault.

A row without a test, or a test that is no longer there, fails here. Row numbers are those of the catalogue
(reliability facts, section 3); the words say what must hold.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS: dict[int, tuple[str, tuple[str, ...]]] = {
    13: ("Modbus noise, CRC, wrong unit: a value is never wrong", (
        "devices/shell/test_serial_bus.py::test_noise_costs_answers_but_never_gives_a_wrong_value",
        "devices/test_rtu.py::test_one_flipped_bit_is_never_a_value",
        "devices/test_rtu.py::test_another_units_or_lengths_answer_is_none",
        "devices/test_driver_noise.py::test_the_whole_gateway_lives_through_any_answers",
    )),
    14: ("dead slave on RS-485: the others keep their period", (
        "devices/shell/test_serial_bus.py::test_dead_units_leave_the_others_six_sevenths_of_the_bus",
        "devices/shell/test_modbus.py::test_a_silent_unit_neither_closes_the_line_nor_stops_the_others",
        "devices/test_gateway.py::test_silence_backs_off_dies_and_comes_back_with_a_birth",
    )),
    15: ("bus jam: all bad within two polls, one alarm for the bus, safe state, comes back", (
        "devices/test_fault_injectors.py::test_a_jammed_bus_leaves_no_value_within_two_polls_and_every_device_comes_back",
        "devices/shell/test_serial_bus.py::test_a_babbling_bus_gives_no_value_and_comes_back",
        "controller/test_hub.py::test_a_silent_bus_is_one_alarm_and_a_restart_of_it_is_none",
        "devices/test_gateway.py::test_the_pump_stops_when_the_level_is_bad_or_silent",
    )),
    16: ("wrong word order, sign or scale: caught before it is armed", (
        "devices/test_commissioning.py::test_a_wrong_word_order_scale_or_sign_is_caught_at_every_point_of_every_profile",
        "devices/test_profile_conformance.py::test_the_known_value_check_catches_wrong_word_order_scale_and_sign",
        "devices/test_profile_conformance.py::test_a_scale_register_that_changes_moves_no_value_and_one_that_is_none_makes_it_bad",
        "devices/test_commissioning.py::test_energy_and_power_of_the_same_minute_agree",
        "controller/cli/test_technician.py::test_a_wrong_map_never_gets_into_service",
        "devices/test_balance.py::test_one_turned_or_tenfold_meter_is_named",
    )),
    17: ("NaN, infinity, sentinels, impossible scale factors: never a number", (
        "devices/test_fault_injectors.py::test_every_sunspec_type_has_its_sentinel_and_a_scale_that_is_none_spoils_the_number",
        "devices/test_fault_injectors.py::test_every_point_of_every_kind_is_bad_at_its_sentinel_alone",
        "devices/test_profile_conformance.py::test_sentinels_and_what_lies_outside_the_range_are_no_numbers",
        "devices/test_driver_noise.py::test_any_registers_of_any_length_decode_to_finite_numbers_or_none",
        "devices/test_bounded_json.py::test_bad_numbers_bad_text_and_bad_shapes_are_refused",
        "devices/test_sparkplug_codec.py::test_a_number_that_is_not_finite_is_bad_and_has_no_value",
    )),
    18: ("stuck sensor, drift, spike: told; the last good value expires", (
        "controller/test_sensor_watch.py::test_each_fault_is_told_and_gone_when_it_is_mended",
        "controller/test_sensor_watch.py::test_a_leap_is_told_for_ten_minutes_and_a_filled_diesel_tank_is_none",
        "devices/test_commissioning.py::test_a_stuck_sensor_a_spike_and_a_dead_one_are_told",
        "devices/test_balance.py::test_a_device_s_clock_is_judged_by_offset_and_drift",
        "controller/test_image.py::test_a_value_lives_until_its_data_deadline",
    )),
    19: ("meter rollover, replacement, reset: energy never negative nor doubled; a swap needs two people", (
        "devices/test_records.py::test_records_conserve_energy",
        "devices/test_records.py::test_energy_is_never_negative_for_any_registers_at_all",
        "devices/test_records.py::test_rollover_goes_on_counting",
        "devices/test_records_outbox.py::test_whatever_happens_no_energy_is_negative_twice_or_from_nowhere",
        "devices/test_records_outbox.py::test_a_register_that_rolls_over_goes_on_counting",
        "devices/shell/test_gateway_process.py::test_a_hub_that_dies_between_receipt_and_commit_gets_the_batch_again",
        "devices/test_records.py::test_a_replaced_meter_opens_an_epoch_whose_first_record_is_suspect",
        "controller/cli/test_technician.py::test_a_meter_swap_needs_two_people_and_both_registers",
    )),
    20: ("inverter ignores its setpoint: read back, told again, alarm, the plan does not count on it", (
        "devices/test_gateway.py::test_a_device_that_ignores_its_setpoint_is_told_again_and_reported",
        "devices/test_profile_conformance.py::test_a_lease_is_written_falls_back_and_survives_faults",
        "controller/test_edge_conditions.py::test_a_device_that_ignores_its_setpoint_is_an_alarm_until_it_follows",
        "controller/test_edge_conditions.py::test_the_plan_counts_on_no_device_that_ignores_or_is_locked_out",
    )),
    26: ("spoofed device data: a login speaks for its own node; days are signed; feeder balance", (
        "controller/shell/test_broker_access.py::test_a_gateway_speaks_for_its_own_node_only",
        "controller/shell/test_broker_access.py::test_a_plain_device_has_its_own_name_only",
        "controller/test_hub.py::test_a_gateway_speaks_only_for_its_own_devices",
        "controller/shell/test_day_shelf.py::test_another_key_is_refused_until_an_operator_drops_the_pin",
        "controller/shell/test_day_shelf.py::test_a_record_is_signed_only_with_this_very_content",
        "controller/test_sensor_watch.py::test_each_fault_is_told_and_gone_when_it_is_mended",
    )),
    27: ("replay: a whole captured day has no effect", (
        "devices/test_fault_injectors.py::test_a_recorded_day_played_again_moves_nothing",
        "devices/test_gateway.py::test_old_repeated_and_foreign_setpoints_are_refused",
        "devices/test_sparkplug_host.py::test_a_message_seen_twice_is_dropped",
    )),
    28: ("flood by one device: the others are unaffected", (
        "devices/test_fault_injectors.py::test_whoever_floods_loses_and_the_others_lose_nothing",
        "devices/shell/test_mqtt.py::test_a_flood_by_one_takes_nothing_from_another",
        "devices/shell/test_inbox.py::test_a_full_inbox_keeps_what_waits_drops_what_comes_and_counts",
    )),
    29: ("100 MB payload: cut at the broker", (
        "devices/shell/test_mqtt.py::test_a_packet_beyond_256_kib_costs_its_sender_the_connection_and_nobody_else",
    )),
    30: ("nested JSON, billion metrics: bounded before they are decoded", (
        "devices/test_bounded_json.py::test_limits_hold_before_the_parser",
        "devices/test_sparkplug_codec.py::test_more_bytes_than_the_limit_are_never_parsed",
        "devices/test_sparkplug_codec.py::test_more_metrics_than_the_limit_are_never_built",
        "devices/test_sparkplug_host.py::test_a_crowd_of_strangers_is_bounded",
    )),
    31: ("exception in an MQTT callback: intake goes on", (
        "devices/test_fault_injectors.py::test_no_packet_raises_more_than_the_end_of_its_connection",
        "devices/shell/test_mqtt.py::test_a_server_that_talks_nonsense_is_a_lost_connection",
        "devices/test_fault_injectors.py::test_a_core_outlives_what_its_own_messages_say_about_it",
        "controller/test_hub.py::test_nothing_on_the_wire_raises",
    )),
}  # fmt: skip
WANTED = (*range(13, 21), *range(26, 32))


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_row_is_here() -> None:
    assert tuple(ROWS) == WANTED


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_of_a_row_exist(row: int) -> None:
    says, named = ROWS[row]
    assert says
    assert named
    for test in named:
        file, _, name = test.partition("::")
        assert (TESTS / file).is_file(), f"row {row}: tests/{file} is gone"
        assert name in names_in(file), f"row {row}: {test} is gone"
