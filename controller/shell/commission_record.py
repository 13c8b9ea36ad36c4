"""The record of a device's commissioning: JSON that is signed, and a page to print beside it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from controller.ledger.canonical import Json, NotCanonical, encode
from controller.ledger.identity import BadSignature, message, sign_document, verify_document
from controller.ledger.identity import SigningKey as MemberKey
from devices.ocmf_keys import OWN_ALGORITHM, PublicKey, SigningKey, check_signature, read_public_key
from devices.shell.gateway_key import KEY_FILE
from devices.shell.run_clock import write_whole

PURPOSE = "commissioning"
GATEWAY = "gateway:"
"""Before the public key of a gateway, which is no did:key (another curve)."""
FOLDER = "commissioning"


def signed(document: Mapping[str, Json], key: MemberKey | SigningKey) -> dict[str, Json]:
    """Returns the document with the technician's or the gateway's signature over its canonical bytes."""
    if isinstance(key, MemberKey):
        return sign_document(PURPOSE, document, key)
    signature = key.sign(message(PURPOSE, encode(dict(document))))
    return {
        "document": dict(document),
        "purpose": PURPOSE,
        "signer": GATEWAY + key.public.text(),
        "signature": base64.b64encode(signature).decode(),
    }


def checked(paper: Json) -> tuple[str, Mapping[str, Json]]:
    """Returns (signer, document) of a record.

    Raises:
        BadSignature: it was altered, or is no such record.
    """
    if not isinstance(paper, dict) or not str(paper.get("signer", "")).startswith(GATEWAY):
        return verify_document(PURPOSE, paper)
    document, key = paper.get("document"), read_public_key(str(paper["signer"]).removeprefix(GATEWAY))
    if not isinstance(document, dict) or not isinstance(key, PublicKey):
        raise BadSignature("no document, or no key of a gateway")
    try:
        signature = base64.b64decode(str(paper.get("signature")), validate=True)
        data = message(PURPOSE, encode(document))
    except (ValueError, NotCanonical) as error:
        raise BadSignature(str(error)) from error
    if check_signature(data, signature, OWN_ALGORITHM, key) is not None:
        raise BadSignature("the signature is not this gateway's over this document")
    return str(paper["signer"]), cast("Mapping[str, Json]", document)


def gateway_key(data_dir: Path) -> SigningKey | None:
    """Returns the key of the one gateway of a data directory; None where there is none, or more than one."""
    found = sorted((*data_dir.glob(KEY_FILE), *data_dir.glob(f"*/{KEY_FILE}")))
    return SigningKey.from_pem(found[0].read_bytes()) if len(found) == 1 else None


def write_record(folder: Path, name: str, paper: Mapping[str, Json]) -> tuple[Path, Path]:
    """Writes NAME.json and NAME.html; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    record, page = folder / f"{name}.json", folder / f"{name}.html"
    write_whole(record, json.dumps(paper, indent=2, ensure_ascii=False) + "\n")
    write_whole(page, page_text(paper))
    return record, page


def page_text(paper: Mapping[str, Json]) -> str:
    """Returns the record as a page without scripts or outside parts, to print and to keep in the cabinet."""
    document = cast("Mapping[str, Json]", paper["document"])
    checks = cast("list[Mapping[str, Json]]", document.get("checks", []))
    facts = {key: value for key, value in document.items() if key != "checks"}
    rows = "\n".join(
        "<tr>"
        + "".join(f"<td>{_cell(check.get(key))}</td>" for key in ("name", "state", "read", "known", "said"))
        + "</tr>"
        for check in checks
    )
    head = "\n".join(f"<tr><th>{_cell(key)}</th><td>{_cell(value)}</td></tr>" for key, value in facts.items())
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{_cell(document.get("device"))}: {_cell(document.get("what"))}</title>
<style>body{{font:11pt sans-serif;margin:2cm}}table{{border-collapse:collapse;margin:0 0 1em}}
td,th{{border:1px solid #888;padding:.2em .6em;text-align:left}}code{{word-break:break-all}}</style>
<h1>{_cell(document.get("device"))}: {_cell(document.get("what"))}</h1>
<table>{head}</table>
<table><tr><th>check</th><th>state</th><th>read</th><th>display</th><th>said</th></tr>
{rows}</table>
<p>signed by <code>{_cell(paper["signer"])}</code><br>signature <code>{_cell(paper["signature"])}</code></p>
<p>Name, date and signature on paper: ______________________________</p>
</html>
"""


def _cell(value: Json) -> str:
    return html.escape("" if value is None else str(value))
