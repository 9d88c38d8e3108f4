"""What a repository holds, for a judge: read only, and on a server as in a clone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from gitreg import git, neighbours, ownership
from gitreg.declared import Manifest
from gitreg.errors import Refused
from gitreg.git import objects, refs
from gitreg.globs import Glob
from gitreg.manifest import REGISTRY_FILE
from gitreg.memo import Memo
from gitreg.recorded import Tag
from gitreg.repository import Repository
from gitreg.snapshot import Manifested, Snapshot
from gitreg.tagspace import Space, prefix_of

TAGS = "refs/tags/"
_MANY = 1000  # models whose tags are asked for one by one: a command line is not endless


class Update(NamedTuple):
    """A reference as Git is about to change it: full name, object id before and after; zeros for none."""

    ref: str
    old: str
    new: str


def nothing(oid: str) -> bool:
    """Whether an object id stands for no object."""
    return not oid.strip("0")


class View(Repository):
    """What a repository holds, read only: a bare one on a server, or a clone.

    Args:
        root: the folder of the bare repository, or the registry's root.
        prefix: where the registry lies in the repository: empty, or a path with a slash at its end.
        remote: whose branches count, as last fetched; None for the repository's own.
        branch: the default branch; by default the one that HEAD names.
    """

    def __init__(
        self, root: Path, prefix: str = "", remote: str | None = None, branch: str | None = None
    ) -> None:
        super().__init__(root)
        self.prefix, self.remote, self.branch = prefix, remote, branch
        self.heads = f"refs/remotes/{remote}/" if remote else "refs/heads/"
        self.absent = False
        self._manifests: dict[tuple[str, str], Manifest | None] = {}
        self._named: dict[str, dict[str, Manifested]] = {}

    @classmethod
    def of_clone(cls, root: Path, remote: str | None = None, branch: str | None = None) -> View:
        """The view of a registry in a clone.

        Args:
            remote: by default the one that the branch follows, or origin.

        Raises:
            Refused: the clone has not the whole history.
        """
        if refs.is_shallow(root):
            hint = "git fetch --unshallow --tags (actions/checkout: fetch-depth: 0)"
            raise Refused("this is a shallow clone: the commits that tags name may be missing", hint)
        return cls(root, git.prefix(root), remote or refs.default_remote(root), branch)

    @cached_property
    def memo(self) -> Memo:
        """None: whoever pushes to a server need not be let write into its repository."""
        return Memo(None, "")

    def snapshot(self, commit: str) -> Snapshot:
        """The files as a commit has them; all read through one process."""
        one = super().snapshot(commit)
        one.prefix, one.reader = self.prefix, self.reader
        return one

    def _asked(self, form: str, names: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(names))
        said = "".join(f"{name}\n" for name in asked).encode("utf-8", "surrogateescape")
        lines = git.must(self.root, ["cat-file", f"--batch-check={form}"], said).split("\n") if asked else []
        return {name: line for name, line in zip(asked, lines, strict=True) if not line.endswith(" missing")}

    def kinds(self, oids: Iterable[str]) -> dict[str, str]:
        """The types of the objects that there are."""
        return self._asked("%(objecttype)", oids)

    def oids(self, names: Iterable[str]) -> dict[str, str]:
        """What full reference names point at, of those that there are."""
        return self._asked("%(objectname)", names)

    def tags(self, models: Mapping[str, object], besides: Iterable[str]) -> dict[str, list[Tag]]:
        """The tags of some models, but for some references."""
        left_out = set(besides)
        found: dict[str, list[Tag]] = {model: [] for model in models}
        named, _ = refs.tags(self.root, models if len(models) < _MANY else None, self.space)
        for tag in ownership.divided(self.root, self.space, named)[0]:
            if tag.says.model in found and TAGS + tag.name not in left_out:
                found[tag.says.model].append(tag)
        return found

    def outside(self, commits: Iterable[str], tip: str) -> set[str]:
        """Those of some commits that are no part of a branch with this tip."""
        asked = set(commits)
        said = "".join(f"{commit}\n" for commit in (*sorted(asked), f"^{tip}")).encode()
        return asked & set(git.must(self.root, ["rev-list", "--stdin"], said).split("\n")) if asked else set()

    def settle(self, tip: str | None) -> None:
        """Learn from the files of a commit which names of tags are this registry's, and which are others'."""
        folder = self.prefix.removesuffix("/")
        file = f"{self.prefix}{REGISTRY_FILE}"
        found = self.reader.read(f"{tip}:{file}") if tip else None
        if found:
            self.space = Space(folder, neighbours.prefix_in(found[1], folder))
        else:  # it is not there yet, or not any more, and what has no prefix is another's
            self.absent = bool(tip and self._others(tip, ()))

    def concerns(self, ref: str, tip: str | None) -> bool:
        """Whether a tag is one for this registry to judge: its own, or nobody's if it has no prefix."""
        name = ref.removeprefix(TAGS)
        prefix, space = prefix_of(name), self.space
        if self.absent:
            return bool(prefix) and prefix == space.folder
        if space.prefix or not prefix or prefix == space.folder:
            return name.startswith(f"{space.prefix}=" if space.prefix else "")
        return tip is None or self.reader.read(f"{tip}:{prefix}/{REGISTRY_FILE}") is None

    def clash(self, tip: str | None) -> str | None:
        """Why tags without a prefix cannot be judged: another registry writes such ones too."""
        if tip is None or self.space.prefix:
            return None
        found = self.reader.read(f"{tip}:{self.prefix}{REGISTRY_FILE}")
        ignored = neighbours.ignored_in(found[1]) if found else ()
        problem = neighbours.clash(self.space.folder, "", self._others(tip, ignored))
        return problem.message if problem else None

    def _others(self, tip: str, ignored: Sequence[str]) -> list[neighbours.Neighbour]:
        folders = neighbours.folders(objects.tree(self.root, tip), self.prefix.removesuffix("/"), ignored)
        return neighbours.at(self.root, tip, folders)

    def tip(self, updates: Sequence[Update]) -> tuple[str, str | None]:
        """The default branch and its last commit after a push; None when it has none."""
        branch = self.branch or self._head()
        ref = self.heads + branch
        old = self.oids([ref]).get(ref)
        new = next((update.new for update in updates if update.ref == ref), None)
        # A branch that is rewritten may be refused after the tags were let in: its old tip counts.
        if new is None or (old and not nothing(new) and not refs.is_ancestor(self.root, old, new)):
            return branch, old
        return branch, None if nothing(new) else new

    def _head(self) -> str:
        """The name of the default branch. Read in full: a tag `main` makes Git's short names ambiguous."""
        here = self.heads == "refs/heads/"
        ran = git.run(self.root, ["symbolic-ref", "--quiet", "HEAD" if here else f"{self.heads}HEAD"])
        if ran.code == 0:
            return ran.out.removeprefix(self.heads)
        usual = [f"{self.heads}{name}" for name in ("main", "master")]
        found = next(iter(self.oids(usual)), "") or git.run(self.root, ["symbolic-ref", "-q", "HEAD"]).out
        return found.removeprefix(self.heads).removeprefix("refs/heads/") or "main"

    def manifest(self, tag: Tag) -> Manifest | None:
        """The valid manifest of the model at the commit of a tag that registers a version, or None."""
        key = tag.commit, tag.says.model
        if key not in self._manifests:
            self._manifests[key] = self._manifest(tag)
        return self._manifests[key]

    def _manifest(self, tag: Tag) -> Manifest | None:
        model, snapshot = tag.says.model, self.snapshot(tag.commit)
        try:
            wanted = Glob(snapshot.file.models)
        except Refused:
            return None
        for file in (self.trailers(tag).get("Gitreg-Manifest", ""), f"models/{model}/model.yaml"):
            # What a tag says is a stranger's guess: it has to be where the registry looks for manifests.
            if wanted.match(file) and not any(part.startswith(".") for part in file.split("/")):
                read = snapshot.manifest(file)
                if read and read.manifest and read.manifest.name == model:
                    return read.manifest
        if tag.commit not in self._named:
            self._named[tag.commit] = snapshot.named()[0]
        said = self._named[tag.commit].get(model)
        read = snapshot.manifest(said.file) if said else None
        return read.manifest if read else None
