"""Interval records to validated intervals, shares, bills and runs. Pure."""
