"""The gateway's records on their way: sent while the hub is there, forgotten when it has committed. Pure.

Part of the gateway's step (devices/gateway.py), which owns outbox and day book.
"""

from __future__ import annotations

from devices.day_book import BadDayAck, decode_day_acks
from devices.gateway_events import Effect, FetchRecords, ForgetRecords, Log, RecallRecords, Send
from devices.gateway_state import Gateway
from devices.model import DeviceId
from devices.outbox import BadPayload, decode_acks, encode_batch
from devices.sparkplug_codec import RECORDS_BATCH, RECORDS_DAY, RECORDS_DEVICE


def records_acked(gateway: Gateway, payload: bytes, effects: list[Effect]) -> None:
    """Forgets what the hub has committed, and sends again what an older copy of its books lacks."""
    try:
        acks = decode_acks(payload)
    except BadPayload as problem:
        gateway.count("acks_rejected")
        effects.append(Log("ack-rejected", str(problem)))
        return
    refused = gateway.outbox.rejected_acks
    freed = gateway.outbox.acknowledge(acks, gateway.elapsed)
    if gateway.outbox.rejected_acks != refused:
        gateway.count("acks_rejected")
        effects.append(Log("ack-rejected", "a page was acknowledged that was never sent: that hub keeps other books"))
    if freed:
        effects.append(ForgetRecords(tuple(freed)))
        send_records(gateway, effects)
    gaps = gateway.outbox.gaps(acks)
    if gaps:
        gateway.count("records_recalled")
        effects.append(Log("hub-lacks-records", f"the hub's books are older than its acknowledgements: {gaps[0]}"))
        effects.append(RecallRecords(tuple(gaps)))


def days_acked(gateway: Gateway, payload: bytes, effects: list[Effect]) -> None:
    """Forgets the signed days that the hub has committed."""
    try:
        freed = gateway.days.acknowledge(decode_day_acks(payload))
    except BadDayAck as problem:
        gateway.count("acks_rejected")
        effects.append(Log("ack-rejected", str(problem)))
        return
    if freed:
        effects.append(ForgetRecords(days=freed))
        send_records(gateway, effects)


def forget_flights(gateway: Gateway) -> None:
    """Takes everything for unsent again: a new session with the hub."""
    gateway.outbox.forget_flights(gateway.elapsed)
    gateway.days.forget_flights()


def send_records(gateway: Gateway, effects: list[Effect]) -> None:
    """Sends what is due, and asks the disk for what comes after it."""
    if not gateway.link_up or not gateway.host_online:
        return
    payloads = [(RECORDS_BATCH, encode_batch(batch)) for batch in gateway.outbox.due(gateway.elapsed)]
    gateway.counters["batches_sent"] = gateway.counters.get("batches_sent", 0) + len(payloads)
    payloads += [(RECORDS_DAY, text) for text in gateway.days.due(gateway.elapsed)]
    for name, payload in payloads:
        effects.append(Send(gateway.session.data_bytes(DeviceId(RECORDS_DEVICE), name, payload, gateway.now)))
    wanted = gateway.outbox.wanted()
    if wanted:
        effects.append(FetchRecords(tuple(wanted)))
