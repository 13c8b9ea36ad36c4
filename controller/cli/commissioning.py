"""One commissioning under way: questions to the technician, polls, the site file's lock, the record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.check import read_text
from controller.cli.errors import ExitCode, Refusal
from controller.cli.field import Place, device_of, trouble
from controller.cli.read import polled_now
from controller.cli.remote import data_dir_of

if TYPE_CHECKING:
    from controller.ledger.canonical import Json
    from controller.ledger.identity import SigningKey as MemberKey
    from devices.commissioning import Check
    from devices.ocmf_keys import SigningKey
    from devices.plausible import Sample
    from devices.profile import Profile
    from devices.shell.field_bus import Polled

NOTE = "# read_only until it is put into service: atoll commission "


def signing_key(folder: Path, file: Path | None, passphrase: str) -> MemberKey | SigningKey:
    """Returns the key that signs a record: a technician's own file, or the key of the gateway on this machine.

    Raises:
        Refusal: there is none.
    """
    from controller.shell.commission_record import gateway_key
    from controller.shell.key_file import KeyFileProblem, read_key_file

    try:
        key = gateway_key(folder) if file is None else read_key_file(file, passphrase)
    except (KeyFileProblem, ValueError, OSError) as error:
        raise Refusal(str(error), ExitCode.CONFIG, hint="atoll key new FILE") from error
    if key is None:
        hint = "--key FILE (atoll key new FILE makes one), or --data-dir of the gateway on this machine"
        raise Refusal("who signs the record?", ExitCode.USAGE, hint=hint)
    return key


@dataclass(frozen=True, slots=True)
class Answers:
    """What the technician said beforehand: of the E-stop (`works`, `fails`), of trip settings (`inside`, `outside`)."""

    estop: str | None = None
    trips: str | None = None


class Session:
    """One device, one technician, one visit."""

    def __init__(self, id: str, site: Path, data_dir: Path | None, by: str, *, quiet: bool) -> None:
        self.spec = device_of(Place(site, "", 1, "", ""), id)
        self.site = site
        self.folder = data_dir_of(data_dir)
        self.by = by
        self.quiet = quiet
        self.passed = False
        self.known: dict[str, float] = {}
        self.key: MemberKey | SigningKey | None = None

    def broker_login(self) -> str:
        """Returns the device's own login at the broker, for its settings; on the hub's machine with the password."""
        from controller.cli.sites import load_site
        from controller.shell.broker_access import prepare_access
        from devices.logins import device_login
        from devices.shell.broker_login import FOLDER

        name = device_login(self.spec.id)
        password = ""
        if (self.folder / FOLDER).exists():
            password = prepare_access(load_site(self.site), self.folder).passwords.get(name, "")
        shown = f"user {name} password {password}" if password else f"at the hub: atoll access show {self.spec.id}"
        return f"its own login at the broker, for its settings: {shown}"

    def take_key(self, file: Path | None, passphrase: str) -> None:
        """Finds the key that signs, before anything is asked.

        Raises:
            Refusal: there is none.
        """
        self.key = signing_key(self.folder, file, passphrase)

    def give(self, known: Sequence[str]) -> None:
        """Takes what was read off the display beforehand: `POINT=VALUE`.

        Raises:
            Refusal: one is none.
        """
        from devices.commissioning import NoValue, known_value

        for text in known:
            point, equals, value = text.partition("=")
            if not equals:
                raise Refusal(f"--known {text!r}: write POINT=VALUE", ExitCode.USAGE, hint="--known import_wh=123.4kWh")
            try:
                self.known[point] = known_value(point, value)
            except NoValue as error:
                raise Refusal(f"--known {text!r}: {error}", ExitCode.USAGE) from error

    def run(self, answers: Answers, watch_s: float) -> list[Check]:
        """Returns every check, in the order of the work: E-stop, plausibility, trip settings, known values."""
        from devices.commissioning import check_nominal, check_stop, from_verdicts, passed, settle_zeros, wanted
        from devices.model import WRITABLE
        from devices.plausible import judge

        estop = answers.estop
        if estop is None and self.spec.kind in WRITABLE and not self.quiet:
            estop = self._ask_stop()
        checks = check_stop(self.spec.kind, estop or "")
        if estop == "fails":
            return checks  # nothing else matters before it can be stopped
        samples, polled = self._watch(watch_s)
        checks += from_verdicts(judge(self.spec.kind, samples))
        checks += check_nominal(polled.values)
        checks += self._check_trips(answers.trips)
        unknown = sorted(self.known.keys() - polled.values.keys())
        if unknown:
            there = ", ".join(polled.values)
            raise Refusal(f"{self.spec.id} has no point {unknown[0]!r}", ExitCode.USAGE, hint=f"there are {there}")
        points = list(dict.fromkeys([*wanted(self.spec, polled.values), *self.known]))
        values = [self._compare(point, polled) for point in points]
        checks += settle_zeros(values, _profile(polled))
        self.passed = passed(checks)
        return checks

    def _ask_stop(self) -> str:
        click.echo(f"E-stop first. Press the E-stop (or pull the release) of {self.spec.id}.")
        if not click.confirm("Is the output dead now?", default=False):
            return "fails"
        return "works" if click.confirm("Release it. Does the output stay off?", default=False) else "fails"

    def _check_trips(self, shown: str | None) -> list[Check]:
        """Compares an inverter's trip settings with the site's limits; what the wire does not show is asked for."""
        from controller.cli.sites import load_site
        from devices.commissioning import State
        from devices.model import DeviceKind
        from devices.trip_limits import check_trips

        limits = load_site(self.site).energy.trip_limits
        if not limits or self.spec.kind not in (DeviceKind.PV, DeviceKind.BATTERY):
            return []
        curves = polled_now(self.spec, curves=True).curves if self.spec.driver == "sunspec" else []
        checks = check_trips(limits, curves, shown or "")
        unseen = [check for check in checks if check.state is State.OPEN]
        if not unseen or shown is not None or self.quiet:
            return checks
        for limit in limits:
            click.echo(f"  {limit.text}: {limit.allowed}")
        inside = click.confirm("The wire does not show all of its trip settings. Are they inside these?", default=False)
        return check_trips(limits, curves, "inside" if inside else "outside")

    def _poll(self) -> Polled:
        polled = polled_now(self.spec)
        if polled.fault is not None:
            raise trouble(self.spec, polled).tell(as_json=False)
        return polled

    def _watch(self, watch_s: float) -> tuple[list[Sample], Polled]:
        from devices.plausible import Sample

        count = 1 if watch_s < 1 else 4
        if count > 1 and not self.quiet:
            click.echo(f"watching {self.spec.id} for {watch_s:g} s")
        started = time.monotonic()
        samples: list[Sample] = []
        while True:
            polled = self._poll()
            samples.append(Sample(round((time.monotonic() - started) * 1000), polled.values))
            if len(samples) == count:
                return samples, polled
            time.sleep(watch_s / (count - 1))

    def _compare(self, point: str, polled: Polled) -> Check:
        """A value that moves may fit what was read before the technician looked, or after."""
        from devices.commissioning import State, check_point

        asked = point not in self.known and not self.quiet
        if asked:
            self._ask_value(point)
        known = self.known.get(point)
        profile = _profile(polled)
        first = check_point(point, polled.values.get(point), known, profile, _registers(polled, point))
        if not asked or first.state is not State.FAILED:
            return first
        again = self._poll()
        second = check_point(point, again.values.get(point), known, profile, _registers(again, point))
        return second if second.state is State.PASSED else first

    def _ask_value(self, point: str) -> None:
        from devices.commissioning import NoValue, known_value, unit_of

        unit = unit_of(point)
        sign = "; taking or charging is positive, giving negative" if point == "W" else ""
        while True:
            text = str(click.prompt(f"{point}: what does its display show [{unit}{sign}] (- = cannot be read)"))
            if text.strip() == "-":
                return
            try:
                self.known[point] = known_value(
                    point, text if text.strip()[-1:].isalpha() or "%" in text else text + unit
                )
            except NoValue as error:
                click.echo(str(error))
            else:
                return

    def finish(self, checks: Sequence[Check]) -> tuple[Path, Path, str]:
        """Arms or disarms the device in the site file and writes the record; returns both files and what was done."""
        from controller.shell.commission_record import FOLDER, signed, write_record

        armed = self._arm()
        assert self.key is not None, "take_key was called"
        document = self._document(checks, armed)
        at = datetime.now(UTC)
        try:
            record, page = write_record(
                self.folder / FOLDER, f"{self.spec.id}-{at:%Y%m%dT%H%M%SZ}", signed(document, self.key)
            )
        except OSError as error:
            raise Refusal(f"the record cannot be written: {error}", ExitCode.CONFIG, hint="--data-dir DIR") from error
        return record, page, armed

    def _arm(self) -> str:
        from controller.shell.site_change import last_good
        from controller.site import check
        from controller.site_edit import with_keys
        from devices.model import WRITABLE
        from devices.shell.run_clock import write_whole

        if self.spec.kind not in WRITABLE:
            return ""
        before = read_text(self.site)
        after = with_keys(before, str(self.spec.id), {"read_only": None if self.passed else True})
        if self.passed:
            after = after.replace(f"{NOTE}{self.spec.id}\n", "")
        if after != before and not check(after, str(self.site))[1]:
            write_whole(last_good(self.site), before)
            write_whole(self.site, after)
        return "armed: read_only was taken from the site file" if self.passed else "not armed: read_only = true"

    def _document(self, checks: Sequence[Check], armed: str) -> Mapping[str, Json]:
        rows: list[Json] = [
            {"name": c.name, "state": str(c.state), "read": _text(c.read), "known": _text(c.known), "said": c.said}
            for c in checks
        ]
        return {
            "what": "commissioning",
            "device": str(self.spec.id),
            "kind": str(self.spec.kind),
            "driver": self.spec.driver,
            "endpoint": self.spec.endpoint,
            "unit": self.spec.unit,
            "site": self.site.name,
            "by": self.by,
            "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "result": "passed" if self.passed else "not passed",
            "armed": armed,
            "checks": rows,
        }


def _text(value: float | None) -> str | None:
    """A canonical document holds no floats."""
    return None if value is None else f"{value:.10g}"


def _profile(polled: Polled) -> Profile | None:
    from devices.profile import ProfileDriver, present_scales

    return present_scales(polled.driver.profile, polled.last) if isinstance(polled.driver, ProfileDriver) else None


def _registers(polled: Polled, point: str) -> tuple[int, ...] | None:
    """Returns the registers that a point is made of, out of the blocks that were read."""
    from devices.model import BusFault

    profile = _profile(polled)
    found = None if profile is None else next((one for one in profile.points if one.name == point), None)
    if found is None:
        return None
    for function, address, answer in polled.blocks:
        if function == found.function and not isinstance(answer, BusFault):
            start = found.address - address
            if start >= 0 and start + found.size <= len(answer):
                return answer[start : start + found.size]
    return None
