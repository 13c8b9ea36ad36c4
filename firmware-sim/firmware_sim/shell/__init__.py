"""Threads and ports of the simulator."""
