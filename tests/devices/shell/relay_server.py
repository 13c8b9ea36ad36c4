"""One of our simulated products behind Modbus TCP, on a thread; its registers can be set and seen by the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from devices.model import BusFault
from devices.profile import load_profile
from firmware_sim.products import Product


def answer(product: Product, frame: bytes) -> bytes:
    """Returns the answer frame of a Modbus TCP request (functions 1 to 6, 15, 16)."""
    function, address = frame[7], int.from_bytes(frame[8:10], "big")
    number = int.from_bytes(frame[10:12], "big")
    if function in {5, 6, 15, 16}:
        values: Sequence[int] = [int(number == 0xFF00)] if function == 5 else [number]
        if function == 16:
            values = [int.from_bytes(frame[13 + 2 * i : 15 + 2 * i], "big") for i in range(number)]
        fault = product.write(function, address, values)
        pdu = frame[7:12] if fault is None else bytes([function | 0x80, 2])
    else:
        found = product.read(function, address, number)
        if isinstance(found, BusFault):
            pdu = bytes([function | 0x80, 2])
        elif function in {1, 2}:
            bits = sum(int(bit) << i for i, bit in enumerate(found)).to_bytes((number + 7) // 8, "little")
            pdu = bytes([function, len(bits)]) + bits
        else:
            words = b"".join(word.to_bytes(2, "big") for word in found)
            pdu = bytes([function, len(words)]) + words
    return frame[:4] + (len(pdu) + 1).to_bytes(2, "big") + frame[6:7] + pdu


@contextmanager
def relay_served(profile: str) -> Iterator[tuple[Product, str]]:
    """Serves a product of a profile; gives it and its endpoint."""
    product = Product(load_profile(profile))
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection:
            while frame := connection.recv(300):
                connection.sendall(answer(product, frame))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield product, f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
