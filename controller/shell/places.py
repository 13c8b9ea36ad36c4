"""Where other machines find this one."""

from __future__ import annotations

import socket

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
ELSEWHERE = ("192.0.2.1", 9)  # TEST-NET-1 (RFC 5737): only the route is looked up, nothing is sent


def reachable(listen: str) -> str:
    """Returns the host of a URL for what listens on `listen`: this machine's own address when that is everywhere."""
    if listen in EVERYWHERE:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as looking:
                looking.connect(ELSEWHERE)
                return str(looking.getsockname()[0])
        except OSError:  # no network at all
            return "127.0.0.1"
    return f"[{listen}]" if ":" in listen else listen


def own_names(listen: str) -> set[str]:
    """Returns the names by which browsers on the network may call this machine (IPv6 in brackets, as they send it)."""
    host = socket.gethostname()
    names = {"127.0.0.1", "localhost", host, f"{host}.local", reachable(listen)}
    if listen not in EVERYWHERE:
        return names
    try:
        known = socket.getaddrinfo(host, None)  # Debian's own /etc/hosts says 127.0.1.1 here, hence `reachable`
    except OSError:  # a host name that nothing resolves
        known = []
    for family, _, _, _, address in known:
        text = str(address[0])
        names.add(f"[{text}]" if family == socket.AF_INET6 else text)
    return names
