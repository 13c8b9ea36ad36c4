"""Modbus TCP servers on asyncio: every connection is a `Stream`, every read advances the fleet to now first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from devices.clock import Instant
from devices.model import BusFault
from devices.simulated import Fleet
from firmware_sim.mbap import BrokenFrame, Stream

CONNECTIONS_MAX = 32
"""Per endpoint; a further one is closed at once."""


class Endpoint:
    """One site endpoint: the units behind it, brought to the present before each answer."""

    def __init__(self, fleet: Fleet, endpoint: str, now: Callable[[], Instant]) -> None:
        self._fleet = fleet
        self._endpoint = endpoint
        self._now = now
        self.connections: set[Connection] = set()

    def read(self, unit: int, function: int, address: int, count: int) -> Sequence[int] | BusFault:
        """Answers a read as of now."""
        self._fleet.advance(self._now())
        return self._fleet.read(self._endpoint, unit, function, address, count)

    def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> BusFault | None:
        """Takes a write as of now."""
        self._fleet.advance(self._now())
        return self._fleet.write(self._endpoint, unit, function, address, values)


class Connection(asyncio.Protocol):
    """One master's connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._stream = Stream(endpoint)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or closes it when there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._endpoint.connections) >= CONNECTIONS_MAX:
            transport.close()
        else:
            self._endpoint.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Answers every whole request; what is no Modbus ends the connection."""
        if self._transport is None:
            return
        try:
            answer = self._stream.receive(data)
        except BrokenFrame:
            self._transport.close()
            return
        if answer:
            self._transport.write(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._endpoint.connections.discard(self)

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()


class Servers:
    """All endpoints of the fleet, listening."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._endpoints: list[Endpoint] = []

    async def listen(
        self, fleet: Fleet, endpoints: Iterable[str], addresses: Mapping[str, str], now: Callable[[], Instant]
    ) -> None:
        """Listens for every site endpoint at the address really used.

        Raises:
            OSError: an address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        for name in sorted(endpoints):
            endpoint = Endpoint(fleet, name, now)
            host, _, port = addresses.get(name, name).rpartition(":")

            def connection(endpoint: Endpoint = endpoint) -> Connection:
                return Connection(endpoint)

            self._endpoints.append(endpoint)
            self._servers.append(await loop.create_server(connection, host or "127.0.0.1", int(port)))

    def addresses(self) -> list[str]:
        """Returns where it really listens, in the order of the sorted endpoints."""
        names = (server.sockets[0].getsockname() for server in self._servers)
        return [f"{name[0]}:{name[1]}" for name in names]

    def close(self) -> None:
        """Ends listening and every connection."""
        for server in self._servers:
            server.close()
        for endpoint in self._endpoints:
            for connection in list(endpoint.connections):
                connection.close()
