"""The launcher, run for real on a stand-in project whose lock names two tiny wheels: no network, seconds."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[3] / "atoll"

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "atoll"
version = "1"
"""
BACKEND = """
import zipfile
from pathlib import Path

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    files = {
        "verb.py": "import os, sys\\ndef main(): print('ran', *sys.argv[1:], 'in', os.getcwd())",
        "atoll-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: atoll\\nVersion: 1\\n",
        "atoll-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any",
        "atoll-1.dist-info/entry_points.txt": "[console_scripts]\\natoll = verb:main\\n",
    }
    files["atoll-1.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in [*files, "atoll-1.dist-info/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory) / "atoll-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "atoll-1-py3-none-any.whl"
"""


def make_wheel(kit: Path, name: str) -> str:
    """Puts a wheel with one module into the kit and returns its line for a lock."""
    info = f"{name}-1.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        for path, text in files.items()
    ]
    path = kit / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inner, text in files.items():
            wheel.writestr(inner, text)
        wheel.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return f"{name}==1 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class StandIn:
    """A folder with the launcher, a lock and a kit."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self.kit = folder / "a kit"
        self.root.mkdir(parents=True)
        self.kit.mkdir()
        shutil.copy(LAUNCHER, self.root / "atoll")
        (self.root / "pyproject.toml").write_text(PROJECT)
        (self.root / "backend.py").write_text(BACKEND)
        (self.root / "requirements.lock").write_text(make_wheel(self.kit, "one") + make_wheel(self.kit, "two"))
        (self.root / "requirements-dev.lock").write_text(make_wheel(self.kit, "three"))

    def start(self, *arguments: str, program: Path | None = None, cwd: Path | None = None, **env: str) -> Ended:
        child = self.begin(*arguments, program=program, cwd=cwd, **env)
        out, err = child.communicate(timeout=60)
        return Ended(child.returncode, out, err)

    def begin(
        self, *arguments: str, program: Path | None = None, cwd: Path | None = None, **env: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [program or self.root / "atoll", *arguments],
            cwd=cwd or self.root,
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), "ATOLL_KIT": str(self.kit), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class Ended:
    """How a start ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture(scope="module")
def first_starts(tmp_path_factory: pytest.TempPathFactory) -> tuple[StandIn, list[Ended]]:
    """A stand-in whose first three starts happened at once."""
    stand_in = StandIn(tmp_path_factory.mktemp("launcher"))
    children = [stand_in.begin("version", str(number)) for number in range(3)]
    ended = [(*child.communicate(timeout=60), child.returncode) for child in children]
    return stand_in, [Ended(code, out, err) for out, err, code in ended]


@pytest.fixture(scope="module")
def made(first_starts: tuple[StandIn, list[Ended]]) -> StandIn:
    return first_starts[0]


def test_three_first_starts_at_once_make_one_environment(first_starts: tuple[StandIn, list[Ended]]) -> None:
    stand_in, ended = first_starts
    assert [start.code for start in ended] == [0, 0, 0], [start.err for start in ended]
    assert [start.out for start in ended] == [f"ran version {n} in {stand_in.root}\n" for n in range(3)]
    assert sum("making .venv" in start.err for start in ended) == 1


def test_a_later_start_is_silent_and_keeps_folder_arguments_and_exit_code(made: StandIn, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(os.path.relpath(made.root / "atoll", tmp_path))
    start = made.start("check", "a b", program=link, cwd=tmp_path)
    assert (start.code, start.out, start.err) == (0, f"ran check a b in {tmp_path}\n", "")


def test_a_changed_lock_is_installed_into_the_same_environment(made: StandIn) -> None:
    lock = made.root / "requirements.lock"
    lock.write_text(lock.read_text() + make_wheel(made.kit, "four"))
    start = made.start()
    assert start.code == 0, start.err
    assert "making .venv" not in start.err
    assert list(made.root.glob(".venv/lib/python3*/site-packages/four.py"))
    assert made.start().err == ""


def test_the_test_tools_come_only_when_asked_for(made: StandIn) -> None:
    assert not list(made.root.glob(".venv/lib/python3*/site-packages/three.py"))
    start = made.start(ATOLL_SETUP="dev")
    assert (start.code, start.out) == (0, ""), start.err
    assert list(made.root.glob(".venv/lib/python3*/site-packages/three.py"))


def test_a_kit_without_a_wheel_is_named_and_a_full_one_mends_it(made: StandIn) -> None:
    lock = made.root / "requirements.lock"
    lock.write_text(lock.read_text() + make_wheel(made.kit, "five"))
    shutil.move(made.kit / "five-1-py3-none-any.whl", made.kit / "away")
    start = made.start()
    assert start.code == 3
    assert "five==1" in start.err
    assert "does not hold all" in start.err
    assert "Traceback" not in start.err

    shutil.move(made.kit / "away", made.kit / "five-1-py3-none-any.whl")
    start = made.start()
    assert start.code == 0, start.err
    assert "making .venv" in start.err, "an unfinished environment is made anew"


def test_a_tampered_wheel_is_refused(made: StandIn) -> None:
    lock = made.root / "requirements.lock"
    good = lock.read_text()
    lock.write_text(good + make_wheel(made.kit, "six"))
    (made.kit / "six-1-py3-none-any.whl").write_bytes((made.kit / "five-1-py3-none-any.whl").read_bytes())
    assert made.start().code == 3


def test_a_folder_that_is_no_kit_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    stand_in = StandIn(tmp_path)
    start = stand_in.start(ATOLL_KIT=str(tmp_path))
    assert (start.code, (stand_in.root / ".venv").exists()) == (3, False)
    assert "holds no wheels" in start.err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Python 3.9.2 64 bit", "needs Python 3.11 or newer"),
        ("Python 3.11.2 32 bit", "needs a 64-bit system"),
        ("", "there is no python3"),
    ],
)
def test_an_unfit_python_is_named(tmp_path: Path, answer: str, said: str) -> None:
    stand_in = StandIn(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "cut", "dirname", "flock", "id", "ls", "readlink", "rm", "sha256sum", "mkdir"):
        if path := shutil.which(name):
            (tools / name).symlink_to(path)
    if answer:
        (tools / "python3").write_text(f'#!/bin/sh\ncase $2 in *platform*) echo "{answer}" ;; *) exit 1 ;; esac\n')
        (tools / "python3").chmod(0o755)
    start = stand_in.start(PATH=str(tools))
    assert start.code == 3
    assert said in start.err
    assert answer in start.err


def test_a_missing_venv_module_is_named_where_nothing_may_be_installed(tmp_path: Path) -> None:
    stand_in = StandIn(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").write_text("#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; *) exit 0 ;; esac\n")
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "sudo").write_text("#!/bin/sh\nexit 1\n")
    (tools / "apt-get").write_text("#!/bin/sh\nexit 99\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    start = stand_in.start(PATH=f"{tools}:{os.environ['PATH']}")
    assert start.code == 5
    assert "sudo apt-get install python3-venv" in start.err
