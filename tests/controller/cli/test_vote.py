"""`atoll vote` as members use it, where no hub runs; the charter then holds when the hub is started again."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from controller.cli import exit_code
from controller.cli.errors import ExitCode
from controller.shell.books import Books
from controller.shell.key_file import new_key_file
from controller.store.ledger_file import LedgerFile
from controller.voting import Electorate
from devices.clock import DAY_MS, Instant
from tests.charters import charter_text
from tests.ledger_village import Village, rules


def test_three_members_decide_from_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def atoll(*words: object, code: ExitCode = ExitCode.OK) -> str:
        found = exit_code([*map(str, words), *([] if words[0] == "key" else ["--data-dir", str(tmp_path)])])
        said = capsys.readouterr()
        assert found == code, said
        return said.out + said.err

    keys = {name: tmp_path / f"{name}.pem" for name in ("home-01", "home-02", "home-03")}
    dids = {name: new_key_file(path).did for name, path in keys.items()}
    midnight = datetime.now(ZoneInfo("Europe/Berlin")).replace(hour=0, minute=0, second=0, microsecond=0)
    today, starts = (Instant(int(day.timestamp() * 1000)) for day in (midnight, midnight + timedelta(days=30)))
    own = replace(rules(key=None), voters=Electorate(dids, 2, 336))
    books = Books.open(tmp_path / "ledger.db", own)
    books.run_due(today)
    books.close(today)
    assert "no vote" in atoll("vote", "count")
    charter = tmp_path / "next.toml"
    charter.write_text(charter_text(starts, of=f'"{dids["home-01"]}"'))
    assert "2 of 3 must agree" in atoll("vote", "open", charter)
    assert "duplicate" in atoll("vote", "open", charter, code=ExitCode.UNSAFE)
    cast = atoll("vote", "cast", 1, "yes", "--key", keys["home-01"])
    assert "1 yes, 0 no" in cast
    file = LedgerFile.read(tmp_path / "ledger.db")
    assert file.by_id(cast.split()[-1]), "a recount asks for the ballot's id"
    file.close()
    assert "voted-twice" in atoll("vote", "cast", 1, "no", "--key", keys["home-01"], code=ExitCode.UNSAFE)
    ballot, signed = tmp_path / "ballot.json", tmp_path / "signed.json"
    atoll("vote", "cast", 1, "yes", "--write", ballot)
    atoll("key", "sign", keys["home-02"], ballot, "--purpose", "ballot", "-o", signed)
    assert json.loads(atoll("vote", "cast", 1, "--paper", signed, "--json"))["accepted"]
    atoll("vote", "cast", 9, "yes", "--key", keys["home-03"], code=ExitCode.FINDINGS)
    atoll("vote", "cast", 1, "yes", code=ExitCode.USAGE)
    atoll("vote", "cast", 1, "yes", "--key", tmp_path / "none.pem", code=ExitCode.CONFIG)
    atoll("vote", "cast", 1, "--paper", charter, code=ExitCode.CONFIG)
    atoll("vote", "count", "-o", tmp_path / "v.json", code=ExitCode.USAGE)
    atoll("vote", "count", 1, "-o", tmp_path / "v.json", code=ExitCode.RETRY)
    found = json.loads(atoll("vote", "count", 1, "--json"))["votes"][0]
    assert (found["yes"], found["state"]) == (["home-01", "home-02"], "open")
    later = Instant(starts + DAY_MS)
    books = Books.open(tmp_path / "ledger.db", own)
    village = Village(starts)
    for rows in village.slots(later):
        books.accept(rows)
    books.run_due(later)
    books.close(Instant(later + 1))
    assert "passed" in atoll("vote", "count", 1)
    assert "atoll_recount.py" in atoll("vote", "count", 1, "-o", tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text())["atoll_vote"] == 1
    assert time.time() < later / 1000
