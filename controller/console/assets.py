"""Static files under content-hash addresses: read once at start, gzipped once, cached for ever by browsers."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    name: str
    url: str
    media_type: str
    body: bytes
    gzipped: bytes


class MissingAsset(KeyError):
    """A template names a static file that does not exist."""


class Assets:
    """All static files, by name and by address."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._by_name = {name: _asset(name, body) for name, body in files.items()}
        self._by_url = {asset.url: asset for asset in self._by_name.values()}

    def url(self, name: str) -> str:
        """Returns the address of a file.

        Raises:
            MissingAsset: there is no such file.
        """
        if name not in self._by_name:
            raise MissingAsset(f"no static file {name!r}; there are {', '.join(sorted(self._by_name))}")
        return self._by_name[name].url

    def find(self, url: str) -> Asset | None:
        """Returns the file at an address, or None."""
        return self._by_url.get(url)


def _asset(name: str, body: bytes) -> Asset:
    digest = hashlib.sha256(body).hexdigest()[:12]
    media_type = TYPES["." + name.rpartition(".")[2]]
    return Asset(name, f"/static/{digest}/{name}", media_type, body, gzip.compress(body, 9, mtime=0))


def load() -> Assets:
    """Returns the files that are shipped with the console."""
    root = resources.files("controller.console").joinpath("static")
    folders = (root, root.joinpath("vendor"))
    return Assets(
        {
            file.name: file.read_bytes()
            for folder in folders
            for file in folder.iterdir()
            if "." + file.name.rpartition(".")[2] in TYPES
        }
    )
