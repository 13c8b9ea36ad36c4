"""A Modbus RTU device that libmodbus is: `python libmodbus_device.py PORT UNIT`; registers 0-9 hold 100-109."""

from __future__ import annotations

import ctypes
import sys

REGISTERS = 10


def main(port: str, unit: int) -> None:
    lib = ctypes.CDLL("libmodbus.so.5")
    lib.modbus_new_rtu.restype = ctypes.c_void_p
    lib.modbus_mapping_new.restype = ctypes.POINTER(Mapping)
    context = ctypes.c_void_p(lib.modbus_new_rtu(port.encode(), 9600, ctypes.c_char(b"N"), 8, 1))
    lib.modbus_set_slave(context, unit)
    if lib.modbus_connect(context) != 0:
        sys.exit("libmodbus cannot open the port")
    mapping = lib.modbus_mapping_new(REGISTERS, REGISTERS, REGISTERS, REGISTERS)
    for index in range(REGISTERS):
        mapping.contents.tab_registers[index] = 100 + index
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    request = ctypes.create_string_buffer(256)
    while True:
        size = lib.modbus_receive(context, request)
        if size > 0:
            lib.modbus_reply(context, request, size, mapping)


class Mapping(ctypes.Structure):
    """modbus_mapping_t of libmodbus 3.1."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("nb_bits", "start_bits", "nb_input_bits", "start_input_bits")),
        *((name, ctypes.c_int) for name in ("nb_input_registers", "start_input_registers")),
        *((name, ctypes.c_int) for name in ("nb_registers", "start_registers")),
        ("tab_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_registers", ctypes.POINTER(ctypes.c_uint16)),
        ("tab_registers", ctypes.POINTER(ctypes.c_uint16)),
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
