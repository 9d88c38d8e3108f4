"""Looks at one file, by its content; archives are looked into. Nothing is loaded, and only heads are read.

Every look is bounded: in bytes that are read and unpacked, in members, in depth. What is beyond a bound is
said not to have been seen, and then counts as something that may run code.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from gitreg import beside, formats, opcodes, zips
from gitreg.errors import Refused
from gitreg.protobufs import At

_MOST_UNPACKED, _MOST_OF_ONE, _MOST_READ = 1 << 20, 64 << 10, 1 << 20
_MOST_MEMBERS, _DEEPEST = 10_000, 3
_BLOCK_COSTS = 200  # a block of bzip2 takes as long as so many members
_HDF5 = b"\x89HDF\r\n\x1a\n"
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, EOFError, OSError,
    NotImplementedError, RecursionError, OverflowError, KeyError, IndexError,
)  # fmt: skip


@dataclass
class Seen:
    """What was found at one place.

    Attributes:
        path: the place; `a!b` is b in the archive or folder a.
        size: bytes; None where it is not known.
        warnings: what is wrong with it, a line each.
        inside: what is in it and worth a line: it runs code, is not what its name says, or is a model.
        unseen: whether something in it could not be looked at.
        strangers: what is in it, may be code, and is of no known format; by their places in it.
        plain: whether it is a text, a picture or empty: of no known format, and no code.
    """

    path: str
    format: formats.Format = formats.UNKNOWN
    size: int | None = None
    warnings: list[str] = field(default_factory=list)
    inside: list[Seen] = field(default_factory=list)
    unseen: bool = False
    strangers: list[str] = field(default_factory=list)
    plain: bool = False

    @property
    def suspect(self) -> bool:
        """Whether something in it runs code, or could not be looked at."""
        return self.format.runs_code or self.unseen or any(one.suspect for one in self.inside)

    @property
    def runs_code(self) -> bool:
        """Whether it has to be counted as running code when loaded: all but what is known to be data."""
        return self.risk != formats.DATA_ONLY

    @property
    def risk(self) -> str:
        """In words, of the whole."""
        below = {one.risk for one in self.inside if not one.plain} | {formats.risk(self.format)}
        if formats.RUNS_CODE in below:
            return formats.RUNS_CODE
        untold = self.unseen or self.strangers or formats.CANNOT_TELL in below
        return formats.CANNOT_TELL if untold else formats.DATA_ONLY

    @property
    def only_data(self) -> bool:
        """Whether all that is in it is known to be data, whatever holds it."""
        told = all(one.plain or one.risk == formats.DATA_ONLY for one in self.inside)
        return told and not self.unseen and not self.strangers

    def all(self) -> Iterator[Seen]:
        """This, then what is in it."""
        yield self
        for one in self.inside:
            yield from one.all()


def inspect_file(path: Path, name: str) -> Seen:
    """Returns what a file is. Raises Refused for what is no file."""
    # A FIFO would block an open that waits, and a device may act on one.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Refused(f"{path} is neither a file nor a folder: not opened")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:

        def at(offset: int, count: int) -> bytes:
            return os.pread(descriptor, min(count, _MOST_READ), offset) if count > 0 else b""

        return _Look().look(name, at, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


class _View(io.RawIOBase):
    """Part of a file, as zipfile and tarfile want it; it reads no more at a time than is sane."""

    def __init__(self, at: At, size: int) -> None:
        self.at, self.size, self.place = at, size, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        if self.place < 0:
            raise OSError("a place before the file")
        return self.place

    def read(self, count: int = -1) -> bytes:
        count = min(self.size - self.place if count < 0 else count, max(0, self.size - self.place))
        if count > zips.MOST_DIRECTORY:
            raise ValueError("a header of this size is not read")
        data = bytearray()
        while len(data) < count and (more := self.at(self.place + len(data), count - len(data))):
            data += more
        self.place += len(data)
        return bytes(data)


def _part(at: At, start: int, size: int) -> At:
    return lambda offset, count: at(start + offset, max(0, min(count, size - offset)))


def _of(data: bytes) -> At:
    return lambda offset, count: data[offset : offset + max(0, count)]


def named(one: Seen) -> Seen:
    """Adds a warning where a file's name and its content disagree."""
    wrong = formats.mismatch(one.path.rpartition("!")[2], one.format)
    one.warnings += [wrong] if wrong else []
    return one


def keep(seen: Seen, one: Seen) -> None:
    """Put a member under what it is in, when it is worth a line, and count it in any case."""
    named(one)
    if one.format is formats.UNKNOWN and not one.plain:
        seen.strangers.append(one.path[len(seen.path) + 1 :])
    dull = one.format in (formats.UNKNOWN, formats.JSON) or (
        seen.format.certain and one.format.certain and not one.format.runs_code and not one.inside
    )
    if not dull or one.warnings or one.unseen:
        seen.inside.append(one)


def settle(seen: Seen) -> Seen:
    """Make what holds data by its kind, and more than data by what is in it, a thing that nobody can tell."""
    if not seen.format.certain or seen.format.runs_code:
        return seen
    if seen.strangers:
        more = f" and {len(seen.strangers) - 1:,} more" if seen.strangers[1:] else ""
        seen.warnings.append(f"what this is, code or not, cannot be told: {seen.strangers[0]}{more}")
    if not seen.only_data:
        seen.format = formats.unsure(seen.format)
    return seen


_Archive = Callable[[Seen, At, int, int], None]


class _Look:
    """One look into one file, with what it may still unpack."""

    def __init__(self) -> None:
        self.left = _MOST_UNPACKED
        self.members = _MOST_MEMBERS  # of all archives in it, however they are nested

    def member_left(self, seen: Seen) -> bool:
        """Whether one more member may be looked at; if not, says so."""
        self.members -= 1
        if self.members < 0:
            self.shut(seen, f"only its first {_MOST_MEMBERS:,} members were looked into")
        return self.members >= 0

    def look(self, name: str, at: At, size: int, depth: int = 0) -> Seen:
        """What is behind `at`."""
        head = at(0, formats.HEAD)
        zipped, tarred = head[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), _is_tar(head)
        into = self.zip if zipped else self.tar if tarred else None
        first = self.by_head(name, at, size, head, into, depth)
        if tarred and zipped:
            second = self.by_head(name, at, size, head, self.tar, depth)
            first = _two_in_one(first, second, "a tar archive")
        elif tarred and opcodes.run(at, size).acts:
            first.warnings.insert(0, f"two files in one: {first.format.name}, and a pickle")
            first.format = formats.PICKLE
        if not zipped and zips.stands_at_end(at, size):
            second = self.by_head(name, at, size, head, self.zip, depth)
            first = _two_in_one(first, second, "a zip archive at its end")
        if head[:8] != _HDF5 and (place := _superblock(at, size)):
            first = _two_in_one(
                first, Seen(name, formats.HDF5, size), f"an HDF5 file that begins at {place:,}"
            )
        return first

    def by_head(self, name: str, at: At, size: int, head: bytes, into: _Archive | None, depth: int) -> Seen:
        """What is behind `at`, by its first bytes, or as the kind of archive that it is to be read as."""
        unpacked = None if into else self.compressed(at, head)
        if not into and not unpacked:
            try:
                found, warnings = formats.detect_content(at, size)
            except _BROKEN as error:
                found, warnings = formats.OPAQUE, [f"truncated or damaged: {error}"]
            if any(warning.startswith(formats.APPENDED) for warning in warnings):
                found = formats.MIXED
            plain = found is formats.UNKNOWN and beside.is_no_code(name, at, size)
            unseen = found in (formats.OPAQUE, formats.MIXED) or formats.NO_END in warnings
            return Seen(name, found, size, warnings, unseen=unseen, plain=plain)
        seen = Seen(name, formats.ARCHIVE, size)
        if depth >= _DEEPEST:
            return self.shut(seen, f"archives in archives, more than {_DEEPEST} deep")
        try:
            if into:
                into(seen, at, size, depth)
            elif unpacked:
                self.layer(seen, *unpacked, depth)
        except _BROKEN as error:
            return self.shut(seen, f"truncated or damaged: {error}")
        if seen.format is formats.ARCHIVE and formats.RUNS_CODE in seen.risk:
            seen.format = formats.ARCHIVE_CODE
        elif seen.format is formats.ARCHIVE and seen.suspect:
            seen.format = formats.OPAQUE
        elif seen.format is formats.NPZ and seen.suspect:
            seen.format = formats.NPZ_OBJECTS
        return settle(seen)

    def shut(self, seen: Seen, why: str) -> Seen:
        """Say that something cannot be looked into."""
        seen.warnings.append(why)
        seen.unseen = True
        if seen.format is formats.ARCHIVE:
            seen.format = formats.OPAQUE
        return seen

    def compressed(self, at: At, head: bytes) -> tuple[bytes, bool] | None:
        """The first bytes of what is compressed, and whether these are all; None where nothing is."""
        if head[:4] == b"\x04\x22\x4d\x18":
            return _lz4_start(head), False
        made: Callable[[], object] | None = None
        if head[:2] == b"\x1f\x8b":
            made = lambda: zlib.decompressobj(31)  # noqa: E731
        elif head[:1] == b"x" and head[1:2] in b"\x01\x5e\x9c\xda" and len(head) > 2:
            made = zlib.decompressobj
        elif head[:3] == b"BZh":
            made, head = bz2.BZ2Decompressor, at(0, _MOST_READ)  # nothing comes out before a whole block
            self.members -= _BLOCK_COSTS
        elif head[:6] == b"\xfd7zXZ\0" or head[:3] == b"\x5d\0\0":
            made = lambda: lzma.LZMADecompressor(memlimit=256 << 20)  # noqa: E731
        if made is None:
            return None
        try:
            return self.unpack(made(), head, _MOST_OF_ONE)
        except _BROKEN:
            # What only begins like zlib or LZMA is something else; the others have a magic of their own.
            return None if head[:1] in (b"x", b"\x5d") else (b"", False)

    def unpack(self, machine: object, data: bytes, most: int) -> tuple[bytes, bool]:
        """At most so many bytes of what a decompressor makes of data, and whether it came to its end."""
        most = min(most, self.left)
        out = machine.decompress(data, most) if most else b""  # type: ignore[attr-defined]
        self.left -= len(out)
        return out, bool(machine.eof)  # type: ignore[attr-defined]

    def layer(self, seen: Seen, data: bytes, whole: bool, depth: int) -> None:
        """Judge something compressed by the first bytes of what is in it."""
        inner = os.path.splitext(seen.path.rpartition("!")[2])[0].rpartition("/")[2] or "content"
        one = self.look(f"{seen.path}!{inner}", _of(data), len(data) if whole else 1 << 60, depth + 1)
        if not whole:
            one.size, one.warnings = None, [w for w in one.warnings if not w.startswith("truncated")]
        if one.format is formats.PICKLE:  # joblib's ways to compress
            seen.format = formats.PICKLE
            return
        if not data:
            self.shut(seen, "truncated, damaged or too much: it does not unpack")
        elif not whole:
            seen.warnings.append(f"only its first {len(data):,} unpacked bytes were looked into")
        keep(seen, one)
        seen.unseen |= one.unseen

    # Archives -------------------------------------------------------------------------------

    def zip(self, seen: Seen, at: At, size: int, depth: int) -> None:
        """Judge a zip by its names, then by the heads of its members."""
        if zips.directory_size(at, size) > zips.MOST_DIRECTORY:
            self.shut(seen, "too many members to look into")
            return
        with zipfile.ZipFile(cast(BinaryIO, _View(at, size))) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            gaps = zips.gaps(at, archive.infolist(), archive.start_dir)
        names = [info.filename for info in members]
        seen.format = formats.detect_zip(names)
        self.names(seen, names)
        if gaps is None and not (seen.format.runs_code and seen.format.certain):
            self.shut(seen, "members that lie in one another: not looked into")
            return
        # What stands before a zip is told by who looks at the file as a whole, unless it looks like a zip.
        hidden = [gap for gap in gaps or [] if gap[0] or at(0, 2) == b"PK"]
        if hidden and not (seen.format.runs_code and seen.format.certain):
            self.shut(seen, f"bytes at {hidden[0][0]:,} that belong to none of its members")
        if any(i.file_size > max(100 << 20, 500 * i.compress_size) for i in members):
            seen.warnings.append("a member unpacks to more than 500 times its size: a zip bomb")
        for info in members if not seen.format.runs_code else []:
            if not self.member_left(seen):
                return
            keep(seen, self.member(f"{seen.path}!{info.filename}", info, at, depth))

    def member(self, name: str, info: zipfile.ZipInfo, at: At, depth: int) -> Seen:
        """What a member of a zip is, by its first bytes."""
        one = Seen(name, formats.ARCHIVE, info.file_size)
        if info.flag_bits & 1:
            return self.shut(one, "encrypted")
        local = at(info.header_offset, 30 + 0xFFFF)
        if local[:4] != b"PK\3\4":
            return self.shut(one, "damaged: no member where the directory says")
        length, extra = (int.from_bytes(local[i : i + 2], "little") for i in (26, 28))
        if local[30 : 30 + length] != zips.written(info):
            return self.shut(one, "damaged: another name than the directory says")
        start = info.header_offset + 30 + length + extra
        packed = _part(at, start, info.compress_size)
        if info.compress_type == zipfile.ZIP_STORED:
            return self.look(name, packed, info.file_size, depth + 1)
        if info.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
            return self.shut(one, f"compressed in a way that is not looked into ({info.compress_type})")
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        self.members -= 0 if deflated else _BLOCK_COSTS
        machine = zlib.decompressobj(-15) if deflated else bz2.BZ2Decompressor()
        try:
            data, _ = self.unpack(machine, packed(0, _MOST_OF_ONE), 1024)
            if data[:2] == b"PK" or _is_tar(data):  # its names are at its end
                machine = zlib.decompressobj(-15) if deflated else bz2.BZ2Decompressor()
                data, _ = self.unpack(machine, packed(0, _MOST_OF_ONE), _MOST_OF_ONE)
                if len(data) < info.file_size:
                    return self.shut(one, "an archive in an archive, too large to look into")
        except _BROKEN as error:
            return self.shut(one, f"damaged: {error}")
        if info.file_size and not data:
            return self.shut(one, "not looked into: too much to unpack" if not self.left else "truncated")
        return self.look(name, _of(data), info.file_size, depth + 1)

    def tar(self, seen: Seen, at: At, size: int, depth: int) -> None:
        """Judge a tar by its headers and the heads of its members."""
        with tarfile.open(fileobj=cast(BinaryIO, _View(at, size)), mode="r:") as archive:
            while (info := archive.next()) is not None:
                cast(Any, archive).members.clear()  # or it keeps them all
                if not self.member_left(seen):
                    return
                self.names(seen, [info.name, *([info.linkname] if info.issym() or info.islnk() else [])])
                label = f"{seen.path}!{info.name}"
                if info.isreg() and not info.issparse():
                    part = _part(at, info.offset_data, info.size)
                    keep(seen, self.look(label, part, info.size, depth + 1))
                    if info.offset_data + info.size > size:
                        self.shut(seen, "truncated: its last member is cut off")
                elif not (info.isdir() or info.issym() or info.islnk()):
                    keep(seen, self.shut(Seen(label), "a device, a pipe or a sparse file: not looked into"))

    def names(self, seen: Seen, names: list[str]) -> None:
        """Warn of names that lead out of where the archive is unpacked."""
        climbing = [name for name in names if formats.climbs(name)]
        if climbing:
            more = f" and {len(climbing) - 1} more" if climbing[1:] else ""
            seen.warnings.append(f"leads out of its folder when unpacked: {climbing[0]}{more}")


def _two_in_one(first: Seen, second: Seen, what: str) -> Seen:
    """The verdict on a file that is one thing by its first bytes, and another further back."""
    if first.format is formats.UNKNOWN:
        if second.format.certain and not second.format.runs_code:
            second.format = formats.unsure(second.format)
        second.warnings.append(f"holds {what}, after other bytes; loaders open it all the same")
        return second
    # TensorFlow Lite appends what belongs to a model, as its labels, as a zip.
    labels = first.format is formats.TFLITE and second.format is formats.ARCHIVE and second.only_data
    if labels or (first.format.runs_code and first.format.certain):
        return first
    second.path += "!appended"
    first.warnings.append(f"two files in one: {first.format.name}, and {what}")
    first.format, first.unseen = formats.MIXED, True
    first.inside.append(second)
    return first


def _superblock(at: At, size: int) -> int:
    """Where an HDF5 file begins behind a user block (512 bytes, or a power of two of them); 0 if nowhere."""
    place = 512
    while place < size:
        if at(place, 8) == _HDF5:
            return place
        place *= 2
    return 0


def _is_tar(head: bytes) -> bool:
    """Whether this is a tar header: old ones have no magic, and all have a checksum."""
    said = head[148:156].strip(b"\0 ")
    if len(head) < 512 or not said or not head[0] or set(said) - set(b"01234567"):
        return False
    return sum(head[:512]) - sum(head[148:156]) + 8 * 32 == int(said, 8)


def _lz4_start(head: bytes) -> bytes:
    """The bytes that an LZ4 frame begins with: those of its first block that stand there as they are."""
    place = 7 + (8 if head[4:5] and head[4] & 8 else 0) + (4 if head[4:5] and head[4] & 1 else 0)
    size, data = int.from_bytes(head[place : place + 4], "little"), head[place + 4 :]
    if size >> 31 or not data:
        return data[: size & 0x7FFFFFFF]
    count, used = data[0] >> 4, 1
    while count >= 15 and used < len(data):
        count, used = count + data[used], used + 1
        if data[used - 1] < 255:
            break
    return data[used : used + count]
