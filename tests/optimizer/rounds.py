"""Random small communities with rounds to drive, for tests of the engines and of their checker."""

from __future__ import annotations

from math import hypot
from random import Random

from hypothesis import strategies as st

from optimizer.logistics import (
    FOREVER,
    Depot,
    Halt,
    Matrix,
    RoundsProblem,
    Shipment,
    Travel,
    Vehicle,
    VehicleId,
    Visit,
    VisitId,
)

DAY = 36_000


def travel(spots: list[tuple[int, int]], speed: int = 2) -> Travel:
    """Returns straight lines between spots [m], and the seconds at a speed [m/s]."""
    distance: Matrix = tuple(tuple(round(hypot(a - c, b - d)) for c, d in spots) for a, b in spots)
    return Travel(distance, tuple(tuple(-(-metres // speed) for metres in row) for row in distance))


@st.composite
def problems(draw: st.DrawFn, *, must: bool = False) -> RoundsProblem:
    """Returns a problem whose every visit may be left out at a price (or, with `must`, one without tight rules)."""
    number = st.integers
    spots = draw(st.lists(st.tuples(number(0, 900), number(0, 900)), min_size=3, max_size=8, unique=True))
    depots = [Depot(0, loading=draw(number(0, 120)))]
    if draw(st.booleans()):
        depots.append(Depot(1, early=draw(number(0, 3_000))))
    visits: list[Visit] = []
    for at in range(draw(number(0, 6))):
        early = draw(number(0, DAY // 2))
        late = DAY if must else early + draw(number(0, 9_000))
        visits.append(
            Visit(
                VisitId(f"visit-{at}"),
                draw(number(0, len(spots) - 1)),
                (draw(number(0, 5)), draw(number(0, 2))),
                (draw(number(0, 5)), 0),
                draw(number(0, 300)),
                0 if must else early,
                late,
                0 if must else min(late, draw(st.sampled_from((0, 0, 4_000, 20_000)))),
                None if must else draw(number(0, 5_000)),
            )
        )
    shipments = [
        Shipment(
            VisitId(f"shipment-{at}"),
            Halt(draw(number(0, len(spots) - 1)), 60, 0, draw(number(3_000, DAY))),
            Halt(draw(number(0, len(spots) - 1)), 60, draw(number(0, 3_000)), DAY),
            (draw(number(0, 5)), 0),
            draw(number(0, 9_000)),
        )
        for at in range(0 if must else draw(number(0, 2)))
    ]
    vehicles = tuple(_vehicle(draw, at, len(depots), visits, must=must) for at in range(draw(number(1, 3))))
    return RoundsProblem((travel(spots), travel(spots, 5)), tuple(depots), vehicles, tuple(visits), tuple(shipments))


def _vehicle(draw: st.DrawFn, at: int, depots: int, visits: list[Visit], *, must: bool) -> Vehicle:
    number = st.integers
    home = draw(number(0, depots - 1))
    only = None
    if not must and visits and draw(st.booleans()):
        only = tuple(sorted(draw(st.sets(st.sampled_from([visit.id for visit in visits])))))
    reload = must or draw(st.booleans())
    return Vehicle(
        VehicleId(f"vehicle-{at}"),
        home,
        home,
        (10, 5) if must else (draw(number(4, 10)), draw(number(1, 5))),
        early=0,
        late=2 * DAY if must else draw(number(DAY // 2, DAY)),
        duration_max=FOREVER if must else draw(st.sampled_from((FOREVER, 9_000))),
        distance_max=FOREVER if must else draw(st.sampled_from((FOREVER, 4_000))),
        fixed_cost=draw(number(0, 500)),
        distance_cost=draw(number(0, 3)),
        duration_cost=draw(number(0, 2)),
        profile=draw(number(0, 1)),
        reload_depots=(home,) if reload else (),
        reloads_max=2 if reload else 0,
        only=only,
    )


def bound_to_visits(seed: int) -> RoundsProblem:
    """Returns 48 visits and eight vehicles, each pair of them bound to half of the visits; metres and ms."""
    lot = Random(seed)
    spots = [(lot.randrange(100_000), lot.randrange(100_000)) for _ in range(49)]
    opens = [lot.randrange(400_000) for _ in spots]
    visits = tuple(
        Visit(VisitId(f"v{at}"), at, (lot.randrange(5, 25),), (), 10_000, opens[at], opens[at] + 135_000)
        for at in range(1, len(spots))
    )
    mine = [tuple(visit.id for at, visit in enumerate(visits) if at % 4 in (k, (k + 1) % 4)) for k in range(4)]
    vehicles = tuple(
        Vehicle(VehicleId(f"t{at}"), capacity=(200,), late=1_000_000, duration_max=500_000, only=mine[at // 2])
        for at in range(8)
    )
    return RoundsProblem((travel(spots, 1),), (Depot(0),), vehicles, visits)
