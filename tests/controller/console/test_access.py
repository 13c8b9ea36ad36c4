"""Who may do what: every route x every role, origins, hosts, headers, sessions, guessing."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from controller.commands import Role
from controller.console import guard
from controller.console.app import RouteWithoutPermission, check_permissions, make_app, permissions
from controller.console.auth import IDLE_S, LoginGate, MemorySessions, Permission, Session, allows, new_code
from controller.console.config import ConsoleConfig
from controller.console.session_file import SessionFile
from tests.controller.console.served import BASE, CODE, ORIGIN, client, config, operator
from tests.controller.console.village import Village

VILLAGE = Village(20)
ROUTES = permissions(make_app(VILLAGE, config()).routes)
FILLED = {"{home}": "home-07", "{device}": "battery-1", "{seq}": "3", "{digest}": "0", "{name}": "atoll.css"}


def call(one: TestClient, route: str) -> int:
    method, _, path = route.partition(" ")
    for placeholder, value in FILLED.items():
        path = path.replace(placeholder, value)
    if path == "/api/v1/series":
        path += "?point=home-07/W&start=2026-06-03T00:00:00Z&end=2026-06-03T01:00:00Z"
    return one.request(method, path, headers=ORIGIN).status_code


def test_every_route_declares_a_permission() -> None:
    assert len(ROUTES) >= 25
    assert {permission for _, permission in ROUTES} == set(Permission)


def test_a_route_without_permission_stops_the_app() -> None:
    app = FastAPI()

    @app.get("/open")
    def _open() -> str:
        return "oops"

    with pytest.raises(RouteWithoutPermission, match="/open"):
        check_permissions(app.routes)


@pytest.mark.parametrize(("route", "permission"), [r for r in ROUTES if r[0] != "GET /live"], ids=str)
def test_the_permission_matrix(route: str, permission: Permission) -> None:
    village = Village(20)
    callers: dict[Role | None, TestClient] = {
        None: client(village, open_viewing=False),
        Role.VIEWER: client(village),
        Role.OPERATOR: operator(village, open_viewing=False),
    }
    for role, one in callers.items():
        status = call(one, route)
        if allows(role, permission):
            assert status not in (401, 500), (role, status)
            assert status != 403 or route == "POST /login"
        else:
            assert status in (401, 403, 303), (role, status)
    assert len(village.commands) == 0, "an empty form must not become a command"


def test_pages_that_need_a_login_lead_there_and_back() -> None:
    one = client(VILLAGE, open_viewing=False)
    answer = one.get("/ledger?before=9")
    assert answer.headers["location"] == "/login?next=/ledger%3Fbefore%3D9"
    page = one.get("/login?next=/ledger").text
    assert "Motu" not in page, "the login page tells strangers nothing of the village"
    answer = one.post("/login", data={"code": CODE.upper(), "next": "/ledger"}, headers=ORIGIN)
    assert answer.headers["location"] == "/ledger"
    assert one.get("/ledger").status_code == 200


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"]
)
def test_login_leads_nowhere_else(target: str) -> None:
    answer = client(VILLAGE).post("/login", data={"code": CODE, "next": target}, headers=ORIGIN)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://localhost:81", "ftp://localhost", ""])
def test_posts_from_elsewhere_are_refused(origin: str | None) -> None:
    village = Village(4)
    one = operator(village)
    headers = {} if origin is None else {"Origin": origin}
    for path in ("/login", "/logout", "/alarms/acknowledge", "/devices/battery-1/hold", "/devices/battery-1/release"):
        assert one.post(path, data={"code": CODE}, headers=headers).status_code == 403
    assert village.commands == []


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[::2]"])
def test_unknown_host_names_are_refused(host: str) -> None:
    assert client(VILLAGE).get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "127.0.0.1:80", "[::1]:8080"])
def test_known_host_names_pass(host: str) -> None:
    assert client(VILLAGE).get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nope", "/api/v1/now", "/static/0/x.js", "/login"])
def test_every_answer_has_the_security_headers(path: str) -> None:
    headers = client(VILLAGE).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/plan",
        "/ledger",
        "/ledger/entry/3",
        "/home",
        "/home/home-07",
        "/devices/battery-1",
        "/api/v1/docs",
        "/login",
    ],
)
def test_pages_have_nothing_inline_and_nothing_foreign(path: str) -> None:
    page = client(VILLAGE).get(path).text
    assert not re.search(r"<[^>]+\s(style|on\w+)\s*=", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"(src|href|action)=\"(?!/|#)", page)


def test_a_body_may_not_be_large() -> None:
    one = operator(Village(4))
    big = {"reason": "x" * (guard.BODY_BYTES_MAX + 1)}
    assert one.post("/devices/battery-1/hold", data=big, headers=ORIGIN).status_code == 413


def test_a_body_without_length_may_not_be_large_either() -> None:
    def endless() -> object:
        for _ in range(100):
            yield b"reason=" + b"x" * 1000 + b"&"

    village = Village(4)
    one = TestClient(make_app(village, config()), base_url=BASE, raise_server_exceptions=False)
    headers = ORIGIN | {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}
    answer = one.post("/login", content=endless(), headers=headers)
    assert answer.status_code >= 400


def test_the_session_cookie_is_closed_to_scripts_and_other_sites() -> None:
    answer = client(VILLAGE).post("/login", data={"code": CODE}, headers=ORIGIN)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert CODE not in cookie


def test_signing_out_ends_the_session_on_the_server() -> None:
    one = operator(VILLAGE, open_viewing=False)
    token = one.cookies["atoll_session"]
    assert one.post("/logout", headers=ORIGIN).status_code == 303
    one.cookies.set("atoll_session", token)
    assert one.get("/plan").status_code == 303


def test_sessions_end_after_twelve_idle_hours() -> None:
    now = [1_000_000.0]
    one = operator(VILLAGE, open_viewing=False, clock_s=lambda: now[0])
    now[0] += IDLE_S - 1
    assert one.get("/plan").status_code == 200
    now[0] += IDLE_S - 1
    assert one.get("/plan").status_code == 200
    now[0] += IDLE_S + 1
    assert one.get("/plan").status_code == 303


def test_wrong_codes_make_the_address_wait() -> None:
    now = [1_000_000.0]
    one = client(VILLAGE, clock_s=lambda: now[0])
    statuses = [one.post("/login", data={"code": "wrong"}, headers=ORIGIN).status_code for _ in range(5)]
    assert statuses == [403, 403, 403, 429, 429]
    assert one.post("/login", data={"code": CODE}, headers=ORIGIN).status_code == 429, "also the right code waits"
    now[0] += 3
    assert one.post("/login", data={"code": CODE}, headers=ORIGIN).status_code == 303


def test_the_gate_waits_longer_each_time_and_forgets_the_oldest() -> None:
    gate = LoginGate()
    waits: list[float] = []
    for _ in range(16):
        gate.failed("a", 0.0)
        waits.append(gate.wait_s("a", 0.0))
    assert waits[:5] == [0, 0, 2, 4, 8]
    assert waits[-1] == LoginGate.WAIT_S_MAX
    for index in range(LoginGate.ADDRESSES_MAX + 10):
        gate.failed(f"b{index}", 0.0)
    assert len(gate._failed) == LoginGate.ADDRESSES_MAX


def test_codes_are_long_and_differ() -> None:
    codes = {new_code() for _ in range(200)}
    assert len(codes) == 200
    assert all(re.fullmatch(r"[a-z2-9]{4}(-[a-z2-9]{4}){3}", code) for code in codes)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_both_session_stores_behave_alike(kind: str, tmp_path) -> None:
    if kind == "file":
        store = SessionFile(tmp_path / "console.db")
        code = store.first_code()
        assert code is not None
        assert store.first_code() is None, "the code is shown once"
    else:
        code = "abcd-efgh"
        store = MemorySessions(code)
    assert store.verify(code.replace("-", " ").upper())
    assert not store.verify(code[:-1])
    assert not store.verify("")
    token = store.open(Session("Mele", Role.OPERATOR), 1_000.0)
    assert store.find(token, 1_001.0) == Session("Mele", Role.OPERATOR)
    assert store.find(token + "x", 1_001.0) is None
    assert store.find(token, 1_001.0 + IDLE_S) is None
    assert store.find(token, 1_001.0) is None, "an expired session is gone for good"
    token = store.open(Session("Mele", Role.OPERATOR), 1_000.0)
    store.close(token)
    assert store.find(token, 1_001.0) is None


def test_the_session_file_survives_a_restart_and_keeps_no_secret(tmp_path) -> None:
    path = tmp_path / "console.db"
    store = SessionFile(path)
    code = store.first_code()
    assert code is not None
    token = store.open(Session("Mele", Role.OPERATOR), 1_000.0)
    store.shut()
    again = SessionFile(path)
    assert again.find(token, 1_010.0) == Session("Mele", Role.OPERATOR)
    new = again.renew_code()
    assert again.find(token, 1_010.0) is None
    assert again.verify(new)
    assert not again.verify(code)
    again.shut()
    data = path.read_bytes()
    assert token.encode() not in data
    assert new.encode() not in data


def test_the_app_needs_neither_database_nor_solver() -> None:
    import subprocess
    import sys

    program = "import sys, controller.console.app; print([m for m in ('apsw', 'ortools', 'paho') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_console_knows_its_config() -> None:
    assert ConsoleConfig(MemorySessions("x")).open_viewing
