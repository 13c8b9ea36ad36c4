"""MAVLink frames: round trips, junk, parameters; and missions over a line that loses messages."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymavlink.dialects.v20 import common

from devices.clock import Instant
from devices.mavlink_codec import Codec, Frame
from devices.mavlink_params import fields_of, value_of
from devices.mavlink_transfer import ANSWER_MS, TRIES, Transfer, difference
from devices.mavlink_values import Autopilot, Command, Item, MissionType, Mode, mode_number, mode_of
from firmware_sim.copter_transfer import Shelf

T = Instant(1_780_000_000_000)
ITEMS = tuple(Item(Command.NAV_WAYPOINT, 515_000_000 + n, 99_000_000 - n, 20.0 + n) for n in range(6))


def test_pymavlink_reads_what_we_write_and_we_read_what_it_writes():
    sent = Frame("STATUSTEXT", {"severity": 1, "text": "PreArm: Fence"})
    theirs = common.MAVLink(None).parse_buffer(Codec(1, 1).encode(sent)) or []
    assert [(message.get_type(), message.to_dict()["text"]) for message in theirs] == [("STATUSTEXT", "PreArm: Fence")]
    beat = common.MAVLink_heartbeat_message(2, 12, 81, 4 << 16, 4, 3).pack(common.MAVLink(None, srcSystem=7))
    (frame,) = Codec(255, 190).decode(bytes(beat))
    assert (frame.name, frame.system, frame.whole("custom_mode")) == ("HEARTBEAT", 7, 4 << 16)


def test_a_frame_that_comes_in_pieces_after_junk_is_one_frame():
    codec, wire = Codec(255, 190), Codec(1, 1).encode(Frame("MISSION_CURRENT", {"seq": 3}))
    got = [frame for byte in b"\x00junk\xff" + wire + wire[:5] for frame in codec.decode(bytes([byte]))]
    got += codec.decode(wire[5:])
    assert [frame.whole("seq") for frame in got] == [3, 3]
    assert codec.counters["skipped"] > 0


@given(st.lists(st.binary(max_size=80) | st.just(b"\xfd\x09\x00\x00\x00\x01\x01\x00\x00\x00"), max_size=8))
@example([b"\xfd\xff\x01" + bytes(300)])
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_and_the_next_good_frames_are_read(pieces):
    codec, wire = Codec(255, 190), Codec(1, 1)
    for piece in pieces:
        codec.decode(piece)
    after = [codec.decode(wire.encode(Frame("MISSION_CURRENT", {"seq": n}))) for n in range(40)]
    assert after[-1], "it finds its feet again"


@given(st.sampled_from(sorted({cls.msgname for cls in common.mavlink_map.values()})), st.data())
@settings(max_examples=150, deadline=None)
def test_every_message_of_the_set_is_written_and_bent_bytes_never_raise(name, data):
    wire = bytearray(Codec(1, 1).encode(Frame(name)))
    assert [frame.name for frame in Codec(255, 190).decode(bytes(wire))] == [name]
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(Codec(255, 190).decode(bytes(wire)), list)


def test_a_message_of_ours_that_does_not_exist_or_fit_is_our_mistake():
    with pytest.raises(ValueError, match="no message NOSUCH"):
        Codec(1, 1).encode(Frame("NOSUCH"))
    with pytest.raises(ValueError, match="MISSION_CURRENT"):
        Codec(1, 1).encode(Frame("MISSION_CURRENT", {"seq": "three"}))


@pytest.mark.parametrize("autopilot", list(Autopilot))
@pytest.mark.parametrize("value", [0, 1, -7, 2.5, 255])
def test_parameters_are_coded_as_each_autopilot_does(autopilot, value):
    frame = Frame("PARAM_VALUE", fields_of(autopilot, "GF_ACTION", value))
    (back,) = Codec(255, 190).decode(Codec(1, 1).encode(frame))
    assert value_of(autopilot, back) == value
    if autopilot is Autopilot.PX4 and value == 255:
        raw = back.fields["param_value"]
        assert isinstance(raw, float)
        assert struct.pack("<f", raw) == struct.pack("<i", 255)


@pytest.mark.parametrize("autopilot", list(Autopilot))
def test_modes_are_known_both_ways_and_a_strange_one_is_other(autopilot):
    for mode in (Mode.AUTO, Mode.HOLD, Mode.RTL, Mode.LAND):
        assert mode_of(autopilot, mode_number(autopilot, mode)) is mode
    assert mode_of(autopilot, 99) is Mode.OTHER


def carry(transfer: Transfer, shelf: Shelf, lost: float, seed: int = 1) -> int:
    """Carries messages both ways, losing some; returns how long it took [ms]."""
    dice, now = random.Random(seed), T
    ground, craft = Codec(255, 190), Codec(1, 1)
    while transfer.outcome is None:
        up = [craft.decode(ground.encode(frame)) for frame in transfer.take() if dice.random() >= lost]
        down = [answer for frames in up for frame in frames for answer in shelf.receive(frame, now)]
        for answer in [*down, *shelf.due(now)]:
            for frame in ground.decode(craft.encode(answer)):
                if dice.random() >= lost:
                    transfer.receive(frame, now)
        now = Instant(now + 100)
        transfer.due(now)
        assert now - T < 600_000
    return now - T


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.25])
def test_a_mission_goes_up_and_comes_back_over_a_line_that_loses_messages(lost):
    shelf = Shelf()
    up = Transfer(MissionType.MISSION, (1, 1), ITEMS, T)
    carry(up, shelf, lost, seed=3)
    assert up.outcome is not None
    assert (up.outcome.why, shelf.lists[MissionType.MISSION]) == ("", ITEMS)
    down = Transfer(MissionType.MISSION, (1, 1), None, T)
    carry(down, shelf, lost, seed=4)
    assert down.outcome is not None
    assert difference(ITEMS, down.outcome.items, skip_first=False) == ""
    assert (up.resent + down.resent > 0) == (lost > 0)


def test_a_stuck_upload_ends_and_says_at_which_item():
    transfer = Transfer(MissionType.MISSION, (1, 1), ITEMS, T)
    took = carry(transfer, Shelf(stuck_at=2), 0.0)
    assert transfer.outcome is not None
    assert transfer.outcome.why == f"upload of the mission stuck at item 2 after {TRIES} messages"
    assert took < ANSWER_MS * (TRIES + 2)


def test_a_dead_radio_and_a_refusal_end_too():
    transfer = Transfer(MissionType.FENCE, (1, 1), None, T)
    carry(transfer, Shelf(), 1.0)
    assert transfer.outcome is not None
    assert "read-back of the fence stuck at item 0" in transfer.outcome.why
    refused = Transfer(MissionType.FENCE, (1, 1), ITEMS, T)
    refused.receive(Frame("MISSION_ACK", {"type": 4, "mission_type": 1}), T)
    assert refused.outcome is not None
    assert "refuses the fence: NO_SPACE" in refused.outcome.why


def test_an_item_stored_wrong_is_seen_when_it_is_read_back():
    shelf = Shelf(spoiled={int(MissionType.MISSION): 4})
    up, down = (Transfer(MissionType.MISSION, (1, 1), items, T) for items in (ITEMS, None))
    carry(up, shelf, 0.0)
    carry(down, shelf, 0.0)
    assert down.outcome is not None
    assert difference(ITEMS, down.outcome.items, skip_first=True).startswith("item 4: sent NAV_WAYPOINT 51.5000004")
    assert difference(ITEMS, ITEMS[:-1], skip_first=True) == "6 items were sent, 5 read back"


@given(st.lists(st.builds(Frame, st.sampled_from(["MISSION_COUNT", "MISSION_REQUEST_INT", "MISSION_ITEM_INT",
    "MISSION_ACK", "MISSION_ITEM", "MISSION_REQUEST_LIST", "MISSION_CLEAR_ALL"]), st.fixed_dictionaries({}, optional={
        "seq": st.integers(0, 65535), "count": st.integers(0, 65535), "type": st.integers(0, 255),
        "mission_type": st.integers(0, 3), "command": st.integers(0, 65535), "z": st.floats(width=32),
        "frame": st.integers(0, 255)})), max_size=12), st.booleans())  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_order_of_mission_messages_ends_or_waits_and_never_raises(frames, up):
    transfer, shelf = Transfer(MissionType.MISSION, (1, 1), ITEMS if up else None, T), Shelf()
    for step, frame in enumerate(frames):
        transfer.receive(frame, Instant(T + step))
        shelf.receive(frame, Instant(T + step))
    assert transfer.outcome is None or transfer.next_deadline() is None
    if up and transfer.outcome is not None and not transfer.outcome.why:
        assert any(frame.name.startswith("MISSION_REQUEST") for frame in frames)
