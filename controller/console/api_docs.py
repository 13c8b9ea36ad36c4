"""`/api/v1/docs`: the API's description for people, rendered on the server from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse

from controller.console import api, pages
from controller.console.desk import Reader, desk_of

router = APIRouter(prefix=api.PREFIX, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ApiField:
    """One parameter or field on the documentation page."""

    name: str
    type: str
    words: str


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """One address on the documentation page."""

    path: str
    words: str
    parameters: tuple[ApiField, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class ApiType:
    """One value on the documentation page."""

    name: str
    words: str
    fields: tuple[ApiField, ...]


Schema = Mapping[str, object]


def _schema(request: Request) -> Schema:
    app = cast(FastAPI, request.app)
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(title="Atoll", version="1", routes=app.routes, description="Read-only.")
    return cast(Schema, app.openapi_schema)


@router.get("/openapi.json")
def get_openapi_json(request: Request, _: Reader) -> JSONResponse:
    """The machine-readable description."""
    return JSONResponse(_schema(request))


@router.get("/docs")
def show_docs(request: Request, actor: Reader) -> HTMLResponse:
    """The description for people, made from the machine-readable one."""
    schema = _schema(request)
    values: dict[str, object] = {
        "routes": _routes(schema),
        "types": _types(schema),
        "open_alarms": (),
        "ack_id": pages.ack_id,
    }
    return desk_of(request).page(request, "docs.html", values, actor)


def _at(value: object, *keys: str) -> Schema:
    """Returns a nested object of the schema, empty where there is none."""
    for key in keys:
        value = cast(Schema, value).get(key) if isinstance(value, Mapping) else None
    return cast(Schema, value) if isinstance(value, Mapping) else {}


def _routes(schema: Schema) -> tuple[ApiRoute, ...]:
    found: list[ApiRoute] = []
    for path in _at(schema, "paths"):
        get = _at(schema, "paths", path, "get")
        parameters = tuple(
            ApiField(str(one.get("name")), _type(_at(one, "schema")), str(one.get("description", "")))
            for one in cast("list[Schema]", get.get("parameters", []))
        )
        answer = _type(_at(get, "responses", "200", "content", "application/json", "schema"))
        found.append(ApiRoute(path, str(get.get("description", "")), parameters, answer))
    return tuple(found)


def _types(schema: Schema) -> tuple[ApiType, ...]:
    kinds = _at(schema, "components", "schemas")
    return tuple(
        ApiType(
            name,
            str(_at(kinds, name).get("description", "")),
            tuple(
                ApiField(field, _type(_at(kinds, name, "properties", field)), "")
                for field in _at(kinds, name, "properties")
            ),
        )
        for name in kinds
        if name.startswith("Api")
    )


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in cast("list[Schema]", schema["anyOf"]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(_at(schema, 'items'))}"
    if kind == "object" and "additionalProperties" in schema:
        return f"object of {_type(_at(schema, 'additionalProperties'))}"
    return kind
