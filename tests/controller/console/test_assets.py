"""What is vendored is what the registry has, whole and licensed; our own part is small."""

from __future__ import annotations

import base64
import hashlib
import tomllib
from importlib import resources

import pytest

from controller.console.assets import MissingAsset, load

STATIC = resources.files("controller.console").joinpath("static")
VENDOR = STATIC.joinpath("vendor")
LOCK = tomllib.loads(VENDOR.joinpath("assets.lock").read_text())


def test_every_vendored_file_is_locked_and_unchanged() -> None:
    locked = {file["path"]: file["sha256"] for package in LOCK["package"] for file in package["file"]}
    present = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in VENDOR.iterdir()
        if file.name != "assets.lock"
    }
    assert present == locked


@pytest.mark.parametrize("package", LOCK["package"], ids=lambda package: package["name"])
def test_every_package_has_version_integrity_and_licence(package: dict) -> None:
    kind, _, digest = package["integrity"].partition("-")
    assert kind == "sha512"
    assert len(base64.b64decode(digest)) == 64
    assert package["version"]
    assert package["licence"] in ("MIT", "0BSD")
    assert any("LICENSE" in file["path"] for file in package["file"])


def test_addresses_change_with_the_content() -> None:
    assets = load()
    asset = assets.find(assets.url("atoll.css"))
    assert asset is not None
    assert hashlib.sha256(asset.body).hexdigest().startswith(asset.url.split("/")[2])
    assert assets.find("/static/000000000000/atoll.css") is None
    with pytest.raises(MissingAsset, match=r"atoll\.css"):
        assets.url("nothing.css")


def test_our_own_style_and_scripts_are_small() -> None:
    assert len(STATIC.joinpath("atoll.css").read_bytes()) <= 8 * 1024
    own = [file for file in STATIC.iterdir() if file.name.endswith((".js", ".css"))]
    assert sum(len(file.read_bytes()) for file in own) <= 32 * 1024
