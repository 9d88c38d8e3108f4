"""Git's objects: files of a commit without checking it out, commits and tag objects without touching
the work tree, the index or any reference."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from gitreg import printed
from gitreg.errors import Outside, Refused
from gitreg.git import NOWHERE, bare, must, plain, run, top

_OID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")


class Entry(NamedTuple):
    """A file in a tree: its mode (120000 is a symbolic link, 160000 a submodule) and its object."""

    mode: str
    oid: str


def resolve(root: Path, revision: str) -> str | None:
    """The commit that a revision names, or None."""
    ran = run(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"])
    return ran.out if ran.code == 0 and _OID.match(ran.out) else None


def ids(root: Path, names: Iterable[str]) -> dict[str, str]:
    """What full reference names point at; those that there are not are left out."""
    asked = list(names)
    said = "".join(f"{name}\n" for name in asked).encode()
    lines = must(root, ["cat-file", "--batch-check=%(objectname)"], said).split("\n") if asked else []
    return {name: at for name, at in zip(asked, lines, strict=True) if not at.endswith(" missing")}


def tree(root: Path, commit: str, paths: Sequence[str] = ()) -> dict[str, Entry]:
    """Every file of a commit, or of some paths in it."""
    listed = must(root, ["ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths])
    found = {}
    for line in listed.split("\0"):
        if line:
            head, _, path = line.partition("\t")
            mode, _, oid = head.split(" ")
            found[path] = Entry(mode, oid)
    return found


class Reader:
    """Reads objects through one process."""

    def __init__(self, root: Path) -> None:
        self._asking = plain.Asking(root)
        # Models are built on several threads: one would read what another one asked for, or wait for ever.
        self._turn = threading.Lock()

    def read(self, name: str, most: int = sys.maxsize, kind: str | None = None) -> tuple[str, bytes] | None:
        """(object id, content) of an object, as `<oid>` or `<commit>:<path>`; None where there is none.

        Args:
            most: bytes of it that are kept.
            kind: of the object, as "blob"; one of another kind is none.

        Raises:
            Refused: the objects are not those that DVC and GTO can read.
            Outside: a clone lacks it, and cannot fetch it now.
        """
        if re.match(r"[0-9a-f]{64}(:|\Z)", name):
            raise Refused(
                "this repository has SHA-256 objects, and DVC and GTO read SHA-1 alone",
                "git init --object-format=sha1",
            )
        with self._turn:
            found = self._asking.object(name, most)
        return (found.oid, found.data) if found and kind in (None, found.kind) else None

    def text(self, commit: str, path: str) -> str | None:
        """A file of a commit; None where there is none, or it is no text."""
        found = self.read(f"{commit}:{path}")
        try:
            return found[1].decode("utf-8") if found else None
        except UnicodeDecodeError:
            return None

    def close(self) -> None:
        """End the process."""
        self._asking.close()


def write_commit(root: Path, parent: str, files: Mapping[str, bytes | None], message: str) -> str:
    """A commit on top of another one with some files written, or removed (None); its id.

    Signed where `commit.gpgSign` says so, which `git commit-tree` does not look at itself.
    """
    made = _with_files(root, f"{parent}^{{tree}}", files)
    sign = ["-S"] if _asked(root, "commit.gpgSign") else []
    said = message.encode("utf-8", "surrogateescape")
    ran = run(root, ["commit-tree", made, "-p", parent, *sign, "-F", "-"], said)
    if ran.code:
        raise Outside(
            f"git commit-tree: {printed.said(ran.err)}", "git config --get-regexp gpg" if sign else None
        )
    return ran.out


def _with_files(root: Path, tree: str | None, files: Mapping[str, bytes | None]) -> str:
    """A tree with some files written, or removed; its id. No index is needed."""
    listed = must(root, ["ls-tree", "-z", "--full-tree", tree]) if tree else ""
    entries = {line.partition("\t")[2]: line for line in listed.split("\0") if line}
    deeper: dict[str, dict[str, bytes | None]] = {}
    for path, data in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            deeper.setdefault(name, {})[rest] = data
        elif data is None:
            entries.pop(name, None)
        else:
            mode = entries[name].split(" ")[0] if name in entries else "100644"
            oid = must(root, ["hash-object", "-w", "--stdin"], data)
            entries[name] = f"{mode} blob {oid}\t{name}"
    for name, inside in deeper.items():
        mode, kind, oid = entries.get(name, "- - -\t").partition("\t")[0].split(" ")
        entries[name] = f"040000 tree {_with_files(root, oid if kind == 'tree' else None, inside)}\t{name}"
    said = "\0".join(entries.values()).encode("utf-8", "surrogateescape")
    return must(root, ["mktree", "-z", "--missing"], said)


def patch(root: Path, old: str, new: str) -> str:
    """What differs between two commits, as `git diff` shows it, with nobody's own programs."""
    plain = ["--no-color", "--no-ext-diff", "--no-textconv"]
    return must(root, ["diff-tree", "-p", *plain, old, new])


def same_change(root: Path, one: str, other: str, parent: str) -> bool:
    """Whether two commits hold the same files, both on top of a parent."""
    said = [run(root, ["rev-parse", "--verify", "--quiet", f"{c}^{{tree}}"]).out for c in (one, other)]
    return said[0] == said[1] and resolve(root, f"{one}^1") == parent


def _asked(root: Path, key: str) -> bool:
    return run(root, ["config", "--type=bool", "--get", key]).out == "true"


def identity(root: Path, who: Literal["COMMITTER", "AUTHOR"] = "COMMITTER") -> str:
    """`Name <mail>` of who writes tags, or commits.

    Raises:
        Refused: Git does not know.
    """
    ran = run(root, ["-c", "user.useConfigOnly=true", "var", f"GIT_{who}_IDENT"])
    if ran.code:
        raise Refused(
            "Git does not know who you are, and every tag and commit says by whom it is",
            'git config --global user.name "..." && git config --global user.email "..."',
        )
    return ran.out.rsplit(" ", 2)[0]


def write_tags(root: Path, tags: Iterable[tuple[str, str, int, str]], folder: Path) -> list[str]:
    """Tag objects, which no reference names yet; their ids.

    Args:
        tags: (name, commit, tagger time, message) of each.
        folder: one to work in, of nobody else's; what an earlier call left there is written over.
    """
    tagger = identity(root)
    if _asked(root, "tag.gpgSign") or _asked(root, "tag.forceSignAnnotated"):
        _make_signer(root, folder / "signer")
        return [_signed(root, folder / "signer", *one) for one in tags]
    names = []
    for i, (name, commit, time, message) in enumerate(tags):
        head = f"object {commit}\ntype commit\ntag {name}\ntagger {tagger} {time} +0000\n\n"
        text = f"{head}{message.rstrip()}\n"
        (folder / str(i)).write_bytes(text.encode("utf-8", "surrogateescape"))
        names.append(f"{folder / str(i)}\n")
    return must(root, ["hash-object", "-t", "tag", "-w", "--stdin-paths"], "".join(names).encode()).split()


def _make_signer(root: Path, folder: Path) -> None:
    """A repository that shares another one's objects and configuration, and has references of its own.

    Git has no command that signs a tag and writes no reference. There, nobody sees it before all of them
    are made.
    """
    of = must(root, ["rev-parse", "--show-object-format"])
    folder.mkdir(exist_ok=True)
    must(folder, ["init", "--quiet", "--bare", "--template=", f"--object-format={of}", "."], where=NOWHERE)
    common = must(root, ["rev-parse", "--path-format=absolute", "--git-common-dir"])
    must(folder, ["config", "include.path", f"{common}/config"], where=bare(folder))
    must(folder, ["config", "core.bare", "true"], where=bare(folder))


def _signed(root: Path, signer: Path, name: str, commit: str, time: int, message: str) -> str:
    """A tag object that Git itself signs, however it is configured to."""
    common = must(root, ["rev-parse", "--path-format=absolute", "--git-common-dir"])
    environment = {
        "GIT_OBJECT_DIRECTORY": f"{common}/objects",
        "GIT_COMMITTER_DATE": f"{time} +0000",
        "TMPDIR": str(signer),  # where Git writes what is to be signed
    }
    how = ["--annotate", "--sign", "--cleanup=verbatim", "--file=-"]
    said = f"{message.rstrip()}\n".encode("utf-8", "surrogateescape")
    command = ["tag", *how, "--", name, commit]
    ran = run(top(root) or root, command, said, environment, bare(signer))
    asked = ["cat-file", "tag", f"refs/tags/{name}"]
    made = "" if ran.code else must(root, asked, environment=environment, where=bare(signer))
    if "\n-----BEGIN " not in made:  # Git 2.39 exits with 0 where it has no key, and leaves the tag unsigned
        raise Outside(f"git tag: cannot sign {name}: {printed.said(ran.err)}", "git config --get-regexp gpg")
    asked = ["rev-parse", "--verify", f"refs/tags/{name}"]
    return must(root, asked, environment=environment, where=bare(signer))


def trailers(message: str) -> dict[str, str]:
    """The `Key: value` lines of a message's last paragraph; a signature below it is no part of it."""
    text = re.split(r"\n-----BEGIN [A-Z ]*SIGNATURE-----\n", message.replace("\r\n", "\n"))[0]
    found = {}
    for line in text.rstrip().rpartition("\n\n")[2].split("\n"):
        key, colon, value = line.partition(": ")
        if colon and re.match(r"[A-Za-z][A-Za-z0-9-]*\Z", key):
            found[key] = value.strip()
    return found


def message_of(tag: bytes) -> str:
    """The message in a tag object's content."""
    return tag.partition(b"\n\n")[2].decode("utf-8", "replace")
