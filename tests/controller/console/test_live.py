"""The live stream over a real server: changes arrive, caps hold, shutdown is quick."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.controller.console.served import CODE, serving
from tests.controller.console.village import Village, watts


def events(answer: httpx.Response) -> Iterator[tuple[int, dict[str, str]]]:
    at = 0
    for line in answer.iter_lines():
        if line.startswith("id: "):
            at = int(line[4:])
        elif line.startswith("data: "):
            yield at, json.loads(line[6:])


@pytest.fixture
def village() -> Village:
    return Village(4)


def test_first_everything_then_only_what_changed(village: Village) -> None:
    with serving(village) as url, httpx.stream("GET", f"{url}/live", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = events(answer)
        version, regions = next(stream)
        assert version == village.view.version
        assert {"r-frame", "r-strip", "r-flow", "r-stores", "r-alarms", "r-devices"} <= set(regions)
        village.change(flows=(replace(village.view.flows[0], power=watts(-12_300)), *village.view.flows[1:]))
        version, regions = next(stream)
        assert version == village.view.version
        assert set(regions) == {"r-flow"}
        assert "12.3" in regions["r-flow"]


def test_viewers_get_no_forms_and_operators_do(village: Village) -> None:
    with serving(village) as url:
        with httpx.stream("GET", f"{url}/live", timeout=10) as answer:
            assert "<form" not in next(events(answer))[1]["r-alarms"]
        with httpx.Client(base_url=url, timeout=10) as one:
            one.post("/login", data={"code": CODE}, headers={"Origin": url})
            with one.stream("GET", "/live") as answer:
                assert "<form" in next(events(answer))[1]["r-alarms"]


def test_streams_are_capped_per_client_and_given_back(village: Village) -> None:
    with serving(village, streams_max_per_client=2) as url, httpx.Client(base_url=url, timeout=10) as one:
        with one.stream("GET", "/live") as first, one.stream("GET", "/live") as second:
            held = [events(first), events(second)]  # a generator that is let go closes its stream
            assert all(next(stream) for stream in held)
            full = one.get("/live")
            assert full.status_code == 503
            assert full.headers["retry-after"] == "15"
            assert one.get("/").status_code == 200
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            village.change()
            with one.stream("GET", "/live") as again:
                if again.status_code == 200:
                    return
            time.sleep(0.05)
        pytest.fail("the place of a closed stream was never given back")


def test_a_burst_of_changes_is_one_event(village: Village) -> None:
    with serving(village) as url, httpx.stream("GET", f"{url}/live", timeout=10) as answer:
        stream = events(answer)
        next(stream)
        burst = threading.Thread(target=lambda: [village.change(plan_status=f"plan {n}") for n in range(200)])
        burst.start()
        burst.join()
        last, count = 0, 0
        while last < village.view.version:
            last, _ = next(stream)
            count += 1
        assert count <= 3


def test_an_open_stream_does_not_hold_the_shutdown_up(village: Village) -> None:
    with serving(village) as url:
        client = httpx.Client(base_url=url, timeout=10)
        answer = client.send(client.build_request("GET", "/live"), stream=True)
        next(events(answer))
    client.close()
