"""How the files of a registry lie, beside what manifests say: whether Git and DVC read them as gitreg does.

`check` looks at all of them, `check --base` at those that a change touches: with the same functions, so that
no merge brings what `check` refuses afterwards.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import checker, memo, treefiles
from gitreg.errors import GitregError, InvalidFiles, Problem, Refused
from gitreg.git import listing
from gitreg.globs import Glob
from gitreg.manifest import REGISTRY_FILE
from gitreg.store import dvcfiles, outputs
from gitreg.store.dvcfiles import folders_above
from gitreg.store.pointers import Pointers

if TYPE_CHECKING:
    from gitreg.checker import Checked
    from gitreg.registry import Registry

STAGES = "stages"
_FINE, _OUTPUTS = "dvc file", "dvc outputs"
# What a commit may have in .dvc.
_OF_DVC = ("config", "config.local", ".gitignore", ".gitattributes", ".gitkeep", "plots", "readme.md")
_DVC_NAMES = ("*.dvc", "dvc.yaml", "dvc.lock")
_EVERYWHERE = [f":(glob)**/{name}" for name in _DVC_NAMES]
_IGNORES = (".gitignore", ".dvcignore")
_KEEPERS = re.compile(r"lfs\Z|git-crypt")
_FILTER = re.compile(rb"filter\s*=|\[attr\]")


class Layout:
    """The files of one registry as they lie.

    Args:
        submodules: of the registry's work tree.
    """

    def __init__(self, registry: Registry, submodules: Collection[str]) -> None:
        self.registry, self.root = registry, registry.root
        self.submodules = submodules
        self.others: tuple[str, ...] = ()

    def everything(self, found: Sequence[Checked]) -> list[Problem]:
        """What is wrong anywhere.

        Args:
            found: all models.
        """
        if not self.registry.git_folder:  # and so it is no DVC repository either
            return self._config()
        every = sorted(file for file in self.registry.visible or () if dvcfiles.is_read(file))
        self.others = self._others(every, {*self.registry.files, *_files(found)})
        own = self._ours(file for file in every if os.path.lexists(self.root / file))
        return [
            *self._submodules(None),
            *self._dvc(own),
            *self._written(own),
            *self._around(),
            *self._seen_by_dvc(sorted({*own} & {*_files(found)})),
            *self._git_ignored(_EVERYWHERE),
            *self._kept_elsewhere([REGISTRY_FILE, *checker.stage_files(self.root), *own, *_files(found)]),
            *self._config(),
            *(self._without_dvc() if own else ()),
        ]

    def changed(
        self, changed: Collection[str], found: Sequence[Checked], folders: Sequence[str] = ()
    ) -> list[Problem]:
        """What is wrong with files that a change touches.

        Args:
            changed: their paths; those that it deletes included.
            found: the models that it touches.
            folders: below which a checkout may get other bytes than before.
        """
        if not self.registry.git_folder:
            return []
        own = sorted(file for file in changed if dvcfiles.is_read(file) and self._is_listed(file))
        ignoring = [file for file in changed if file.rpartition("/")[2] in _IGNORES]
        inner = [file.partition("/.dvc/")[0] for file in changed if "/.dvc/" in file]
        below = sorted({file.rpartition("/")[0] for file in ignoring} | set(inner))
        places = [
            f":(glob){f'{folder}/' if folder else ''}**/{name}" for folder in below for name in _DVC_NAMES
        ]
        hidden = listing.tracked(self.root, places)
        anew = [f":(glob){f'{folder}/' if folder else ''}**/{n}" for folder in folders for n in _DVC_NAMES]
        converted = listing.tracked(self.root, anew)
        used = {*_files(found), *(self._inputs() if below else ())}
        self.others = self._others([*changed, *hidden, *converted], used)
        own, hidden, converted = map(self._ours, (own, hidden, converted))
        fixed = [
            file
            for file in (REGISTRY_FILE, *checker.stage_files(self.root))
            if file in changed or any(not folder or file.startswith(f"{folder}/") for folder in folders)
        ]
        moved = any(file == ".dvc" or file.startswith(".dvc/") for file in changed)
        return [
            *self._submodules(changed),
            *self._dvc(own),
            *self._written(self._ours(listing.tracked(self.root, _EVERYWHERE)) if moved else own),
            *self._around(),
            *self._seen_by_dvc(sorted({*own, *hidden} & used)),
            *self._git_ignored([f":(literal){file}" for file in own] + places),
            *self._kept_elsewhere([*fixed, *own, *converted, *_files(found)]),
            *(self._config_now() if moved else ()),
            *(self._without_dvc() if moved and listing.tracked(self.root, _EVERYWHERE) else ()),
        ]

    # DVC repositories of others -------------------------------------------------------------------

    def _others(self, files: Iterable[str], used: Collection[str]) -> tuple[str, ...]:
        """Folders that are DVC repositories of their own, and have nothing of ours; with a slash at the end.

        Another registry below this one has one, and so has a project of somebody else's: what DVC reads there
        is that one's business.

        Args:
            files: those that they are above.
            used: what models of this registry are read from.
        """
        above = {folder for file in files for folder in folders_above(file) if folder}
        apart = sorted(folder for folder in above if (self.root / folder / ".dvc" / "config").is_file())
        if not apart:
            return ()
        used = {*used, *self.registry.files}
        return tuple(f"{one}/" for one in apart if not any(f"{file}/".startswith(f"{one}/") for file in used))

    def _inputs(self) -> Iterator[str]:
        """What every model of this registry is read from."""
        top = f"{self.root}/"
        for file in self.registry.files:
            with contextlib.suppress(GitregError):  # it is broken, which is another problem
                gathered = self.registry.gather(file, build=False, visible=self.registry.visible)
                yield from (path.removeprefix(top) for path in gathered.inputs if path.startswith(top))

    def _ours(self, files: Iterable[str]) -> list[str]:
        return [file for file in files if not file.startswith(self.others)] if self.others else [*files]

    def _is_listed(self, file: str) -> bool:
        """Whether Git lists a path that changed: it is there, and no folder of files."""
        here = self.root / file
        return os.path.lexists(here) and (here.is_symlink() or not here.is_dir() or file in self.submodules)

    # Submodules -----------------------------------------------------------------------------------

    def _submodules(self, changed: Collection[str] | None) -> Iterator[Problem]:
        """Submodules where the registry's own files should be."""
        wanted = self.registry.file.models.removeprefix("./")
        name = wanted.rpartition("/")[2]
        above = re.split(r"[*?\[]", wanted)[0].rpartition("/")[0]
        for path in self.submodules if changed is None else sorted(set(self.submodules) & set(changed)):
            own = path in (STAGES, ".dvc") or above == path or above.startswith(f"{path}/")
            if own or Glob(wanted).match(f"{path}/{name}") or Glob(wanted).match(path):
                yield Problem(path, 0, 0, "", treefiles.SUBMODULE)

    # DVC's files ----------------------------------------------------------------------------------

    def _dvc(self, files: Iterable[str]) -> list[Problem]:
        """What DVC refuses in its own files; one that is fine is not looked at again until it changes."""
        odd = [file for file in files if not dvcfiles.is_plain(self.root, file)]
        known = self.registry.memo.recall(_FINE) if odd else {}
        problems, fine = [], {}
        for file in (file for file in odd if file not in known):
            before = memo.stamps(memo.lying(self.root, file))
            if wrong := dvcfiles.mistakes(self.root, file):
                problems += wrong
            else:
                fine[file] = (before, True)
        self.registry.memo.remember(_FINE, fine)
        return problems

    def _written(self, files: Iterable[str]) -> Iterator[Problem]:
        """Outputs that DVC would write over files of Git's or its own, or get from no remote."""
        odd = [file for file in files if outputs.is_read(file) and not dvcfiles.is_beside(self.root, file)]
        known = self.registry.memo.recall(_OUTPUTS) if odd else {}
        found, fresh = {}, {}
        for file in odd:
            if file not in known:
                read = [file, *([f"{file.removesuffix('lock')}yaml"] if file.endswith("lock") else [])]
                before = memo.stamps([place for one in read for place in memo.lying(self.root, one)])
                fresh[file] = (before, [list(one) for one in outputs.outputs_of(self.root, file)])
            said = known[file] if file in known else fresh[file][1]
            found[file] = [outputs.Output(*one) for one in said]
        self.registry.memo.remember(_OUTPUTS, fresh)
        yield from self._misplaced(found)
        named = {one.remote.lower() for every in found.values() for one in every if one.remote}
        try:
            unknown = named - (self.registry.store.remote_names() if named else set())
        except Refused:  # which is another problem
            return
        for file, every in found.items():
            for one in every:
                if one.remote.lower() in unknown:
                    why = f"'{one.path}' is kept in the remote {one.remote!r}, which is not configured"
                    yield Problem(file, 0, 0, "", f"{why}: dvc remote list")

    def _misplaced(self, found: Mapping[str, Sequence[outputs.Output]]) -> Iterator[Problem]:
        """Outputs that lie where DVC must not write."""
        fine = []
        for file, every in found.items():
            for one in (one for one in every if one.cached):
                if why := outputs.mistake(one):
                    yield Problem(file, 0, 0, "", f"DVC must not write '{one.path}': it {why}")
                else:
                    fine.append((file, one.path))
        kept = listing.tracked(self.root, [f":(literal,icase){path}" for _, path in fine if path != "."])
        whole = {name.casefold() for name in kept}
        whole |= {above.casefold() for name in kept for above in folders_above(name)}
        for file, path in fine:
            if path == "." or path.casefold() in whole:
                why = "Git tracks it, or files in it: DVC would write over them"
                yield Problem(file, 0, 0, "", f"'{path}' is an output of DVC's, and {why}")

    def _around(self) -> Iterator[Problem]:
        """What DVC ends on besides its files: .gitmodules, and its own folders if a commit brings them."""
        if wrong := dvcfiles.submodules_mistake(self.root):
            yield Problem(wrong[0], 0, 0, "", wrong[1])
        for file in listing.tracked(self.root, [":(icase).dvc"]):
            first = file.partition("/")[2].partition("/")[0].casefold()
            if first and first not in _OF_DVC:
                why = "DVC keeps notes of its own, and its cache, in .dvc: no commit brings any"
                yield Problem(file, 0, 0, "", f"{why}: git rm --cached {shlex.quote(file)}")

    def _config(self) -> list[Problem]:
        """What DVC refuses in its configuration."""
        known = self.registry.memo.recall_one(_FINE, "config")
        if known:
            return []
        before = memo.stamps([one for file in dvcfiles.CONFIGS for one in memo.lying(self.root, file)])
        wrong = self._config_now()
        if not wrong and not any(dvcfiles.is_odd(self.root, file) for file in dvcfiles.CONFIGS):
            self.registry.memo.remember(_FINE, {"config": (before, True)})
        return wrong

    def _config_now(self) -> list[Problem]:
        """What DVC refuses in its configuration, and what gitreg takes of no file that Git tracks."""
        wrong = dvcfiles.config_mistakes(self.root)
        for file, fault in self.registry.store.faults():
            line = dvcfiles.line_of(self.root, file, fault)
            wrong.append(Problem(file, line, 1 if line else 0, "", f"{fault.line}: {fault.hint}"))
        return wrong

    def _seen_by_dvc(self, files: Sequence[str]) -> Iterator[Problem]:
        """DVC's files that DVC does not see, and those whose outputs it does not see.

        Args:
            files: those that a model is read from: what else is hidden may be meant to be, as samples are.
        """
        if not files or not dvcfiles.may_hide(self.root, files):
            return
        outputs = {file: self._outputs(file) for file in files}
        asked = dict.fromkeys([*files, *(path for paths in outputs.values() for path in paths)])
        if wrong := dvcfiles.ignore_mistakes(self.root, asked):
            yield from wrong
            return
        hidden = dvcfiles.hidden(self.root, asked)
        for file, paths in outputs.items():
            if file in hidden:
                yield Problem(file, 0, 0, "", f"DVC does not see this file: {hidden[file]} hides it")
            for path in paths:
                if path in hidden:
                    yield Problem(file, 0, 0, "", f"DVC refuses '{path}': {hidden[path]} hides it")

    def _outputs(self, file: str) -> list[str]:
        try:
            stages = {} if file.endswith("dvc.yaml") else Pointers(self.root).outputs(file)
        except Refused:  # which is another problem
            return []
        return [path for paths in stages.values() for path in paths]

    def _git_ignored(self, places: Sequence[str]) -> Iterator[Problem]:
        """DVC's files that are committed although a .gitignore names them: DVC refuses those."""
        if not places:
            return
        for file in self._ours(listing.ignored(self.root, ".gitignore", places)):
            why = "a .gitignore names it, and DVC reads no file that Git ignores"
            yield Problem(file, 0, 0, "", f"{why}: git check-ignore --no-index -v {file}")

    def _without_dvc(self) -> Iterator[Problem]:
        """A registry with DVC's files that is no DVC repository (any more)."""
        if not (self.root / ".dvc").is_dir():
            yield Problem(".dvc", 0, 0, "", "is missing, so nothing can be fetched: dvc init")

    # Files that Git keeps in another form ---------------------------------------------------------

    def _kept_elsewhere(self, files: Iterable[str]) -> Iterator[Problem]:
        """Files of which a commit holds a pointer, or a cipher, though the file itself lies here."""
        asked = list(dict.fromkeys(files))
        if asked and self._filters(asked):
            for file, keeper in listing.filters(self.root, asked).items():
                if _KEEPERS.match(keeper):
                    why = f"gitreg reads commits, which do not hold it: .gitattributes gives it to '{keeper}'"
                    yield Problem(file, 0, 0, "", f"{why}; keep it in Git itself")

    def _filters(self, files: Iterable[str]) -> bool:
        """Whether anything above some files could have Git filter them."""
        folders = {self.root / above for file in files for above in folders_above(file)}
        folders |= {*self.root.parents[: self.registry.prefix.count("/")]}
        return any(_mentions(folder / ".gitattributes") for folder in folders)


def _files(found: Iterable[Checked]) -> list[str]:
    """What the content of models depends on."""
    return [file for one in found for file in one.files]


def _mentions(attributes: Path) -> bool:
    try:
        return bool(_FILTER.search(treefiles.follow(attributes, attributes.name, 1 << 20)))
    except InvalidFiles:
        return os.path.lexists(attributes)
