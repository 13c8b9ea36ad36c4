"""A kit, built from a small project and real registries, then installed in a network namespace without a route."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli import atoll
from controller.shell import kit
from controller.shell.key_file import new_key_file
from tests.controller.cli.test_launcher import StandIn

ROOT = Path(__file__).parents[3]
NO_ROUTE = ["unshare", "--net", "--map-root-user"]


def no_network(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command where not even the loopback is up, with no setting that names a kit or an index."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ATOLL_", "PIP_"))}
    return subprocess.run([*NO_ROUTE, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def pinned(*names: str) -> str:
    """Returns the lock's own blocks of some packages, hashes and all."""
    blocks = re.findall(r"^[a-z0-9-]+==(?:.*\\\n)+.*\n", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return "".join(block for block in blocks if block.partition("==")[0] in names)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Returns a kit of a stand-in project (click and a compiled wheel from the real lock), and its builder."""
    folder = tmp_path_factory.mktemp("kit")
    project = StandIn(folder)
    (project.root / "requirements.lock").write_text(pinned("click", "markupsafe"))
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", *who, *words], cwd=project.root, check=True, capture_output=True)
    key = new_key_file(folder / "builder.pem")
    kit.build(project.root, folder / "out", kit.target("this"), key, lambda _: None, debian=False)
    return folder / "out", key.did


def copied(built: tuple[Path, str], folder: Path) -> Path:
    shutil.copytree(built[0], folder / "carried over", symlinks=True)
    return folder / "carried over"


@pytest.mark.needs("unshare")
def test_a_kit_installs_where_there_is_no_route_and_no_ensurepip(built: tuple[Path, str], tmp_path: Path) -> None:
    place = copied(built, tmp_path)
    assert no_network("true", cwd=place).returncode == 0, "this machine allows no network namespace: CI must"
    lost = no_network("python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9))", cwd=place)
    assert "Network is unreachable" in lost.stderr, "there is a route, so the test would prove nothing"
    done = no_network("./atoll", "version", cwd=place)
    assert (done.returncode, done.stdout) == (0, f"ran version in {place}\n"), done.stderr
    found = subprocess.run(
        [place / ".venv/bin/python3", "-c", "import click, markupsafe._speedups, pip; print(pip.__file__)"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.startswith(str(place / ".venv")), found.stderr
    assert kit.problems(place, [built[1]]) == [], "what the start made is no fault of the kit"


def test_what_sha256sum_says_of_a_kit_is_what_we_say(built: tuple[Path, str]) -> None:
    folder, builder = built
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert kit.problems(folder, [builder]) == []
    assert [path.name for path in (folder / "kit/wheels").glob("pip-*.whl")], "pip is in the kit"


def change_a_wheel(folder: Path) -> str:
    wheel = next((folder / "kit/wheels").glob("click-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"?")
    return f"kit/wheels/{wheel.name} was changed"


def add_a_file(folder: Path) -> str:
    (folder / "backdoor.py").write_text("")
    return "backdoor.py is not in SHA256SUMS"


def lose_a_file(folder: Path) -> str:
    (folder / "pyproject.toml").unlink()
    return "pyproject.toml is missing"


def list_it_too(folder: Path) -> str:
    add_a_file(folder)
    sums = folder / kit.SUMS
    sums.write_text(sums.read_text() + f"{kit.digest(folder / 'backdoor.py')}  backdoor.py\n")
    return "the signature in SIGNATURE.json is not did:key:"


def sign_it_oneself(folder: Path) -> str:
    add_a_file(folder)
    kit.seal(folder, new_key_file(folder.parent / "other.pem"))
    return "who is not among the trusted builders"


@pytest.mark.parametrize("spoil", [change_a_wheel, add_a_file, lose_a_file, list_it_too, sign_it_oneself])
def test_a_kit_that_somebody_touched_is_refused(
    built: tuple[Path, str], tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    place = copied(built, tmp_path)
    said = spoil(place)
    assert [said in problem for problem in kit.problems(place, [built[1]])] == [True]
    done = CliRunner().invoke(atoll, ["kit", "verify", str(place), "--trust", built[1]])
    assert done.exit_code == 6
    assert said in done.output


def test_a_folder_in_use_or_without_history_makes_no_kit(tmp_path: Path) -> None:
    key = new_key_file(tmp_path / "key.pem")
    with pytest.raises(kit.KitFailed, match="not empty"):
        kit.build(ROOT, tmp_path, kit.target("pi"), key, lambda _: None)
    with pytest.raises(kit.KitFailed, match="not a git checkout"):
        kit.build(Path("/"), tmp_path / "new", kit.target("pi"), key, lambda _: None)


@pytest.mark.deep
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("wanted", ["pi", "this"])
def test_the_whole_kit_is_complete_and_the_one_for_this_machine_runs(wanted: str, tmp_path: Path) -> None:
    key = new_key_file(tmp_path / "key.pem")
    folder = tmp_path / "kit"
    kit.build(ROOT, folder, kit.target(wanted), key, lambda _: None)
    pins = (folder / "requirements.lock").read_text().count("==") - 1  # colorama is Windows's
    wheels = [path.name for path in (folder / "kit/wheels").glob("*.whl")]
    assert len({name.partition("-")[0].lower() for name in wheels}) == pins + 1, "every pin, and pip"
    packages = [path.name for path in (folder / "kit/debian").rglob("*.deb")]
    assert len([name for name in packages if name.startswith("mosquitto_")]) == len(kit.target(wanted).releases)
    assert not any(name.startswith(("libc6_", "systemd_")) for name in packages)
    if wanted == "this":
        done = no_network("./atoll", "check", "examples/village/site.toml", cwd=folder)
        assert done.returncode == 0, done.stderr
