"""The edge's I/O: sockets, serial ports, files and clocks, used by gateway, simulator and hub."""
