"""The hub sockets, children and clock."""
