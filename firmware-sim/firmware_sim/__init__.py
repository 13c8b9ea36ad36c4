"""Simulated devices of a village: a separate program on the same wires. Imports only `devices`."""
