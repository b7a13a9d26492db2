"""The protocol of sd_notify(3), so that systemd knows when a service is ready, without its library."""

from __future__ import annotations

import os
import socket


def notify_manager(state: str) -> bool:
    """Send `state`, such as "READY=1", to $NOTIFY_SOCKET, if there is one; False if it can't be sent."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return True
    if path[0] not in "/@":
        return False
    address = "\0" + path[1:] if path[0] == "@" else path  # the abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), address)
    except OSError:
        return False
    return True
