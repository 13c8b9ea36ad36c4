"""Files of banks as banks write them: nothing is booked as something else than what the file says."""

from __future__ import annotations

import pytest

from controller.money.bank_csv import BadMap, BankFile, amount_text, decoded, parse_map, read_bank
from controller.money.cashbook import CashBook

BOOK = CashBook(members={"home-01": "household", "home-02": "household"})
MAP = parse_map("date=Datum,amount=Betrag,ref=Ref,member=Text")
HEAD = "Datum;Betrag;Ref;Text"


def read(*rows: str, head: str = HEAD, decimal: str = ",") -> BankFile:
    return read_bank("\r\n".join((head, *rows)) + "\r\n", MAP, BOOK, decimal)


@pytest.mark.parametrize(
    ("text", "decimal", "found"),
    [
        ("1.234,50", ",", "1234.50"),
        ("+1 234.50 EUR", ".", "1234.50"),
        ("1'234.50", ".", "1234.50"),
        ("1\u00a0234,5 €", ",", "1234.5"),
        ("-3,00", ",", "-3.00"),
        ("3,00-", ",", "-3.00"),
        ("(3.00)", ".", "-3.00"),
        ("\u22123,00", ",", "-3.00"),
        ("EUR 20", ".", "20"),
        ("20,50", ".", ""),  # a decimal comma, read as a group sign, would be 2050
        ("1.2345,00", ",", ""),
        ("20.00 DR", ".", ""),
        ("20.00 USD", ".", ""),
        ("--20", ".", ""),
        ("(-20)", ".", ""),
        ("1e3", ".", ""),
        ("", ".", ""),
    ],
)
def test_an_amount_is_read_as_it_is_meant_or_not_at_all(text: str, decimal: str, found: str):
    assert amount_text(text, decimal, "EUR") == found


def test_money_that_went_out_is_never_booked_as_paid():
    found = read("30.06.2026;(20,00);R1;home-01", "30.06.2026;20,00-;R2;home-01", "30.06.2026;\u221220,00;R3;home-01")
    assert (found.lines, found.bad, found.skipped) == ((), (), 3)


def test_a_wrong_decimal_sign_is_named_instead_of_a_hundred_times_the_amount():
    found = read("30.06.2026;20,50;R1;home-01", decimal=".")
    assert found.lines == ()
    assert "'20,50' is none in EUR" in found.bad[0].message


def test_a_line_break_inside_quotes_belongs_to_the_field():
    found = read('30.06.2026;"20,00";R1;"Strom\nhome-01\r\nDanke; Maria"', "30.06.2026;5,00;R2;home-02")
    assert [(one.amount, one.ref, one.member) for one in found.lines] == [
        ("20.00", "R1", "home-01"),
        ("5.00", "R2", "home-02"),
    ]
    assert found.bad == ()


def test_a_quote_that_is_never_closed_swallows_nothing():
    with pytest.raises(BadMap, match=r"line 4: .*quote"):
        read('30.06.2026;20,00;R1;"home-01', "30.06.2026;5,00;R2;home-02", "30.06.2026;6,00;R3;home-02")


def test_a_decimal_comma_without_quotes_shifts_no_field():
    head = "Datum,Text,Ref,Betrag"
    found = read("2026-06-30,home-01,R1,20,50", "2026-06-30,home-02,R2,7", head=head)
    assert [one.amount for one in found.lines] == ["7"]
    assert found.bad[0].message.startswith("5 fields under 4 columns")


def test_the_header_may_stand_below_the_account_and_empty_lines_are_no_payments():
    text = f'"Konto:";"DE12"\n\n"Kontostand;alt";1,00\n{HEAD}\n30.06.2026;20,00;R1;home-01\n;;;\n'
    found = read_bank(text, MAP, BOOK, ",")
    assert [(one.line, one.ref) for one in found.lines] == [(5, "R1")]
    assert found.bad == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_encodings_and_separators(encoding: str, separator: str):
    rows = ("Datum;Betrag;Ref;Text", "30.06.2026;20;R1;Grüße, home-01".replace(", ", " "))
    data = "\r\n".join(rows).replace(";", separator).encode(encoding)
    (line,) = read_bank(decoded(data), MAP, BOOK, ",").lines
    assert (line.amount, line.member, line.date) == ("20", "home-01", "2026-06-30")


def test_one_reference_in_other_letters_is_the_same():
    found = read("30.06.2026;20,00;RF 18 a;home-01", "30.06.2026;20,00;rf18A;home-01")
    assert (len(found.lines), found.bad[0].message) == (1, "reference 'rf18A' stands on line 2 too")


def test_a_quoted_file_of_another_separator():
    found = read_bank('"Datum";"Betrag";"Ref";"Text"\n"30.06.2026";"1.000,00";"R1";"home-01"\n', MAP, BOOK, ",")
    assert [one.amount for one in found.lines] == ["1000.00"]
    with pytest.raises(BadMap, match="no column Ref, Text; it has Datum, Betrag"):
        read_bank("Datum;Betrag\n", MAP, BOOK, ",")


def test_an_empty_file_is_called_empty():
    with pytest.raises(BadMap, match="the file is empty"):
        read_bank("", MAP, BOOK, ",")
