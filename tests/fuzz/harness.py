"""Runs one target for some time, and ends at the first input that it must not end on.

An input may be read, or refused by an error of gitreg's own (`GitregError`). Any other exception, more than 5 s
of the processor, or more than 500 MB beside what was there before, is a defect.
"""

from __future__ import annotations

import collections
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

MOST_SECONDS, MOST_WAIT, MOST_BYTES = 5.0, 60.0, 500 << 20
_BATCH = 250

# Takes one input; what it returns says whether the input was read (True) or refused.
Judge = Callable[[Any], object]


@dataclass(frozen=True)
class Target:
    """A parser under test.

    Attributes:
        inputs: what it is given.
        open: given an empty folder of its own, the function that takes each input.
        count: how many inputs one of `inputs` holds.
    """

    name: str
    inputs: Callable[[], st.SearchStrategy[Any]]
    open: Callable[[Path], Judge]
    count: Callable[[Any], int] = lambda _: 1


class TooSlow(BaseException):
    """One input took too long. No `except Exception` stops it."""


class TooLarge(AssertionError):
    """One input took too much memory."""


@dataclass
class Count:
    """What one target saw."""

    seen: int = 0
    read: int = 0
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    last: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0
    largest: int = 0

    def __str__(self) -> str:
        said = ", ".join(f"{number:,} {name}" for name, number in self.refused.most_common(4))
        return (
            f"{self.seen:,} inputs: {self.read:,} read, {said or 'none refused'}; "
            f"at most {self.slowest:.2f} s, {self.largest >> 20} MB"
        )


def run(target: Target, seconds: float, start: int) -> Count:
    """Run a target for some time.

    Args:
        start: the seed of the first batch of inputs; those that follow have the numbers behind it.
    """
    from gitreg.errors import GitregError

    count = Count()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, _limits():
        judge = target.open(Path(folder))
        end = time.monotonic() + seconds

        def once(given_: Any) -> None:
            weight = target.count(given_)
            count.seen += weight
            before = _lowered()
            started = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
            signal.setitimer(signal.ITIMER_REAL, MOST_WAIT)
            try:
                if judge(given_):
                    count.read += weight
                else:
                    count.refused["with problems"] += weight
            except GitregError as error:
                count.refused[type(error).__name__] += weight
                count.last[type(error).__name__] = error.message
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.setitimer(signal.ITIMER_REAL, 0)
            count.slowest = max(count.slowest, time.process_time() - started)
            grown = max(0, _peak() - before)
            count.largest = max(count.largest, grown)
            if grown > MOST_BYTES:
                raise TooLarge(f"{grown >> 20} MB for one input")

        batch = start
        while time.monotonic() < end:
            try:
                _batch(once, target.inputs(), batch, end)
            except BaseException:
                print(
                    f"{target.name}: batch {batch} failed: python -m tests.fuzz {target.name} --seed {batch}"
                )
                raise
            batch += 1
    return count


class _Over(Exception):
    """The time is up."""


def _batch(once: Callable[[Any], None], inputs: st.SearchStrategy[Any], number: int, end: float) -> None:
    failed = False

    @seed(number)
    @settings(
        max_examples=_BATCH,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
        print_blob=False,
    )
    @given(inputs)
    def test(one: Any) -> None:
        nonlocal failed
        if time.monotonic() > end and not failed:
            return
        try:
            once(one)
        except TooSlow as error:
            failed = True
            raise AssertionError(f"more than {MOST_SECONDS:g} s for one input") from error
        except BaseException:
            failed = True
            raise

    test()


@contextmanager
def _limits() -> Iterator[None]:
    """Ends what takes too long, and what would take the machine down."""

    def late(number: int, frame: types.FrameType | None) -> None:
        raise TooSlow

    kept = [(one, signal.signal(one, late)) for one in (signal.SIGPROF, signal.SIGALRM)]
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for one, handler in kept:
            signal.signal(one, handler)


def _peak() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The most that getrusage knows begins with that of the process which started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def _lowered() -> int:
    """Bytes that this process has in memory now; where the system can, it forgets when there were more."""
    try:
        Path("/proc/self/clear_refs").write_bytes(b"5")
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak()
