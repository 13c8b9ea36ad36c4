"""Accounts, entries, Merkle log, checkpoints and proofs. Pure; knows nothing of energy."""
