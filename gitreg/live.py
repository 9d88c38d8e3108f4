"""Puts packages into model repositories that a server watches, so that it sees whole models or none.

Triton takes each folder in a model repository for a model, hidden ones too. So a package is laid out in the
folder above the repository, and renamed into it. Where that folder is on another file system, or may not be
written, it is laid out elsewhere, copied into a hidden folder in the model's own, which Triton takes for no
version, and moved from there piece by piece: folders first, `config.pbtxt` last.

    LIVE/churn/.gitreg-new/lock        held by who writes here
    LIVE/churn/.gitreg-new/plan.json   what was there, and what comes: size, time and inode of each file
    LIVE/churn/.gitreg-new/new/        the package
    LIVE/churn/.gitreg-new/old/        what it replaces

Without a plan nothing was moved yet. With one, whoever comes next ends what a killed process began.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gitreg import folders, memo, trees
from gitreg.errors import Outside, Refused

HIDDEN = ".gitreg-new"
_LAST = "config.pbtxt"
_SHOWN = 5

_Stamps = Mapping[str, "memo.Stamp | None"]


@contextlib.contextmanager
def beside(
    place: Path, kind: str, scratch: Callable[[], contextlib.AbstractContextManager[Path]]
) -> Iterator[Path]:
    """A folder in which a package can be laid out and tested, before `put` moves it into place.

    Args:
        kind: its format, or "artifact"; a server watches Triton's.
        scratch: makes a folder for a package that cannot be laid out near its place.
    """
    folder = above(place) if kind == "triton" else place.parent
    if folder is not None and os.access(_existing(folder), os.W_OK | os.X_OK):
        yield folder
        return
    with scratch() as folder:
        yield folder


def above(place: Path) -> Path | None:
    """The folder above a package's model repository, where a rename leads from there into it; else None."""
    repository = place.parent.resolve()
    folder = repository.parent
    if folder == repository:
        return None
    there, beyond = _existing(repository), _existing(folder)
    same = there.stat().st_dev == beyond.stat().st_dev
    # A repository of models in a folder of a repository of models would be hurt in the same way.
    return folder if same and os.access(beyond, os.W_OK | os.X_OK) and not _is_repository(folder) else None


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())


def _is_repository(folder: Path) -> bool:
    return any(folder.glob(f"*/{_LAST}"))


def need_room(new: Path, place: Path) -> None:
    """Raise Outside where a package will have to be copied into place, and its disk is too full for that."""
    disk = _existing(place)
    size = sum((new / path).stat().st_size for path in folders.tree_files(new))
    if disk.stat().st_dev != new.stat().st_dev and shutil.disk_usage(disk).free < size:
        raise folders.no_space(disk)


def put(new: Path, place: Path) -> None:
    """Move a package into place, which the caller has made sure may be replaced.

    Raises:
        Refused: another process does so, or something came to be there meanwhile.
        Outside: the disk is full or refuses.
    """
    try:
        folders.put(new, place)
    except OSError as error:
        # EXDEV: another file system, or the same one mounted twice; EBUSY: the place is a mount itself.
        if error.errno not in (errno.EXDEV, errno.EBUSY):
            raise
        _put_by_pieces(new, place)


def recover(place: Path) -> None:
    """End what a killed process began in a place.

    Raises:
        Refused: another process is at work there; or files in it were changed since.
        Outside: the disk is full or refuses.
    """
    hidden = place / HIDDEN
    if place.is_symlink() or not os.path.lexists(hidden):
        return
    _refuse_foreign(hidden)
    with folders.disk(place), _locked(hidden):
        if (hidden / "plan.json").exists():
            _carry_out(place)
        folders.remove(hidden)


def _refuse_foreign(hidden: Path) -> None:
    if not folders.is_own(hidden):
        raise Refused(f"{hidden} is not from gitreg, or another user's", "move it away, or choose another -o")


def _put_by_pieces(new: Path, place: Path) -> None:
    with folders.disk(place):
        made = not place.exists()
        place.mkdir(parents=True, exist_ok=True)
        if made:
            place.chmod(0o755)
        hidden = place / HIDDEN
        with contextlib.suppress(FileExistsError):
            hidden.mkdir(mode=0o700)
        _refuse_foreign(hidden)
        with _locked(hidden):
            try:
                _copy(new, hidden / "new")
                plan = {"was": _stamps(place), "new": _stamps(hidden / "new")}
                folders.replace(hidden / "plan.json", json.dumps(plan).encode())
            except BaseException:
                folders.remove(hidden)
                if made:
                    with contextlib.suppress(OSError):
                        place.rmdir()
                raise
            _carry_out(place)
            folders.remove(hidden)


@contextlib.contextmanager
def _locked(hidden: Path) -> Iterator[None]:
    """Hold the lock of a hidden folder, which ends with this process."""
    busy = Refused(f"another gitreg is writing into {hidden.parent}", "wait for it")
    try:
        descriptor = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise busy from None  # it has just ended
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
        raise Refused(f"{hidden} is not from gitreg", "move it away, or choose another -o") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.stat(hidden / "lock")
        except (BlockingIOError, FileNotFoundError):
            raise busy from None
        if not os.path.samestat(there, os.fstat(descriptor)):
            raise busy
        yield
    finally:
        os.close(descriptor)


def _carry_out(place: Path) -> None:
    """Move what is new into place, and what was there out of it, as far as that is still to be done."""
    hidden = place / HIDDEN
    was, coming = _plan(hidden / "plan.json")
    there = _stamps(place)
    foreign = sorted(path for path, stamp in there.items() if stamp not in (was.get(path), coming.get(path)))
    if foreign:
        listed = ", ".join(foreign[:_SHOWN]) + (", ..." if len(foreign) > _SHOWN else "")
        raise Refused(
            f"{place} is half replaced, as a process was killed, and was changed since: {listed}",
            "move that away, and run this again",
        )
    (hidden / "old").mkdir(exist_ok=True)
    tops = {path.partition("/")[0] for path in coming}
    for name in sorted(tops, key=lambda name: (name == _LAST, not (hidden / "new" / name).is_dir(), name)):
        if not _is_there(name, coming, there):
            _exchange(hidden / "new" / name, place / name, hidden / "old" / name)
    for name in sorted({path.partition("/")[0] for path in was} - tops):
        if os.path.lexists(place / name):
            os.rename(place / name, hidden / "old" / name)


def _is_there(name: str, coming: _Stamps, there: _Stamps) -> bool:
    """Whether a file or folder at the top of a package is in place already."""
    mine = {path: stamp for path, stamp in coming.items() if path.partition("/")[0] == name}
    return all(there.get(path) == stamp for path, stamp in mine.items())


def _exchange(new: Path, place: Path, old: Path) -> None:
    if not os.path.lexists(place) or not (place.is_dir() or new.is_dir()):
        os.replace(new, place)
    elif not folders.exchange(new, place):
        os.rename(place, old)
        os.rename(new, place)


def _plan(file: Path) -> tuple[_Stamps, _Stamps]:
    try:
        said = json.loads(file.read_bytes())
        was, coming = dict(said["was"]), dict(said["new"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Outside(f"{file} is damaged", f"look into {file.parent.parent}, and move it away") from None
    names = {path.partition("/")[0] for path in (*was, *coming)}
    if names & {"", ".", "..", HIDDEN}:
        raise Outside(f"{file} is damaged", f"look into {file.parent.parent}, and move it away")
    return was, coming


def _stamps(folder: Path) -> dict[str, memo.Stamp | None]:
    """Size, time and inode of each file below a folder, besides what is hidden here."""
    paths = [path for path in folders.tree_files(folder, bytecode=True) if not path.startswith(f"{HIDDEN}/")]
    return {path: memo.stamp(folder / path) for path in paths}


def _copy(source: Path, target: Path) -> None:
    """Copy a package with its modes; blocks are shared where the file system can."""
    folders.remove(target)
    target.mkdir(parents=True)
    for path in folders.tree_files(source, bytecode=True):
        to = target / path
        to.parent.mkdir(parents=True, exist_ok=True)
        if not folders.can_reflink(source / path, to):
            shutil.copyfile(source / path, to)
        shutil.copymode(source / path, to)
    for folder in [Path(where) for where, _, _ in trees.walk(target)]:
        folder.chmod(0o755)
