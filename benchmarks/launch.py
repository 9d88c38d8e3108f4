"""Runs a command for another benchmark and prints what it cost, as JSON: seconds, peak memory, bytes written.

A process of its own, and a small one: the peak memory of a child counts the parent that it was forked
from, and what the kernel counts as written is summed up over every child that was waited for.
"""

import json
import resource
import subprocess
import sys
import time


def written() -> int:
    """Bytes that this process and the children it waited for caused to be written to a disk."""
    try:
        with open("/proc/self/io") as stream:
            said = dict(line.split(": ") for line in stream.read().splitlines())
    except OSError:
        return -1
    return int(said["write_bytes"])


def main() -> None:
    before, start = written(), time.perf_counter()
    done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
    elapsed = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "seconds": elapsed,
                "cpu": used.ru_utime + used.ru_stime,
                "peak_mib": used.ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024,
                "written": written() - before,
                "code": done.returncode,
                "said": (done.stdout + done.stderr)[-2000:],
            }
        )
    )


if __name__ == "__main__":
    main()
