"""What a process that only looks may say: its own STATE, and the question for a birth. Everything else stays inside.

The one gate of advisory mode: `devices.shell.mqtt.Link` asks it of every message on every way out, will and farewell
included, so that no setpoint, command, acknowledgement or vehicle order can leave whatever the core decides.
"""

from __future__ import annotations

from collections.abc import Callable

from devices.model import Message
from devices.sparkplug_codec import NAMESPACE, REBIRTH, RemoteProtocolError, decode, state_topic


def only_look(group: str, host_id: str) -> Callable[[Message], bool]:
    """Returns the gate of one host application: its STATE, and NCMD with nothing but `Node Control/Rebirth`."""
    own_state, commands = state_topic(host_id), f"{NAMESPACE}/{group}/NCMD/"

    def may(message: Message) -> bool:
        if message.topic == own_state:
            return True
        return message.topic.startswith(commands) and _asks_for_birth(message.payload)

    return may


def _asks_for_birth(payload: bytes) -> bool:
    try:
        metrics = decode(payload).metrics
    except RemoteProtocolError:
        return False
    return len(metrics) == 1 and metrics[0].name == REBIRTH and metrics[0].value is True
