"""Charter files: sound ones have one canonical form; each kind of mistake is found at its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.charter_check import Kind, check
from controller.charter_file import base, charter_document
from controller.ledger.canonical import decode, encode
from controller.site import load

FOLDER = Path(__file__).parents[2] / "examples" / "charters"
TODAY = (FOLDER / "today.toml").read_text()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_are_sound_and_canonical(path: Path) -> None:
    file, found = check(path.read_text())
    assert found == []
    assert file is not None
    data = encode(charter_document(file))
    assert encode(decode(data)) == data
    assert b'"recomputable":{"price":"household","sharing":"household"}' in data


def test_comments_and_order_do_not_change_the_proposal() -> None:
    first, _ = check(TODAY)
    second, _ = check("# another comment\n" + TODAY.replace("minor_digits = 2\n", "").replace("schema = 1", "schema=1"))
    assert first is not None
    assert second is not None
    assert encode(charter_document(first)) == encode(charter_document(second))


def test_todays_charter_is_what_the_example_village_settles_by() -> None:
    file, _ = check(TODAY)
    assert file is not None
    place = FOLDER.parent / "village" / "site.toml"
    village = load(place.read_text(), str(place))
    assert replace(base(file), valid_from=village.charter.valid_from) == village.charter


EVERY = 'days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]'
CASES = [
    ('key = "proportional"', 'key = "own-key"\nslots = [{}]', Kind.LAB_ONLY, "sharing"),
    ('rule = "flat"\nlocal_price = 140000', 'rule = "shapley"\nsamples = 2\nseed = 1', Kind.LAB_ONLY, "price"),
    ('owner = "community"', 'owner = "depositor"', Kind.GAP, "storage"),
    ('losses = "community"', 'losses = "community"\npoints = ["battery-1"]', Kind.UNREACHABLE, "storage.points"),
    ('losses = "community"', 'losses = "use"\npoints = ["b", "b"]', Kind.CONTRADICTION, "storage.points"),
    ('losses = "community"', 'losses = "everybody"', Kind.SYNTAX, "storage.losses"),
    ('losses = "community"', 'losses = "depositor"', Kind.GAP, "storage"),
    ("local_price = 140000", "local_price = 220000", Kind.CONTRADICTION, "price.local_price"),
    ("local_price = 140000", "local_price = 40000", Kind.CONTRADICTION, "price.local_price"),
    ('to = "06:00"', 'to = "07:00"', Kind.CONTRADICTION, "band[1]"),
    ('to = "06:00"', 'to = "05:00"', Kind.GAP, "band[0]"),
    ('from = "17:00"', 'from = "24:00"', Kind.UNREACHABLE, "band[2]"),
    ('rule = "flat"', 'rule = "mid-market"', Kind.UNREACHABLE, "price.local_price"),
    ('key = "proportional"', 'key = "proportional"\nclasses = { clinic = 0 }', Kind.UNREACHABLE, "sharing.classes"),
    ('key = "proportional"', 'key = "static"', Kind.GAP, "sharing"),
    ('key = "proportional"', 'key = "shared-energy"', Kind.CONTRADICTION, "price.rule"),
    ("approvals = 2", "approvals = 4", Kind.UNREACHABLE, "quorum.approvals"),
    ("price = 60000", "price = 260000", Kind.CONTRADICTION, "lifeline.price"),
    ("\nwater_price = 500000", "\nwater_price = 1900000", Kind.CONTRADICTION, "lifeline.water_price"),
    ('home-01 = "600000000"', 'home-01 = "600000001"', Kind.CONTRADICTION, "vector[0].near"),
    ("export_price = 50000", "export_price = 250000", Kind.CONTRADICTION, "band[0].import_price"),
    ("version = 1", "versoin = 1", Kind.UNREACHABLE, "versoin"),
    ("export_price = 50000\n", "", Kind.GAP, "export_price"),
    ("export_price = 50000", "export_price = 0.05", Kind.SYNTAX, "export_price"),
    ("2026-01-01T00:00:00Z", "tomorrow", Kind.SYNTAX, "valid_from"),
    ("Europe/Berlin", "Europe/Nowhere", Kind.SYNTAX, "timezone"),
    ("\n[price]", '\nvalid_to = "2025-01-01T00:00:00Z"\n[price]', Kind.UNREACHABLE, "sharing.valid_to"),
    ("slot_min = 15", 'slot_min = 15\nvalid_to = "2025-01-01T00:00:00Z"', Kind.CONTRADICTION, "valid_to"),
    (
        'key = "proportional"',
        'key = "participation"\ncommunities = ['
        '{ name = "a", default_percent = 70 }, { name = "b", default_percent = 40 }]',
        Kind.CONTRADICTION,
        "sharing.communities",
    ),
]


@pytest.mark.parametrize(("old", "new", "kind", "place"), CASES)
def test_a_mistake_is_found_where_it_stands(old: str, new: str, kind: Kind, place: str) -> None:
    assert old in TODAY
    _, found = check(TODAY.replace(old, new, 1))
    texts = [clause.text("c.toml") for clause in found if clause.kind is kind]
    assert any(f" {place}: " in text for text in texts), [clause.text("c.toml") for clause in found]


def test_a_finding_has_its_line_and_a_month() -> None:
    text = TODAY.replace("local_price = 140000", "local_price = 220000")
    _, found = check(text)
    clause = next(clause for clause in found if clause.path == ("price", "local_price"))
    assert text.splitlines()[clause.line - 1] == "local_price = 220000"
    assert clause.month == "2026-01"


def test_text_that_is_no_toml_is_a_finding() -> None:
    file, found = check("schema = [")
    assert file is None
    assert [clause.kind for clause in found] == [Kind.SYNTAX]
    wrong = TODAY.replace("export_price = 50000", "export_price : 50000")
    (clause,) = check(wrong)[1]
    assert wrong.splitlines()[clause.line - 1] == "export_price : 50000"
    assert clause.fix == "write: export_price = 50000"


def test_a_value_of_another_kind_is_told_in_words_with_what_to_write() -> None:
    for old, new, message, fix in (
        ("export_price = 50000", "export_price = 0.05", "0.05 is no whole number", "currency: 50000"),
        ("export_price = 50000", 'export_price = "5"', "'5' is no whole number", "write a whole number"),
        ('bill_period = "day"', 'bill_period = "year"', "'year' is not known here", "'day', 'week' or 'month'"),
        ("late_window_h = 6", "late_window_h = 0", "0 is out of range", "write at least 1"),
    ):
        assert old in TODAY
        (clause,) = check(TODAY.replace(old, new, 1))[1]
        assert clause.message == message
        assert fix in clause.fix


def test_a_list_of_tables_that_nothing_reads_has_its_line_and_a_site_file_is_no_charter() -> None:
    text = f"{TODAY}\n[[foo]]\na = 1\n[[foo]]\na = 2\n"
    (clause,) = check(text)[1]
    assert text.splitlines()[clause.line - 1] == "[[foo]]"
    _, found = check((Path(__file__).parents[2] / "examples" / "village" / "site.toml").read_text())
    assert [clause.message for clause in found] == [
        "this is a site file, not a charter file: the rules in its [charter] are written otherwise"
    ]
