"""The simulated quadcopter on a real UDP socket, as an autopilot's telemetry radio shows up on a ground station's port.

`python -m firmware_sim.shell.copter_live --to 127.0.0.1:14540 --flavour px4` flies until Ctrl-C. Like SITL it sends to
one ground station and answers whoever speaks to it.
"""

from __future__ import annotations

import argparse
import select
import socket
import threading
import time

from devices.clock import Instant
from devices.mavlink_codec import Codec, Frame
from devices.mavlink_values import Autopilot
from firmware_sim.copter import Copter
from firmware_sim.copter_body import CopterBody

TICK_S = 0.02
DATAGRAM_MAX = 2048
PEERS_MAX = 4


class CopterLive(threading.Thread):
    """Flies one copter in real time. `link_up` False is a radio that neither hears nor is heard."""

    def __init__(self, copter: Copter, ground: tuple[str, int]) -> None:
        """Binds a free port; `start()` lets it fly."""
        super().__init__(name="copter", daemon=True)
        self.copter = copter
        self.link_up = True
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._peers = [ground]
        self._codec = Codec(copter.system, 1)
        self._stopping = threading.Event()
        self._since, self._epoch = time.monotonic(), copter.now

    def run(self) -> None:
        """Listens, flies, speaks."""
        while not self._stopping.is_set():
            ready, _, _ = select.select([self._socket], [], [], TICK_S)
            if ready:
                self._hear()
            self._say(self.copter.advance(self._now()))

    def stop(self) -> None:
        """Ends the thread and closes the socket."""
        self._stopping.set()
        self.join(timeout=5)
        self._socket.close()

    def _now(self) -> Instant:
        return Instant(self._epoch + round(1000 * (time.monotonic() - self._since)))

    def _hear(self) -> None:
        try:
            data, peer = self._socket.recvfrom(DATAGRAM_MAX)
        except OSError:  # a ground station that is not there yet (ICMP port unreachable)
            return
        if not self.link_up:
            return
        if peer not in self._peers and len(self._peers) < PEERS_MAX:
            self._peers.append(peer)
        for frame in self._codec.decode(data):
            self._say(self.copter.receive(frame, self._now()))

    def _say(self, frames: list[Frame]) -> None:
        for frame in frames if self.link_up else ():
            data = self._codec.encode(frame)
            for peer in self._peers:
                try:
                    self._socket.sendto(data, peer)
                except OSError:  # nobody listens there; the radio does not mind
                    continue


def main() -> None:
    """Flies one copter from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", default="127.0.0.1:14540", help="the ground station's host:port")
    parser.add_argument("--flavour", choices=[str(flavour) for flavour in Autopilot], default=str(Autopilot.ARDUPILOT))
    parser.add_argument("--home", default="51.5,9.9", help="latitude,longitude of where it stands")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    lat, lon = (float(part) for part in options.home.split(","))
    copter = Copter(Autopilot(options.flavour), CopterBody(lat, lon), Instant(round(time.time() * 1000)))
    live = CopterLive(copter, (host, int(port)))
    live.start()
    print(f"a simulated {options.flavour} copter at {lat}, {lon} sends to {options.to}; Ctrl-C ends it")
    try:
        live.join()
    except KeyboardInterrupt:
        live.stop()


if __name__ == "__main__":
    main()
