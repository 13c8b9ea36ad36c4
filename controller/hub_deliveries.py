"""What the hub's cycle does about deliveries: send trips, note what became of them, ask for rounds, steer chargers."""

from __future__ import annotations

from dataclasses import replace

from controller.deliveries import DeliveryNote
from controller.hub_events import AskPlan, Audit, Effect, Publish
from controller.hub_state import Hub
from controller.image import Snapshot
from controller.ledger.entries import derived_id
from controller.vehicle_charging import trip_asks, vehicle_packs
from devices.clock import MINUTE_MS, Instant
from optimizer.problem import Problem
from optimizer.trip_packs import as_planned, charging_needs

WAIT_MS = 10 * MINUTE_MS


def tick(hub: Hub, snapshot: Snapshot, now: Instant) -> list[Effect]:
    """Returns the effects of one cycle; nothing for a site without deliveries."""
    desk = hub.desk
    if not hub.config.site.deliveries:
        return []
    hub.food.look(hub.config.site, desk, hub.work.items, now)
    messages, notes = desk.tick(hub.board, snapshot, now)
    steps, _ = hub.planning.steps(now)
    messages += hub.charging.tick(desk, hub.board, steps, snapshot, now)
    effects: list[Effect] = [Publish(message) for message in messages]
    effects.extend(_audit(note, now) for note in notes)
    desk.give_up(now, max(WAIT_MS, 240 * hub.config.floor_ms))
    asked = desk.ask(hub.board, snapshot, now) if hub.config.plans else None
    if asked is not None:
        effects.append(AskPlan(*asked))
    if not hub.config.plans or hub.desk.unplanned:
        desk.by_rule(hub.board, snapshot, now)
    return effects


def with_vehicles(hub: Hub, problem: Problem) -> Problem:
    """Returns the energy question with the packs of the vehicles that deliver, and with the trips that may be moved.

    In an emergency every trip stays.
    """
    if hub.snapshot is None:
        return problem
    prices = problem.grid.import_price
    packs = vehicle_packs(hub.desk, hub.board, hub.snapshot, worth=sum(prices) / len(prices))
    end = Instant(problem.start + problem.slots * problem.slot_ms)
    trips = trip_asks(hub.desk, hub.board, hub.snapshot, packs, end)
    if any(trip.movable for trip in trips) and not hub.planning.emergency:
        return replace(problem, packs=packs, trips=trips)
    storages = charging_needs(packs, trips, as_planned(trips), problem.start, problem.slots, problem.slot_ms)
    return replace(problem, batteries=(*problem.batteries, *storages))


def _audit(note: DeliveryNote, now: Instant) -> Audit:
    delivery = note.delivery
    body = (
        ("run", note.run),
        ("state", note.state),
        ("device", note.device),
        ("text", note.text),
        ("delivery", delivery.id),
        ("kind", delivery.kind),
        ("member", delivery.member),
        ("mass_g", str(round(1000 * delivery.mass_kg))),
    )
    return Audit("delivery", derived_id(now, "delivery", note.run, note.state), body)
