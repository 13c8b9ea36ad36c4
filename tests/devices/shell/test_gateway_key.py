"""The gateway's key file: made once, private, and never silently replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.shell.gateway_key import KEY_FILE, KeyDamaged, own_key


def test_the_first_start_makes_a_private_key_that_stays(tmp_path: Path):
    first = own_key(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert own_key(tmp_path).public.text() == first.public.text()
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_that_others_can_read_or_that_is_none_stops_the_start(tmp_path: Path):
    own_key(tmp_path)
    path = tmp_path / KEY_FILE
    path.chmod(0o640)
    with pytest.raises(KeyDamaged, match="chmod 600"):
        own_key(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"")
    with pytest.raises(KeyDamaged, match="backup"):
        own_key(tmp_path)
