"""House rules, held by a test: what is named, what is imported, what is shipped, what is documented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from controller.cli import VERBS, atoll, exit_code

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("controller", "devices", "optimizer", "firmware-sim/firmware_sim")
GENERATED = {ROOT / "devices" / "sparkplug_b_pb2.py"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

MODULES = sorted(
    path
    for folder in (*SHIPPED, "benchmarks", "verifier")
    for path in (ROOT / folder).rglob("*.py")
    if path not in GENERATED
)
TREES = {path: ast.parse(path.read_text()) for path in MODULES}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --------------------------------------------------------------------------------------------------- code


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}: {length} lines"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    ]
    assert not long, "\n".join(long)


def test_no_module_holds_more_than_one_idea() -> None:
    long = {name_of(path): n for path in MODULES if (n := len(path.read_text().splitlines())) > 600}
    assert not long


def test_modules_are_named_for_what_they_hold() -> None:
    vague = re.compile(r"^(utils?|helpers?|manager|base|common|misc)$")
    assert not [name_of(path) for path in MODULES if vague.match(path.stem) or vague.match(path.parent.name)]


def test_everything_is_caught_only_in_the_supervisor() -> None:
    broad = [
        f"{name_of(path)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and path.stem != "supervisor"
        if node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
    ]
    assert not broad


def test_every_module_opens_with_its_idea() -> None:
    assert not [name_of(path) for path, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]


def test_every_test_can_fail() -> None:
    """A test asserts, expects an exception, or calls a function of its file that does."""
    idle: list[str] = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        sharp = {node.name for node in functions if asserts(node)}
        idle += [
            f"{name_of(path)}:{node.lineno} {node.name}"
            for node in functions
            if node.name.startswith("test_") and not asserts(node) and not calls(node) & sharp
        ]
    assert not idle


def asserts(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Assert | ast.With | ast.AsyncWith) for part in ast.walk(node))


def calls(node: ast.AST) -> set[str]:
    return {ast.unparse(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}


# ---------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_is_documented(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([verb, "--help"]) == 0
    assert f"Usage: atoll {verb}" in capsys.readouterr().out
    pages = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
    assert f"atoll {verb}" in pages, f"`atoll {verb}` stands neither in README.md nor in docs/"


def test_every_verb_file_is_a_verb() -> None:
    defined = {
        path.stem
        for path, tree in TREES.items()
        if path.parent == ROOT / "controller" / "cli"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == path.stem and node.decorator_list
    }
    assert defined - {"__init__"} == set(VERBS)


def test_help_imports_none_of_the_heavy_packages() -> None:
    asked = (
        "import sys; from controller.cli import exit_code; exit_code(['--help']); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    heavy = {"apsw", "asyncio", "cryptography", "fastapi", "google", "jinja2", "numpy", "ortools", "paho", "pandas"}
    assert not loaded & (heavy | {"pydantic", "pymodbus", "sunspec2", "uvicorn", "devices", "optimizer"})


def test_verbs_stand_in_the_order_of_the_help() -> None:
    assert [*atoll.list_commands(None)] == [*VERBS]  # pyright: ignore[reportArgumentType]


# -------------------------------------------------------------------------------------------------- packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: list[str]) -> None:
    top = {name.partition("/")[0] for name in wheel if ".dist-info/" not in name}
    assert top == {"controller", "devices", "optimizer", "firmware_sim"}


def test_the_wheel_holds_the_data_files(wheel: list[str]) -> None:
    shipped = {
        name_of(path).removeprefix("firmware-sim/")
        for path in tracked()
        if path.suffix != ".py" and name_of(path).startswith(SHIPPED)
    }
    assert shipped <= set(wheel)
    for kind in (
        "devices/profiles/",
        "controller/console/templates/",
        "controller/console/static/",
        "firmware_sim/data/",
    ):
        assert any(name.startswith(kind) for name in shipped), kind


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_the_locks_pin_what_pyproject_asks_for() -> None:
    groups = PROJECT["dependency-groups"]
    asked = {
        "requirements.lock": [*PROJECT["project"]["dependencies"], *groups["build"]],
        "requirements-dev.lock": groups["dev"],
    }
    for lock, requirements in asked.items():
        pinned = pins(lock)
        for requirement in map(Requirement, requirements):
            version = pinned.get(canonicalize_name(requirement.name))
            assert requirement.specifier.contains(version or "0"), f"{requirement} in {lock}: run .ci/lock"


def test_the_two_locks_agree_and_hash_every_pin() -> None:
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name for name in runtime.keys() & dev.keys() if runtime[name] != dev[name]} == set()
    for lock in ("requirements.lock", "requirements-dev.lock"):
        entries = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
        assert entries
        assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]


def test_no_registry_host_stands_in_the_repository() -> None:
    hosts = [
        bytes(reversed(name)) for name in (b"gro.ipyp", b"gro.detsohnohtyp", b"gro.sjmpn", b"oi.rekcod", b"ed.orezip")
    ]
    found = [
        f"{name_of(path)}: {host.decode()}" for path in tracked() for host in hosts if host in path.read_bytes().lower()
    ]
    assert not found


def test_nothing_large_is_committed() -> None:
    large = {name_of(path): size for path in tracked() if (size := path.stat().st_size) > 4_000_000}
    assert not large


# --------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*/site.toml")), ids=lambda path: path.parent.name)
def test_every_example_site_has_no_problem(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = exit_code(["check", str(example)])
    assert code == 0, capsys.readouterr()


def test_every_product_profile_loads() -> None:
    from devices.profile import load_profile

    names = [path.stem for path in (ROOT / "devices" / "profiles").glob("*.toml")]
    assert names
    assert all(load_profile(name) for name in names)
