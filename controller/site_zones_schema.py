"""The site file's tables of zones, of drones on MAVLink and of who has allowed their flights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from controller.site_types import Id, Table

Metres = Annotated[float, Field(ge=-1e5, le=1e5)]
Corner = Annotated[list[Metres], Field(min_length=2, max_length=2, description="Metres east, north, as in [[place]]")]


class ZoneTable(Table):
    """A polygon on the site's map: where drones stay, where nobody flies, where people walk, where no robot drives."""

    id: Id
    kind: Annotated[
        Literal["geofence", "no-fly", "people", "no-go"],
        Field(description="geofence: drones stay inside; no-fly, people: outside; no-go: robots stay outside"),
    ]
    corners: Annotated[list[Corner], Field(min_length=3, max_length=80)]
    ceiling_m: Annotated[
        float | None, Field(gt=0, le=500, description="Of a geofence: greatest height above take-off [m]")
    ] = None
    speed_mps: Annotated[
        float | None, Field(gt=0, le=50, description="Of a people zone: robots may pass at this speed [m/s]")
    ] = None


class AuthorisationTable(Table):
    """The record without which no drone is sent: who has allowed its flights, for which operator, until when."""

    device: Id
    reference: Annotated[str, Field(min_length=1, max_length=60, description="The authority's or club's reference")]
    operator: Annotated[str, Field(min_length=1, max_length=20, description="Operator id that Remote ID sends")]
    until: Annotated[str, Field(description="Instant at which it ends: 2027-01-01T00:00:00Z")]


Level = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,60}$")]


class VdaTable(Table):
    """A vehicle of a maker's: its topics, its map and which dialect of VDA 5050 it speaks."""

    version: Annotated[Literal["2.0", "2.1", "3.0"], Field(description="Of the messages that it is sent")] = "2.1"
    instant_actions: Annotated[
        Literal["actions", "instantActions"],
        Field(description="The key that it reads instant actions under; the standard's schemas say actions"),
    ] = "actions"
    interface: Annotated[Level, Field(description="First level of its topics: uagv, vda5050")] = "vda5050"
    manufacturer: Level = "atoll"
    serial: Annotated[Level | None, Field(description="Its serial number (default: the id)")] = None
    map: Annotated[str, Field(min_length=1, max_length=60, description="The id of its map")] = "site"


class MavlinkTable(Table):
    """How a drone is reached by MAVLink and how it flies; `atoll drone` makes it a vehicle of the hub."""

    endpoint: Annotated[
        str,
        Field(
            pattern=r"^(udp(in|out):[A-Za-z0-9_.-]+:\d{1,5}|serial:\S{1,200})$",
            description="udpin:HOST:PORT (listen), udpout:HOST:PORT or serial:/dev/serial/by-id/NAME:57600",
        ),
    ]
    height_m: Annotated[float, Field(gt=2, le=120, description="Flight height above the take-off place [m]")] = 30.0
    wind_mps: Annotated[float, Field(ge=0, le=20, description="Wind that flights are planned for [m/s]")] = 5.0
    climb_wh: Annotated[float, Field(ge=0, le=1e4, description="One take-off and landing [Wh]")] = 13.0
    remote_id: Annotated[str, Field(max_length=20, description="Remote ID serial number of the aircraft")] = ""
    launch: Annotated[
        Literal["by-plan", "two-step"],
        Field(description="two-step: a flight is loaded and waits until a person launches it (atoll operate)"),
    ] = "by-plan"
    gateway: Annotated[
        Id | None, Field(description="The gateway on whose machine the radio is (default: the first)")
    ] = None
