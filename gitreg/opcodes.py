"""What a pickle's machine would do with bytes: its opcodes are read, and none is run. No I/O.

An opcode is a letter and what it takes: https://github.com/python/cpython/blob/main/Lib/pickletools.py. Where
this is in doubt it is wider than the machine, so that nothing that the machine would run passes as no pickle.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from gitreg.protobufs import At, windowed

_MOST_OPCODES, _LONGEST_LINE, _LONGEST_NAME = 100, 64 << 10, 4096
_CALLS = {"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
_IMPORTS = {"GLOBAL", "INST", "STACK_GLOBAL"}  # of the extensions Python has none
_NUMBER = rb"\s*[-+]?(0[xXoObB]_?)?[0-9a-fA-F_]+[lL]?\s*"
_TEXTS = {
    **dict.fromkeys(("INT", "LONG", "GET", "PUT"), re.compile(_NUMBER)),
    "FLOAT": re.compile(rb"\s*[-+\w.]+\s*"),
    "STRING": re.compile(rb"""(["']).*\1""", re.DOTALL),
}


@dataclass
class Run:
    """How far a pickle's machine would come.

    Attributes:
        count: of the opcodes that were read.
        imports: whether it would import something, with which all harm begins.
        ends: whether it would call something, or come to its end.
        wrong: whether it would stop at what is no opcode, or at one that lacks what it takes.
        cut: whether the file ends first.
    """

    count: int = 0
    imports: bool = False
    ends: bool = False
    wrong: bool = False
    cut: bool = False

    @property
    def pickle(self) -> bool:
        """Whether bytes that are nothing else are a pickle."""
        return self.ends or (self.count >= 4 and not self.wrong)

    @property
    def acts(self) -> bool:
        """Whether it does something to whoever unpickles it, or nobody can tell as far as was looked."""
        return self.imports or not (self.wrong or self.cut)


@dataclass(frozen=True)
class _Opcode:
    name: str
    length: int  # of its argument, or how that is said
    lines: int
    to_mark: bool
    takes: int
    gives: tuple[bool, ...]  # True is a mark


class _Wrong(Exception):
    """The machine would refuse this."""


class _Cut(Exception):
    """There is no more of it."""


class _OutOfSight(Exception):
    """There is more of it than is looked at."""


@functools.cache
def _opcodes() -> dict[int, _Opcode]:
    import pickletools

    found, mark = {}, pickletools.markobject
    for code in pickletools.opcodes:
        needs = list(code.stack_before)
        length = code.arg.n if code.arg else 0
        lines = (2 if code.name in ("GLOBAL", "INST") else 1) if length == pickletools.UP_TO_NEWLINE else 0
        takes = needs.index(mark) if mark in needs else len(needs)
        gives = tuple(one is mark for one in code.stack_after)
        found[ord(code.code)] = _Opcode(code.name, length, lines, mark in needs, takes, gives)
    return found


def run(at: At, size: int) -> Run:
    """Returns how far a pickle's machine would come with a file, seen through its first opcodes.

    Where one pickle ends the next one may begin, as PyTorch's old files have it.
    """
    done, place = Run(), 0
    stack: list[bool] = []
    at = windowed(at)
    try:
        while done.count < _MOST_OPCODES:
            if place >= size:
                raise _Cut
            code = at(place, 1)
            if not code:
                raise _OutOfSight
            opcode = _opcodes().get(code[0])
            if opcode is None:
                raise _Wrong
            place = _argument(at, place + 1, size, opcode, done)
            _apply(opcode, stack)
            done.count += 1
            done.imports |= opcode.name in _IMPORTS
            if opcode.name in _CALLS:
                done.ends = True
                break
            if opcode.name == "STOP":
                done.ends = True
                stack.clear()
    except _Wrong:
        done.wrong = True
    except _Cut:
        done.cut = True
    except _OutOfSight:
        pass
    return done


def _apply(opcode: _Opcode, stack: list[bool]) -> None:
    """Changes the stack as an opcode does."""
    if opcode.to_mark:
        while stack and not stack[-1]:
            stack.pop()
        if not stack:
            raise _Wrong
        stack.pop()
    for _ in range(opcode.takes):
        if not stack or (stack.pop() and opcode.name != "POP"):
            raise _Wrong
    stack += opcode.gives


def _argument(at: At, place: int, size: int, opcode: _Opcode, done: Run) -> int:
    """Returns the place after what belongs to an opcode."""
    if opcode.lines:
        return _lines(at, place, size, opcode, done)
    length = opcode.length
    if length < 0:
        wide = {-2: 1, -3: 4, -4: 4, -5: 8}[length]
        raw = at(place, wide)
        if len(raw) < wide:
            raise _Cut if place + wide > size else _OutOfSight
        place, length = place + wide, int.from_bytes(raw, "little", signed=length == -3)
        if length < 0:
            raise _Wrong
    elif opcode.name == "PROTO" and at(place, 1) > b"\5":
        raise _Wrong
    if place + length > size:
        raise _Cut
    return place + length


def _lines(at: At, place: int, size: int, opcode: _Opcode, done: Run) -> int:
    """Returns the place after the lines that belong to an opcode."""
    for number in range(opcode.lines):
        text = at(place, 256)
        if b"\n" not in text:
            text = at(place, _LONGEST_LINE)
        line, end, _ = text.partition(b"\n")
        if opcode.name in _IMPORTS:
            _name(line)
            if number == 0 and not line and opcode.lines == 2:
                raise _Wrong
        elif opcode.name in _TEXTS and end and not _TEXTS[opcode.name].fullmatch(line):
            raise _Wrong
        if not end:
            if place + len(text) >= size:
                raise _Cut
            raise _Wrong if opcode.name == "PERSID" and len(text) >= _LONGEST_NAME else _OutOfSight
        place += len(line) + 1
        # It is imported even if the second line has no end.
        done.imports |= opcode.name in _IMPORTS and number == 0
    return place


def _name(line: bytes) -> None:
    """Refuses what is no name of a module or of something in it."""
    try:
        line.decode()
    except UnicodeDecodeError:
        if len(line) < _LONGEST_NAME:
            raise _Wrong from None
    if b"\0" in line or len(line) > _LONGEST_NAME:
        raise _Wrong
