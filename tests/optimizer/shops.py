"""Work problems for tests: one workshop day, and random small ones from a seed."""

from __future__ import annotations

from random import Random

from optimizer.problem import AssetId
from optimizer.tasks import Crew, Machine, Robot, Supply, Task, TaskKind, WorkProblem

SLOTS = 96
PRICE = tuple(0.21 if t < 24 or t >= 88 else 0.05 if 44 <= t < 56 else 0.29 if t < 68 else 0.42 for t in range(SLOTS))


def task(name: str, kind: TaskKind, kw: tuple[float, ...], **changes: object) -> Task:
    """Returns a task that may run any time of the day and is dear to leave."""
    values: dict[str, object] = {
        "earliest_slot": 0,
        "due_slot": SLOTS,
        "deadline_slot": SLOTS,
        "late_price_per_h": 2.0,
        "skip_price": 100.0,
    }
    return Task(AssetId(name), kind, kw, **{**values, **changes})  # pyright: ignore[reportArgumentType]


def workshop() -> WorkProblem:
    """Returns a printer near its service, a mill, a crew on shift, and a robot with half a charge."""
    return WorkProblem(
        slots=SLOTS,
        slot_h=0.25,
        supply=(Supply((6.0,) * SLOTS, PRICE),),
        over_price=50.0,
        tasks=(
            task("print-a", TaskKind.PRINT, (0.4,) * 12, machine_kind="printer", skills=("print",), attended_slots=1),
            task("print-b", TaskKind.PRINT, (0.4,) * 12, machine_kind="printer", skills=("print",), attended_slots=1),
            task("service", TaskKind.MAINTENANCE, (0.1,) * 2, services=AssetId("printer-1"), skills=("fitter",)),
            task("mill-a", TaskKind.MILL, (3.0, 5.0, 5.0, 3.0), machine_kind="mill", skills=("mill",)),
            task("wall", TaskKind.CONSTRUCTION, (0.0,) * 8, skills=("mason",), machine_kind="excavator"),
            task("pump-repair", TaskKind.REPAIR, (0.0,) * 4, skills=("fitter",), due_slot=36, late_price_per_h=9.0),
            task("survey", TaskKind.SURVEY, (0.0,) * 2, robot=True, robot_kwh=0.5),
            task("carry", TaskKind.CARRY, (0.0,) * 6, robot=True, robot_kwh=0.9, after=(AssetId("survey"),)),
        ),
        machines=(
            Machine(AssetId("printer-1"), "printer", ((0, SLOTS),), hours_left=4.0),
            Machine(AssetId("mill-1"), "mill", ((28, 80),)),
            Machine(AssetId("excavator-1"), "excavator", ((32, 60),)),
        ),
        crews=(
            Crew(AssetId("crew-1"), ("print", "mill", "fitter"), ((28, 64),)),
            Crew(AssetId("crew-2"), ("mason", "print"), ((28, 48), (52, 70))),
        ),
        robots=(Robot(AssetId("robot-1"), ("survey", "carry", "irrigation"), ((24, 84),), 1.5, 0.8, 0.2, 0.5),),
    )


def random_work(seed: int) -> WorkProblem:
    """Returns up to nine tasks over few machines, crews and robots: crowded enough that some are left out."""
    rng = Random(seed)
    slots = 48
    price = tuple(rng.choice((0.05, 0.2, 0.3, 0.45)) for _ in range(slots))

    def spans() -> tuple[tuple[int, int], ...]:
        start = rng.randrange(0, 12)
        return ((start, rng.randrange(start + 8, slots + 1)),)

    tasks: list[Task] = []
    for number in range(rng.randrange(3, 9)):
        length = rng.randrange(1, 8)
        kind = rng.choice((TaskKind.PRINT, TaskKind.MILL, TaskKind.REPAIR, TaskKind.CARRY))
        machine = {TaskKind.PRINT: "printer", TaskKind.MILL: "mill"}.get(kind, "")
        deadline = rng.randrange(length, slots + 1)
        tasks.append(
            Task(
                AssetId(f"task-{number}"),
                kind,
                tuple(rng.choice((0.0, 0.5, 2.0, 4.0)) for _ in range(length)),
                earliest_slot=rng.randrange(0, max(1, deadline - length)),
                due_slot=rng.randrange(1, deadline + 1),
                deadline_slot=deadline,
                late_price_per_h=rng.choice((0.0, 1.0, 5.0)),
                skip_price=rng.choice((0.5, 5.0, 50.0)),
                machine_kind=machine,
                skills=() if kind is TaskKind.CARRY else rng.choice(((), ("a",), ("a", "b"))),
                attended_slots=rng.choice((None, 1)),
                robot=kind is TaskKind.CARRY,
                robot_kwh=rng.choice((0.2, 0.6)) if kind is TaskKind.CARRY else 0.0,
                after=(tasks[-1].id,) if tasks and rng.random() < 0.3 else (),
            )
        )
    return WorkProblem(
        slots,
        0.25,
        (Supply((3.0,) * slots, price),),
        20.0,
        tuple(tasks),
        (
            Machine(AssetId("printer-1"), "printer", spans(), hours_left=rng.choice((None, 1.5))),
            Machine(AssetId("mill-1"), "mill", spans()),
        ),
        (Crew(AssetId("crew-1"), ("a",), spans()), Crew(AssetId("crew-2"), ("a", "b"), spans(), 3.0)),
        tuple(
            Robot(AssetId(f"robot-{n}"), ("carry",), ((0, slots),), 1.0, 0.5, 0.1, 0.4)
            for n in range(rng.choice((1, 2)))
        ),
    )
