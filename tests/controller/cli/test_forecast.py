"""`atoll forecast`: an hour a line, from the hub or as kept, and who has been near."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner, Result

from controller.beliefs import Belief, Score
from controller.cli.forecast import forecast as forecast_verb
from controller.cli.forecast import lines
from controller.forecast_view import forecast_document, forecast_words
from controller.history import History
from controller.hub import HubConfig, start
from controller.plan_forecast import forecast
from controller.store.belief_file import BeliefWriter
from devices.clock import SLOT_MS, Instant
from optimizer.forecast import Band
from tests.controller.scene import NOW, VILLAGE, village

SITE = village()
MADE = Instant(NOW - NOW % SLOT_MS)


def run(*words: object) -> Result:
    return CliRunner().invoke(forecast_verb, [str(VILLAGE), *(str(word) for word in words)])


def test_without_a_hub_the_last_forecast_kept_is_shown(tmp_path: Path) -> None:
    assert "a hub makes one with each plan" in run("--data-dir", tmp_path).output
    writer = BeliefWriter(tmp_path)
    flat = (("load", (12_000,) * 96), ("pv", (8_000,) * 96), ("water", (50_000,) * 96))
    writer.keep(Belief(NOW, MADE, SLOT_MS, flat), NOW)
    score = Score("2026-06-01", "water by ridge", 4, 10, 40_000.0, -9_000.0, 80_000.0, 2e6)
    writer.keep(score, NOW)
    writer.close()
    text = run("--data-dir", tmp_path).output
    assert "no hub answers" in text
    assert text.splitlines()[3].split()[-3:] == ["12.0", "8.0", "200.0"]
    assert json.loads(run("--data-dir", tmp_path, "--json").output)["series"]["load"][0] == 12_000
    scores = run("--data-dir", tmp_path, "--scores").output
    assert "water by ridge" in scores
    assert scores.splitlines()[-1].split()[-2:] == ["8", "10"]


def test_a_hub_tells_who_forecasts_and_what_the_weather_does() -> None:
    hub = start(HubConfig(SITE, 1, 1_000, 1_000, 0, 60_000), NOW)
    assert forecast_words(hub, NOW) == ""
    assert forecast_document(hub, NOW)["made_at"] is None
    outlook = forecast(SITE, History(SITE), NOW)
    hub.planning.forecast = replace(outlook, bands=(Band("load", (1.0,) * 96, (2.0,) * 96),))
    assert (
        forecast_words(hub, NOW) == "load by like days, sun by like days, water by like days; no weather file is named"
    )
    hub.config = replace(hub.config, site=replace(SITE, energy=replace(SITE.energy, weather="weather.json")))
    assert forecast_words(hub, NOW).endswith("weather is not used: no weather has been told yet")
    document = forecast_document(hub, NOW)
    assert document["by"] == {"load": "like-days", "pv": "like-days", "water": "like-days"}
    table = lines(SITE.timezone, document)
    assert all("1.0 .. 2.0" in line for line in table[3:])
    assert len(table) == 3 + 23, "whole hours only"
