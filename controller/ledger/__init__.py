"""Accounts, entries and the Merkle log. Knows nothing of energy, files or clocks."""
