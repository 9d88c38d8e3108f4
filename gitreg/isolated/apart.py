"""Keeps the process of a model apart from other processes of its user, where Linux can: see landlock(7).

    python -I -S -B apart.py [PROGRAM ARGUMENT...]

runs a program so: what an interpreter runs when it starts, as the `.pth` files of installed packages, is kept
apart too. Without one it only says by its exit code whether the kernel can.
"""

import ctypes
import os
import struct
import sys

_NO_NEW_PRIVS = 38
_RULESET, _RULE, _RESTRICT = 444, 445, 446
_REFER, _SOCKETS, _SIGNALS = 1 << 13, 1, 2
# What root keeps of its powers, by capabilities(7): to read what is not its own, and to listen on port 80. It
# may not write read-only files (artifacts share their bytes with the DVC cache), nor look at processes.
_KEPT = 1 << 2 | 1 << 10  # CAP_DAC_READ_SEARCH, CAP_NET_BIND_SERVICE


def keep():
    """Give up what reaches the user's other processes; whether the kernel keeps them from being looked at.

    No program that this one starts has more rights than it, sudo among them. Of the disk nothing is ruled:
    that there are rules at all is what hides other processes. A process with rules may not trace one that
    it did not start, and reading its environment or memory in /proc is tracing. Nor can it send signals to
    it, or reach its sockets that have no file (from Linux 6.12 on).
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    _give_up(libc)
    version = libc.syscall(_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 2:
        return False  # the first version forbids all moving of files between folders
    scoped = _SOCKETS | _SIGNALS if version >= 6 else 0
    rules = struct.pack("=QQQ", _REFER, 0, scoped)[: 24 if scoped else 8]
    ruleset = libc.syscall(_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0:
        return False
    top = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        added = libc.syscall(_RULE, ruleset, 1, struct.pack("=Qi", _REFER, top), 0)
        return added == 0 and libc.syscall(_RESTRICT, ruleset, 0) == 0
    finally:
        os.close(top)
        os.close(ruleset)


def _give_up(libc):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, of 32 capabilities each; twice
    if libc.capget(header, sets) == 0:
        kept = [sets[0] & _KEPT, sets[1] & _KEPT, 0, 0, 0, 0]
        libc.capset(header, (ctypes.c_uint32 * 6)(*kept))


if __name__ == "__main__":
    kept = keep()
    if len(sys.argv) > 1:
        os.execv(sys.argv[1], sys.argv[1:])
    sys.exit(0 if kept else 1)
