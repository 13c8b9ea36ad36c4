"""Scenarios: one pipeline of real code from question to checked plan, the seed printed."""
