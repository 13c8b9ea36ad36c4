"""What both halves of a question share: how assets are called, and values per slot."""

from __future__ import annotations

from typing import NewType

Series = tuple[float, ...]
AssetId = NewType("AssetId", str)
