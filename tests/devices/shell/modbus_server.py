"""pymodbus' own TCP server on a thread: an independent Modbus device."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


@contextmanager
def served(address: int, registers: Sequence[int]) -> Iterator[str]:
    """Serves holding registers from `address` as unit 1; gives the endpoint."""
    ready: queue.Queue[tuple[asyncio.AbstractEventLoop, ModbusTcpServer, int]] = queue.Queue()

    async def serve() -> None:
        device = SimDevice(1, [SimData(address, values=list(registers), datatype=DataType.REGISTERS)])
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        assert isinstance(server.transport, asyncio.Server)
        ready.put((asyncio.get_running_loop(), server, server.transport.sockets[0].getsockname()[1]))
        await server.serving

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, server, port = ready.get(timeout=10)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(timeout=5)
        thread.join(timeout=5)
