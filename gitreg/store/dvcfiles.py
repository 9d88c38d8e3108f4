"""What DVC itself reads in a repository: each `.dvc` file, dvc.yaml, dvc.lock, `.dvc/config`, .dvcignore.

One that is broken, wherever it lies, fails `dvc pull`, `dvc status` and `dvc artifacts get` for all models.
DVC's own schemas and its own `.dvcignore` decide; they are loaded only for what gitreg and `dvc add` do not
write that way.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from gitreg import dvcconfig, dvckeys, treefiles
from gitreg.documents import Document, overgrown, parse
from gitreg.dvckeys import Fault
from gitreg.errors import InvalidFiles, Problem, Refused

CONFIGS = (".dvc/config", ".dvc/config.local")
_MOST = 32 << 20
# Of others than `dvc add` and gitreg write: DVC's reader takes seconds for each megabyte.
_MOST_ODD, _MOST_TOLD = 512 << 10, 100
# DVC makes one expression of a whole .dvcignore, and takes longer than anybody waits for many `*`.
_MOST_IGNORE, _MOST_STARS = 64 << 10, 3
# A .dvc file as `dvc add` writes it. A name that YAML would take for something else is in quotes there.
_ADDED = re.compile(
    rb"outs:\n- md5: (?![0-9]+(?:e[0-9]+)?(?:\.dir)?\n)[0-9a-f]{32}(?:\.dir)?\n(?:  size: [0-9]+\n)?"
    rb"(?:  nfiles: [0-9]+\n)?(?:  hash: md5\n)?"
    rb"  path: (?!(?i:y|n|yes|no|on|off|true|false|null)\n)[A-Za-z][\w.-]*\n\Z"
)
# A dvc.yaml with nothing but the section that gitreg keeps.
_KEPT = re.compile(
    rb"(?:(?:#[ -~]*)?\n)*artifacts:\n"
    rb"(?:  [a-z][a-z0-9-]*:\n    path: [A-Za-z][\w./-]*\n(?:    type: model\n)?|#[ -~]*\n|\n)*\Z"
)


def is_read(file: str) -> bool:
    """Whether DVC reads a file, by its name; its configuration and what it ignores are not meant."""
    return file.endswith((".dvc", "/dvc.yaml", "/dvc.lock")) or file in ("dvc.yaml", "dvc.lock")


def is_beside(root: Path, file: str) -> bool:
    """Whether a file is as `dvc add` writes it, for what lies beside it by the same name."""
    if not file.endswith(".dvc"):
        return False
    name = file.rpartition("/")[2].removesuffix(".dvc").encode("utf-8", "surrogateescape")
    try:
        raw = treefiles.read(root, file, _MOST)
    except InvalidFiles:
        return False
    return bool(_ADDED.match(raw)) and raw.endswith(b"  path: " + name + b"\n")


def is_plain(root: Path, file: str) -> bool:
    """Whether a file is as `dvc add` and gitreg write it, and so is valid."""
    wanted = _ADDED if file.endswith(".dvc") else _KEPT
    try:
        return bool(wanted.match(treefiles.read(root, file, _MOST)))
    except InvalidFiles:
        return False


def mistakes(root: Path, file: str) -> list[Problem]:
    """What DVC refuses in one of its files; and a link, which commits do not follow."""
    try:
        raw = treefiles.read(root, file, _MOST)
    except InvalidFiles as invalid:
        return list(invalid.problems)
    too_much = overgrown(raw)
    if len(raw) > _MOST_ODD:
        too_much = (
            f"{len(raw):,} bytes; DVC takes minutes for such a file: at most {_MOST_ODD:,}, "
            "and more in folders of their own"
        )
    if too_much:
        return [Problem(file, 0, 0, "", too_much)]
    from dvc import schema
    from dvc.utils.serialize import ParseError, parse_yaml
    from voluptuous import MultipleInvalid

    judge = schema.COMPILED_SINGLE_STAGE_SCHEMA
    if not file.endswith(".dvc"):
        lock = file.endswith("dvc.lock")
        judge = schema.COMPILED_LOCKFILE_SCHEMA if lock else schema.COMPILED_MULTI_STAGE_SCHEMA
    try:
        judge(parse_yaml(raw.decode("utf-8"), file))
    except UnicodeDecodeError as error:
        return [Problem(file, 0, 0, "", f"not UTF-8: byte {error.start} is {raw[error.start]:#04x}")]
    except (ParseError, RecursionError) as error:
        return [_unreadable(file, error.__cause__ or error)]
    except MultipleInvalid as error:
        document = parse(raw, file, _MOST, merging=True)[0]
        return [_invalid(document, file, one) for one in error.errors[:_MOST_TOLD]]
    return []


def _unreadable(file: str, error: BaseException) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    what = getattr(error, "problem", None) or (str(error).splitlines() or ["nested too deep"])[0]
    return Problem(file, line, column, "", f"not YAML: {what}")


def _invalid(document: Document, file: str, error: Any) -> Problem:
    path = tuple(one if isinstance(one, int) else str(one) for one in error.path)
    message = f"{error.error_message} (DVC refuses the file)"
    return document.problem(path, message) if document.data is not None else Problem(file, 0, 0, "", message)


def submodules_mistake(root: Path) -> tuple[str, str] | None:
    """The .gitmodules at the top of a folder's repository, relative to the folder, and why DVC ends on it.

    DVC reads it with a reader of its own, whose errors tell what stands there.
    """
    tops = (above for above in (root, *root.parents) if os.path.lexists(above / ".git"))
    file = next(tops, root) / ".gitmodules"
    if not os.path.lexists(file):
        return None
    name = os.path.relpath(file, root)
    if file.is_symlink():
        return name, "is a symbolic link, which Git does not follow, and DVC does"
    from dulwich.config import ConfigFile

    try:
        ConfigFile.from_file(io.BytesIO(treefiles.follow(file, name, _MOST)))
    except InvalidFiles as invalid:
        return name, invalid.problems[0].message
    except Exception:  # whatever a reader makes of odd bytes
        return name, "DVC cannot read it, and ends on it: git config --file .gitmodules --list"
    return None


def config_mistakes(root: Path) -> list[Problem]:
    """What is wrong with the configuration that a repository has DVC read."""
    if linked := treefiles.link_mistake(root, ".dvc"):
        return [Problem(".dvc", 0, 0, "", linked)]
    return [problem for file in CONFIGS if os.path.lexists(root / file) for problem in _config(root, file)]


def _config(root: Path, file: str) -> Iterator[Problem]:
    try:
        raw = treefiles.read(root, file)
    except InvalidFiles as invalid:
        yield from invalid.problems
        return
    if wrong := config_mistake(raw):
        yield Problem(file, 0, 0, "", f"DVC refuses it: {wrong}")


def config_mistake(raw: bytes) -> str | None:
    """What DVC refuses in a configuration, which need not be complete; None if nothing."""
    try:
        said = dvcconfig.parsed(raw)
    except ValueError as error:
        return str(error)
    if loose := [name for name, values in said.items() if not isinstance(values, dict)]:
        known = loose[0] in ("core", "cache", "remote")  # others may be secrets
        return f"{repr(loose[0]) if known else 'a key'} stands outside of a section"
    if _is_usual(said):
        return None
    from dvc.config import Config, ConfigError, _lower_keys, _parse_named

    try:
        Config.validate(_parse_named(_lower_keys(said)))
    except ConfigError as error:
        return str(error).removeprefix("config file error: ").partition("\n")[0]
    except (TypeError, ValueError, AttributeError):
        return "a section or a value is not what DVC has there"
    return None


def is_odd(root: Path, file: str) -> bool:
    """Whether a configuration says what is not taken if Git tracks it."""
    try:
        return bool(dvckeys.sift(dvckeys.named(dvckeys.parse(treefiles.read(root, file), file, True)))[1])
    except Refused:
        return False


def line_of(root: Path, file: str, fault: Fault) -> int:
    """The line of a setting in a configuration, counted from 1; 0 where it is written in an odd way."""
    lines = treefiles.read(root, file).decode("utf-8", "replace").splitlines()
    section = ""
    for number, line in enumerate(lines, 1):
        words = line.strip().lower()
        if words.startswith("["):
            section = words.strip("[]").strip("'")
        elif section == fault.section and words.partition("=")[0].strip() == fault.key:
            return number
    return 0


def _is_usual(said: dict[str, Any]) -> bool:
    """Whether a configuration says no more than most do: DVC need not be loaded to judge it."""
    core = {"analytics", "check_update", "remote", "autostage"}
    usual, words = {"core": core, "cache": {"dir"}, "remote": {"url"}}, {"true", "false"}
    for section, values in said.items():
        kind = "remote" if re.fullmatch(r"'?remote \"[\w.-]+\"'?", section) else section
        if kind not in usual or not isinstance(values, dict) or not usual[kind].issuperset(values):
            return False
        if any(not isinstance(value, str) for value in values.values()):
            return False
        switches = {key: value for key, value in values.items() if kind == "core" and key != "remote"}
        if any(value.lower() not in words for value in switches.values()):
            return False
        if kind == "remote" and not re.match(r"s3://|/|\.\.?/", values.get("url", "")):
            return False
    return True


def hidden(root: Path, files: Iterable[str]) -> dict[str, str]:
    """Files and outputs that DVC does not see, and why: `.dvcignore`, or a DVC repository of its own.

    Args:
        files: DVC's files and what they track, relative to the root.
    """
    from dvc.fs import LocalFileSystem
    from dvc.ignore import DvcIgnoreFilter

    judge = DvcIgnoreFilter(LocalFileSystem(), str(root))
    found = {}
    for file in files:
        path = str(root / file)
        if judge.is_ignored_file(path) or (not is_read(file) and judge.is_ignored_dir(path)):
            inner = _inner_repository(root, file)
            found[file] = f"the DVC repository in '{inner}'" if inner else ".dvcignore"
    return found


def _inner_repository(root: Path, file: str) -> str | None:
    """The folder above a file that is a DVC repository of its own."""
    parts = file.split("/")[:-1]
    folders = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return next((folder for folder in folders if (root / folder / ".dvc").exists()), None)


def may_hide(root: Path, files: Collection[str]) -> bool:
    """Whether anything above some files could hide them from DVC: in most repositories nothing does."""
    folders = {above for file in files for above in folders_above(file)}
    return any(_says_something(root / folder / ".dvcignore") for folder in folders) or any(
        (root / folder / ".dvc").exists() for folder in folders if folder
    )


def folders_above(file: str) -> Iterator[str]:
    """The folders that a file is in, relative as it is; the root is empty."""
    parts = file.split("/")
    return ("/".join(parts[:depth]) for depth in range(len(parts)))


def ignore_mistakes(root: Path, files: Iterable[str]) -> list[Problem]:
    """What is wrong with the .dvcignore files above some files: DVC ends on them, or is never done."""
    folders = dict.fromkeys(above for file in files for above in folders_above(file) if ".." not in above)
    names = [os.path.join(folder, ".dvcignore") for folder in folders]
    return [
        problem
        for name in names
        if os.path.lexists(root / name) and _says_something(root / name)
        for problem in _ignore_file(root, name)
    ]


def refuse_ignores(root: Path, ignores: Iterable[Path]) -> None:
    """Raise Refused where DVC would end on one of some .dvcignore files."""
    if wrong := ignore_mistakes(root, (os.path.relpath(file, root) for file in ignores)):
        raise Refused([str(problem) for problem in wrong])


def _ignore_file(root: Path, name: str) -> Iterator[Problem]:
    try:
        from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern as Pattern
    except ImportError:  # before pathspec 1
        from pathspec.patterns import GitWildMatchPattern as Pattern  # type: ignore[attr-defined]

    try:
        text = treefiles.follow(root / name, name, _MOST_IGNORE).decode("utf-8")
    except InvalidFiles as invalid:
        yield from invalid.problems
        return
    except UnicodeDecodeError as error:
        yield Problem(name, 0, 0, "", f"not UTF-8: byte {error.start} is {error.object[error.start]:#04x}")
        return
    for number, line in enumerate(text.split("\n"), 1):
        if max((part.count("*") for part in line.split("/")), default=0) > _MOST_STARS or (
            line.count("**") > _MOST_STARS
        ):
            message = f"more than {_MOST_STARS} `*` in the name of a file or folder, or `**` in a line"
            yield Problem(name, number, 1, "", message)
            continue
        try:
            re.compile(Pattern(line.strip()).regex or "")
        except (ValueError, re.error, IndexError) as error:
            yield Problem(name, number, 1, "", f"DVC refuses the pattern: {error}")


def _says_something(file: Path) -> bool:
    try:
        raw = treefiles.follow(file, file.name, _MOST)
    except InvalidFiles:
        return os.path.lexists(file)
    return any(line.strip() and not line.strip().startswith(b"#") for line in raw.splitlines())
