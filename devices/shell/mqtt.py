"""The MQTT link of a process: paho in one thread of its own, filling the core's inbox.

paho reads its socket byte by byte; here it is read in large pieces, and QoS 0 publishes (nearly all that comes) skip
paho's parser. Every connection gets a fresh client, so nothing of a broken one is left, and a fresh will, so that its
bdSeq or time stamp is this connection's own. MQTT 3.1.1, clean session; works with mosquitto and nats-server.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from devices.events import Incoming, LinkDown, LinkUp
from devices.flood import FairShare
from devices.model import Message
from devices.shell.broker_login import Logins, nobody
from devices.shell.inbox import Inbox

log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
PACKET_BYTES_MAX = 512 * 1024
BACKLOG_MAX = 10_000
"""Packets that may wait for a slow broker; more are refused and counted."""
HANDSHAKE_S = 5.0
BACKOFF_S_MAX = 2.0
LINGER_S = 1.0
"""So long a broker that is behind may take to read our last words."""
BUSY_S = 0.000_5
GATHER_S = 0.002
"""Reads that follow each other within half a millisecond are a stream: the next waits 2 ms, so that it finds more. A
broker writes packet by packet, and a wake-up costs more than a message."""
CONNECTION_ENDS = (OSError, ValueError, LookupError, struct.error, MQTTException)
"""What a broken network or a peer's nonsense may raise out of paho: the connection ends, the link goes on."""
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_PUBLISH = 0x30
_QOS_BITS = 0x06


class BadClientId(ValueError):
    """A client id that not every broker takes."""


class _Client(paho.Client):
    """paho with a buffered reader. Lives for one connection; all but `publish` runs in the link's thread."""

    def __init__(self, client_id: str, deliver: Callable[[list[Incoming]], None]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session=True, protocol=paho.MQTTv311)
        self.malformed = 0
        self.leaving = False  # DISCONNECT has been said
        self._deliver = deliver
        self._rest = b""
        self._batch: list[Incoming] = []
        self.max_inflight_messages_set(0)
        self.max_queued_messages_set(BACKLOG_MAX)
        self.on_message = self._slow_publish
        # A registered writer keeps paho from writing in the publisher's thread; the link's thread writes.
        self.on_socket_register_write = _leave_it

    @property
    def backlog(self) -> int:
        """Packets waiting to be written."""
        return len(self._out_packet)

    def close(self) -> None:
        """Closes the socket without a word (the broker sends the will)."""
        self._sock_close()

    def _sock_close(self) -> None:
        """Closes the socket; after DISCONNECT only when the broker has read everything and closed its side.

        A socket that is closed with an acknowledgement unread resets the connection, and a broker that is behind
        loses what it has not read yet: the last messages, and DISCONNECT itself.
        """
        if self.leaving and isinstance(self._sock, socket.socket):
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
                self._sock.settimeout(LINGER_S)
                ends = time.monotonic() + LINGER_S
                while self._sock.recv(READ_BYTES) and time.monotonic() < ends:
                    pass
        super()._sock_close()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Reads what the socket has and handles every whole packet in it."""
        try:
            data = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if not data:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        self._last_bytes_received = time.monotonic()
        try:
            return self._packets(self._rest + data if self._rest else data)
        finally:
            if self._batch:
                batch, self._batch = self._batch, []
                self._deliver(batch)

    def _packets(self, data: bytes) -> MQTTErrorCode:
        position, size = 0, len(data)
        while size - position >= 2:
            command, length, start = data[position], data[position + 1], position + 2
            if length & 0x80:
                length, start = _remaining_length(data, position + 1)
                if start < 0:
                    break
            if length > PACKET_BYTES_MAX:
                return MQTTErrorCode.MQTT_ERR_PROTOCOL
            end = start + length
            if end > size:
                break
            if command & 0xF0 == _PUBLISH and not command & _QOS_BITS:
                self._fast_publish(data, start, end)
            else:
                self._in_packet["command"] = command
                self._in_packet["packet"] = bytearray(data[start:end])
                self._in_packet["remaining_length"] = length
                self._in_packet["pos"] = 0
                code = self._packet_handle()
                if code:
                    return code
            position = end
        self._rest = data[position:]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _fast_publish(self, data: bytes, start: int, end: int) -> None:
        if end - start < 2:
            self.malformed += 1
            return
        split = start + 2 + (data[start] << 8) + data[start + 1]
        try:
            topic = data[start + 2 : split].decode()
        except UnicodeDecodeError:
            topic = ""
        if not topic or split > end:
            self.malformed += 1
            return
        self._batch.append(Incoming(topic, data[split:end]))

    def _slow_publish(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        """Takes a publish of QoS 1 or 2 from paho's own parser."""
        try:
            self._batch.append(Incoming(message.topic, bytes(message.payload)))
        except UnicodeDecodeError:
            self.malformed += 1


def _leave_it(_client: paho.Client, _data: object, _socket: object) -> None:
    """The link's thread looks after writing."""


def _remaining_length(data: bytes, position: int) -> tuple[int, int]:
    """Returns (length, where the packet's body starts); start is -1 while bytes are missing."""
    length = shift = 0
    for index in range(position, min(position + 4, len(data))):
        byte = data[index]
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return length, index + 1
        shift += 7
    if len(data) >= position + 4:
        return PACKET_BYTES_MAX + 1, 0
    return 0, -1


class Link:
    """One MQTT connection that keeps itself up. Puts LinkUp, LinkDown and Incoming into the inbox, raises nowhere.

    `will` is called in the link's thread before every CONNECT. `publish` may be called from any thread.
    """

    def __init__(  # noqa: PLR0913 - named, one per property of a connection
        self,
        client_id: str,
        host: str,
        port: int,
        *,
        will: Callable[[], Message] | None,
        subscriptions: Sequence[tuple[str, int]],
        inbox: Inbox[Any],
        keepalive: int = 10,
        may_send: Callable[[Message], bool] | None = None,
        logins: Logins = nobody,
    ) -> None:
        """Prepares the link; `start` connects. `keepalive` is in real seconds; `may_send` refuses what must not leave.

        A login that the broker does not know is left out of the next attempt, and so in turns: a site whose passwords
        were made anew is not locked out while its broker still lets everybody in.

        Raises:
            BadClientId: an id that is not `[A-Za-z0-9_.-]{1,64}` (a NATS broker disconnects on a space).
        """
        if not _CLIENT_ID.match(client_id):
            raise BadClientId(f"MQTT client id {client_id!r}: use 1-64 of letters, digits, _ . -")
        self.client_id = client_id
        self.address = (host, port)
        self.up = False
        self.unsent = 0
        self.refused = 0
        self.malformed = 0
        self.connects = 0
        self.fair = FairShare()
        self._told_flood = False
        self._will = will
        self._may_send = may_send
        self._subscriptions = list(subscriptions)
        self._inbox = inbox
        self._keepalive = keepalive
        self._client: _Client | None = None
        self._refusal = ""
        self._logins = logins
        self._login_refused = False
        self._stopping = threading.Event()
        self._woken = False
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{client_id}", daemon=True)

    def start(self) -> None:
        """Starts the thread; LinkUp tells when the session stands."""
        self._thread.start()

    def publish(self, message: Message) -> bool:
        """Hands a message over for sending; returns False (and counts `unsent`) while the link is down or choked.

        True is no promise of delivery, at any QoS.
        """
        if not self._allowed(message):
            return False
        client = self._client
        if client is None or not self.up or client.backlog >= BACKLOG_MAX:
            self.unsent += 1
            return False
        info = client.publish(message.topic, message.payload, message.qos, message.retain)
        self._wake()
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.unsent += 1
            return False
        return True

    def stop(self, final: Message | None = None, timeout_s: float = 2.0) -> None:
        """Sends `final` (a death certificate), disconnects cleanly and ends the thread."""
        client = self._client
        if client is not None and self.up:
            try:
                if final is not None and self._allowed(final):
                    info = client.publish(final.topic, final.payload, final.qos, final.retain)
                    self._wake()
                    info.wait_for_publish(timeout_s / 2)
            except (RuntimeError, ValueError) as error:  # the connection broke meanwhile: the will says it
                log.info("mqtt_final_unsent client=%s error=%s", self.client_id, error)
            self._stopping.set()
            client.leaving = True
            client.disconnect()
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _allowed(self, message: Message) -> bool:
        """Returns whether a message may leave; what may not is counted."""
        allowed = self._may_send is None or self._may_send(message)
        self.refused += not allowed
        return allowed

    def _wake(self) -> None:
        """Makes the thread write. The packet is queued before, and the flag falls before the queue is emptied."""
        if self._woken:
            return
        self._woken = True
        with contextlib.suppress(OSError):  # full: the thread wakes anyway; closed: it has ended
            self._wake_in.send(b"w")

    # -- the link's thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            stood = self.connects
            reason = self._connection()
            if self.up or not failures:
                self.up = False
                self._inbox.force(LinkDown(reason))
            failures = 1 if self.connects > stood else failures + 1
            pause = min(BACKOFF_S_MAX, 0.1 * 2 ** min(failures, 8))
            self._stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads a herd, hides nothing
        self._wake_in.close()
        self._wake_out.close()

    def _connection(self) -> str:
        """Holds one connection from CONNECT to its end; returns why it ended."""
        client = _Client(self.client_id, self._deliver)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        self._refusal = ""
        where = "{}:{}".format(*self.address)
        login = None if self._login_refused else self._logins()
        self._login_refused = False
        if login is not None:
            client.username_pw_set(login.name, login.password)
        try:
            if self._will is not None:
                will = self._will()
                if self._allowed(will):
                    client.will_set(will.topic, will.payload, will.qos, will.retain)
            client.connect(*self.address, keepalive=self._keepalive)
            sock = client.socket()
            if not isinstance(sock, socket.socket):
                return f"{where}: connection lost"
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = client
            return f"{where}: {self._serve(client, sock.fileno())}"
        except CONNECTION_ENDS as error:
            return f"{where}: {error}"
        finally:
            self._client = None
            self.malformed += client.malformed
            client.close()

    def _serve(self, client: _Client, descriptor: int) -> str:
        poller = select.poll()  # select() cannot watch descriptors above 1,023, which a console's streams may use up
        poller.register(descriptor, select.POLLIN)
        poller.register(self._wake_out, select.POLLIN)
        begun = checked = read_at = time.monotonic()
        code = client.loop_write()
        blocked = False
        while not code and client.socket() is not None:
            if self._refusal:
                return self._refusal
            for ready, _ in poller.poll(500):
                if ready == descriptor:
                    code = code or client.loop_read()
                    read_at, before = time.monotonic(), read_at
                    if read_at - before < BUSY_S:
                        time.sleep(GATHER_S)
                else:
                    self._wake_out.recv(4096)
                    self._woken = False
            if client.want_write():
                code = code or client.loop_write()
            if client.want_write() is not blocked:
                blocked = not blocked
                poller.modify(descriptor, select.POLLIN | (select.POLLOUT if blocked else 0))
            now = time.monotonic()
            if now - checked >= 0.5:
                checked = now
                code = code or client.loop_misc()
                if not self.up and now - begun > HANDSHAKE_S:
                    return f"no answer to CONNECT and SUBSCRIBE within {HANDSHAKE_S:g} s"
        return "disconnected" if self._stopping.is_set() else paho.error_string(code) if code else "connection lost"

    def _deliver(self, batch: list[Incoming]) -> None:
        before = self.fair.dropped
        self._inbox.put_all(self.fair.admit(batch, time.monotonic()))
        if self.fair.dropped != before and not self._told_flood:
            self._told_flood = True
            noisiest = min(self.fair.tokens.items(), key=lambda one: one[1][0])[0]
            log.warning("event=flood source=%s: more than it may send is dropped", noisiest)

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            self._refusal = f"broker refused: {code}"
            self._login_refused = client.username is not None
        elif self._subscriptions:
            client.subscribe(self._subscriptions)
        else:
            self._stands()

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        refused = [topic for (topic, _), code in zip(self._subscriptions, codes, strict=False) if code.is_failure]
        if refused:
            self._refusal = f"broker refused to subscribe to {', '.join(refused)}"
        else:
            self._stands()

    def _stands(self) -> None:
        self.connects += 1
        self.up = True
        self._inbox.force(LinkUp())
