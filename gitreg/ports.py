"""Ports of this machine: why one cannot be had, and who has it."""

from __future__ import annotations

import errno

from gitreg.errors import GitregError, Outside, Usage


def unusable(address: str, port: int, error: OSError, option: str) -> GitregError:
    """Returns the error that a port which cannot be listened on is.

    Args:
        error: what the system said.
        option: of the command line, that names another one.
    """
    if error.errno == errno.EADDRNOTAVAIL:
        return Outside(
            f"{address} is no address of this machine: {error.strerror}",
            "--address 127.0.0.1 for this machine alone, or 0.0.0.0 for all its addresses",
        )
    if error.errno == errno.EADDRINUSE:
        who = holder(port)
        by = f" by {who}" if who else ""
        return Outside(
            f"port {port} on {address} is taken{by}",
            f"end what listens there, or {option} 0, which picks a free one",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Outside(
            f"port {port} on {address} cannot be used: {error.strerror}",
            f"ports below 1024 are often root's alone; {option} 0 picks a free one",
        )
    if isinstance(error.errno, int) and error.errno > 0:
        return Outside(
            f"port {port} on {address} cannot be used: {error.strerror}", f"{option} 0 picks a free one"
        )
    return Usage(f"{address!r} is no address: {error.strerror or error}", "--address 127.0.0.1")


def holder(port: int) -> str | None:
    """Returns who listens on a port, as `python3 (process 4711)`; None where that cannot be seen."""
    import psutil

    try:
        listening = [
            one.pid
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port
        ]
        pid = next((pid for pid in listening if pid), None)
        return f"{psutil.Process(pid).name()} (process {pid})" if pid else None
    except (psutil.Error, OSError):  # other people's processes, a container, macOS without root
        return None
