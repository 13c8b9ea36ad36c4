"""One device in the place of another: closing and opening registers, the site file, a record that two saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.check import read_text
from controller.cli.edited import save
from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import Place, device_of, trouble
from controller.cli.read import polled_now

if TYPE_CHECKING:
    from controller.ledger.canonical import Json
    from controller.ledger.identity import SigningKey as MemberKey
    from devices.model import DeviceSpec
    from devices.ocmf_keys import SigningKey as GatewayKey

REGISTERS = ("_wh", "_ml")


class Swap:
    """A replacement under way."""

    def __init__(
        self,
        id: str,
        site: Path,
        wanted: Mapping[str, str | int | None],
        closing: Sequence[str],
        folder: Path,
        key: MemberKey | GatewayKey,
    ) -> None:
        """`key` signs the record, which is kept in `folder`/commissioning."""
        self.folder, self.key = folder, key
        self.old = device_of(Place(site, "", 1, "", ""), id)
        self.site = site
        self.changed = {key: value for key, value in wanted.items() if value is not None}
        self.closing = _closing(closing)

    def run(self, by: str, witness: str, reason: str, *, dry_run: bool, as_json: bool) -> None:
        """Reads the registers, edits the site file, writes the record.

        Raises:
            Refusal: the new device does not answer, or a closing register is missing.
        """
        from controller.site_edit import with_keys

        text = read_text(self.site)
        after = with_keys(text, str(self.old.id), self.changed)
        new = self._new()
        opening = self._read(new, as_json)
        if self.changed and not self.closing:
            self.closing = self._last_words()
        missing = sorted(opening.keys() - self.closing.keys())
        if missing:
            said = f"the old meter does not answer, and nobody gave its last {', '.join(missing)}"
            hint = " ".join(f"--closing {point}=VALUE" for point in missing)
            raise Refusal(said, ExitCode.USAGE, hint=f"{hint}   off its display; two people read it")
        if not as_json:
            for point, value in opening.items():
                click.echo(f"  {point:<14} old meter ends at {self.closing[point]:g}, new one begins at {value:g}")
        if dry_run:
            save(self.site, text, after, dry_run=True, as_json=as_json)
            return
        save(self.site, text, after, dry_run=False, as_json=as_json)
        record = self._record(by, witness, reason, opening)
        if not as_json:
            click.echo(f"record: {record}\nnext: atoll commission {self.old.id} --site {self.site}")

    def _new(self) -> DeviceSpec:
        driver, endpoint, unit = (self.changed.get(key) for key in ("driver", "endpoint", "unit"))
        new = replace(self.old, driver=str(driver or self.old.driver), endpoint=str(endpoint or self.old.endpoint))
        return new if unit is None else replace(new, unit=int(unit))

    def _read(self, spec: DeviceSpec, as_json: bool) -> dict[str, float]:
        polled = polled_now(spec)
        if polled.fault is not None:
            raise trouble(spec, polled).tell(as_json)
        return {p: value for p, value in polled.values.items() if p.endswith(REGISTERS) and value is not None}

    def _last_words(self) -> dict[str, float]:
        """Returns the old meter's registers where it is still there."""
        polled = polled_now(self.old)
        values = {} if polled.fault is not None else polled.values
        return {p: value for p, value in values.items() if p.endswith(REGISTERS) and value is not None}

    def _record(self, by: str, witness: str, reason: str, opening: Mapping[str, float]) -> Path:
        from controller.shell.commission_record import FOLDER, signed, write_record

        at = datetime.now(UTC)
        document: dict[str, Json] = {
            "what": "replacement",
            "result": "replaced",
            "device": str(self.old.id),
            "at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "by": by,
            "witness": witness,
            "reason": reason,
            "before": {"driver": self.old.driver, "endpoint": self.old.endpoint, "unit": self.old.unit},
            "changed": {name: str(value) for name, value in self.changed.items()},
            "closing": {point: f"{value:.15g}" for point, value in self.closing.items()},
            "opening": {point: f"{value:.15g}" for point, value in opening.items()},
        }
        name = f"{self.old.id}-replaced-{at:%Y%m%dT%H%M%SZ}"
        try:
            return write_record(self.folder / FOLDER, name, signed(document, self.key))[0]
        except OSError as error:
            raise Refusal(f"the record cannot be written: {error}", ExitCode.CONFIG, hint="--data-dir DIR") from error


def _closing(texts: Sequence[str]) -> dict[str, float]:
    from devices.commissioning import NoValue, known_value

    found: dict[str, float] = {}
    for text in texts:
        point, equals, value = text.partition("=")
        if not equals or not point.endswith(REGISTERS):
            raise Refusal(f"--closing {text!r}: write import_wh=123.4kWh", ExitCode.USAGE)
        try:
            found[point] = known_value(point, value)
        except NoValue as error:
            raise Refusal(f"--closing {text!r}: {error}", ExitCode.USAGE) from error
    return found
