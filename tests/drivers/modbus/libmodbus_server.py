"""A Modbus RTU server by libmodbus: `python libmodbus_server.py PORT UNIT`. Register n holds n, coil n is n odd."""

import ctypes
import sys

_COUNT = 400


class _Mapping(ctypes.Structure):
    """modbus_mapping_t of modbus.h."""

    _fields_ = (
        ("nb_bits", ctypes.c_int),
        ("start_bits", ctypes.c_int),
        ("nb_input_bits", ctypes.c_int),
        ("start_input_bits", ctypes.c_int),
        ("nb_input_registers", ctypes.c_int),
        ("start_input_registers", ctypes.c_int),
        ("nb_registers", ctypes.c_int),
        ("start_registers", ctypes.c_int),
        ("tab_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_bits", ctypes.POINTER(ctypes.c_uint8)),
        ("tab_input_registers", ctypes.POINTER(ctypes.c_uint16)),
        ("tab_registers", ctypes.POINTER(ctypes.c_uint16)),
    )


def serve(port: str, unit: int) -> None:
    """Answer until killed."""
    library = ctypes.CDLL("libmodbus.so.5")
    library.modbus_new_rtu.restype = ctypes.c_void_p
    library.modbus_mapping_new.restype = ctypes.POINTER(_Mapping)
    context = ctypes.c_void_p(library.modbus_new_rtu(port.encode(), 115200, ctypes.c_char(b"N"), 8, 1))
    mapping = library.modbus_mapping_new(_COUNT, _COUNT, _COUNT, _COUNT)
    for at in range(_COUNT):
        mapping.contents.tab_registers[at] = mapping.contents.tab_input_registers[at] = at
        mapping.contents.tab_bits[at] = mapping.contents.tab_input_bits[at] = at & 1
    if library.modbus_set_slave(context, unit) or library.modbus_connect(context):
        sys.exit("cannot open the port")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    request = (ctypes.c_uint8 * 260)()
    while True:
        size = library.modbus_receive(context, request)
        if size > 0:
            library.modbus_reply(context, request, size, mapping)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
