"""Edits of what should be, as commits that a reviewer can read: promote, demote, rollback, bump.

A commit is made from Git's objects on top of the branch that counts: the work tree, the index and the
branch that is checked out stay as they are. `apply` is for teams without reviews: commit and tags together,
on the branch itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import edits, forge, git, planner, printed, safewrite
from gitreg.applier import TRIES, Applier
from gitreg.errors import GitregError, InvalidFiles, Outside, Refused
from gitreg.git import objects, refs, transactions
from gitreg.marking import text
from gitreg.names import did_you_mean
from gitreg.planner import Planned
from gitreg.recorded import ModelRecord

if TYPE_CHECKING:
    from gitreg.registry import Registry


@dataclass
class Prepared:
    """What came of an edit.

    Attributes:
        changes: model -> (version in the stage's file before, after); None for none.
        branch: where the commit is; None when there was nothing to do, or with `apply`.
        commit: its id; None when there was nothing to do.
        message: the commit's.
        planned: what the merge will record, or with `apply`: what is recorded now.
        request: the address of the pull request, or of the page that opens one.
        opened: whether the pull request is open.
        pushed: whether it is on the remote.
        applied: whether the branch that counts has it, and the tags are written.
        tip: the commit that it is on top of.
    """

    stage: str
    changes: dict[str, tuple[str | None, str | None]]
    branch: str | None = None
    commit: str | None = None
    base: str = ""
    message: str = ""
    planned: Planned | None = None
    request: str | None = None
    opened: bool = False
    pushed: bool = False
    applied: bool = False
    remote: str | None = None
    tip: str | None = None


class Promoter:
    """Edits one stage.

    Args:
        push: send the branch to the remote.
        apply: commit to the branch that counts and write the tags, at once.
        branch: the new branch's name; by default made from what is done.
        note: more text for the commit message: why.
        preview: make the commit and judge it, and stop there: no branch, no tag, and a gate that does not
            pass is told in `planned` rather than raised.
    """

    def __init__(
        self,
        registry: Registry,
        stage: str,
        push: bool = False,
        apply: bool = False,
        remote: str | None = None,
        branch: str | None = None,
        note: str = "",
        progress: Callable[[str], None] | None = None,
        preview: bool = False,
    ) -> None:
        self.registry, self.root, self.stage = registry, registry.root, stage
        self.preview = preview
        self.push, self.apply, self.branch, self.note = push, apply, branch, note
        self.applier = Applier(registry, remote, progress)
        self.remote = self.applier.remote() if remote else refs.default_remote(self.root)
        self.base = refs.default_branch(self.root, self.remote)

    def promote(self, references: Sequence[str]) -> Prepared:
        """Put versions into the stage."""
        return self.edit("promote", lambda: self._versions(references))

    def demote(self, models: Sequence[str]) -> Prepared:
        """Take models out of the stage."""
        return self.edit("demote", lambda: dict.fromkeys(models, None))

    def rollback(self, models: Sequence[str], to: str | None = None) -> Prepared:
        """Put back what was in the stage before."""
        return self.edit("rollback", lambda: {model: self._before(model, to) for model in models})

    def _versions(self, references: Sequence[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for reference in references:
            model, version = self.registry.resolve(reference)
            if found.setdefault(model.name, version.version) != version.version:
                raise Refused(f"{model.name}: two versions cannot be in one stage", "name it once")
        return found

    def _before(self, name: str, to: str | None) -> str:
        """The version that was in the stage before the one that is came there for the first time."""
        known = self.registry.record(name)
        now = known.stages.get(self.stage)
        stays = [stay.version for stay in known.stays if stay.stage == self.stage]
        if to is not None:
            if to not in stays:
                past = ", ".join(dict.fromkeys(v for v in stays if v)) or "nothing"
                raise Refused(
                    f"{name}@{to} was never in {self.stage}; {past} was",
                    f"gitreg promote {name}@{to} {self.stage}",
                )
            return to
        # A model that was taken out goes back to what it was; else to what came before what it is.
        earlier = stays if now is None else stays[: stays.index(now)]
        usable = [version for version in earlier if version in known.registered and version != now]
        if not usable:
            what = f"before {now} there was none" if now else "there never was one"
            raise Refused(
                f"{name}: no earlier version in {self.stage} to go back to: {what}",
                f"gitreg demote {name} {self.stage}, or gitreg promote {name}@VERSION {self.stage}",
            )
        assert usable[-1]
        return usable[-1]

    # The commit ---------------------------------------------------------------------------------

    def edit(self, verb: str, wanted: Callable[[], Mapping[str, str | None]]) -> Prepared:
        """Commit what is wanted, once or, when others push first, again on top of theirs.

        Raises:
            Refused: a model, version or stage that there is not, a gate that does not pass.
            Outside: the remote cannot be reached, or refuses.
        """
        objects.identity(self.root)
        objects.identity(self.root, "AUTHOR")
        with self.applier.locked():
            pass  # even where there is nothing to do, what a killed run left goes
        online = self.push or (self.apply and self.remote is not None)
        if online:
            self.remote = self.applier.remote()
        for _ in range(TRIES):
            space = self.registry.space
            there = refs.fetch(self.root, self.remote, self.base, space) if online and self.remote else None
            try:
                return self._once(verb, wanted(), there)
            except refs.LostRace as lost:
                assert self.remote
                self.applier.wait(self.remote, lost, there)
        raise self.applier.beaten(self.remote or "")

    def _once(self, verb: str, wanted: Mapping[str, str | None], there: refs.Listed | None) -> Prepared:
        tip = self.tip()
        snapshot = self.registry.snapshot(tip)
        if self.stage not in snapshot.file.stages:
            known = snapshot.file.stages
            raise Refused(
                f"registry.yaml has no stage {self.stage!r}{did_you_mean(self.stage, known)}",
                f"stages: {', '.join(known) or 'none'}",
            )
        stays, problems = snapshot.stays_of(self.stage)
        if problems:
            raise InvalidFiles(problems, "gitreg check")
        before = {stay.model: stay.version for stay in stays}
        for model in wanted:
            if (
                model not in before
                and wanted[model] is None
                and not self.registry.record(model).stages.get(self.stage)
            ):
                raise Refused(
                    f"{model} is not in {self.stage}{did_you_mean(model, before)}",
                    f"stages/{self.stage}.yaml says what is there",
                )
        changes = {m: (before.get(m), v) for m, v in wanted.items() if before.get(m) != v}
        done = Prepared(self.stage, changes, base=self.base, remote=self.remote)
        if not changes and not (self.apply and self._pending(wanted)):
            return done
        done.message = self._message(verb, changes)
        commit = tip
        files: dict[str, bytes] = {}
        if changes:
            file = next((s.file for s in stays), f"stages/{self.stage}.yaml")
            text = snapshot.read(file) or b""
            new = edits.set_entries(
                text.decode("utf-8", "surrogateescape"), file, {m: v for m, (_, v) in changes.items()}
            )
            files = {f"{snapshot.prefix}{file}": new.encode("utf-8", "surrogateescape")}
            commit = objects.write_commit(self.root, tip, files, done.message)
            done.planned = self._planned(commit, set(changes))
            if not self.preview:
                planner.refuse(done.planned)
            gates = [
                printed.line(f"{a.model}: {v.gate}: {v.text}")
                for a, found in done.planned.verdicts.items()
                for v in found
            ]
            if gates:
                done.message += "\n" + "\n".join(gates) + "\n"
                commit = objects.write_commit(self.root, tip, files, done.message)
                done.planned.commit = commit
        done.commit, done.tip = commit, tip
        if self.preview:
            done.planned = done.planned or self._planned(commit, set(wanted))
            done.branch = self.branch or self._branch_name(verb, changes)
        elif self.apply:
            self._apply(done, tip, files, there, set(wanted))
        else:
            self.branch_off(done, tip, verb)
        return done

    def _planned(self, commit: str, models: set[str]) -> Planned:
        """The plan for some models; a line of theirs that is wrong in another stage's file does not count.

        It is mended by an edit of that stage, which this must not wait for: with two such lines, each edit
        would wait for the other.
        """
        planned = self.applier.plan(commit, models)
        mine = (f"stages/{self.stage}.yaml", f"stages/{self.stage}.yml")
        planned.problems = [
            problem
            for problem in planned.problems
            if problem.path not in models or problem.file in mine or not problem.file.startswith("stages/")
        ]
        return planned

    def _pending(self, wanted: Mapping[str, str | None]) -> bool:
        """Whether the files say it already, and the tags do not."""
        records = self.registry.records(wanted)
        return any(
            records.get(m, ModelRecord(m)).stages.get(self.stage) != version for m, version in wanted.items()
        )

    def tip(self) -> str:
        """The commit that counts: of the remote's branch or, where it is as new or newer, of our own."""
        ours = refs.oid(self.root, f"refs/heads/{self.base}")
        theirs = refs.oid(self.root, f"refs/remotes/{self.remote}/{self.base}") if self.remote else None
        if self.push or (self.apply and self.remote):
            if theirs is None:
                raise Refused(
                    f"{self.remote} has no branch {self.base} yet", f"git push {self.remote} {self.base}"
                )
            return theirs
        if theirs and (ours is None or refs.is_ancestor(self.root, ours, theirs)):
            return theirs
        return ours or self.registry.commit("HEAD")

    def _message(self, verb: str, changes: Mapping[str, tuple[str | None, str | None]]) -> str:
        way = {"promote": "to", "demote": "from", "rollback": "in"}[verb]
        word = {"promote": "Promote", "demote": "Demote", "rollback": "Roll back"}[verb]
        between = " to " if verb == "rollback" else " "
        versions = [f"{m}{between}{v}" if v else m for m, (_, v) in changes.items()]
        listed = ", ".join(versions) if len(versions) < 4 else f"{len(versions)} models"
        title = f"{word} {listed} {way} {self.stage}"
        lines = [
            f"{m}: {old or 'nothing'} -> {new or 'nothing'}" for m, (old, new) in sorted(changes.items())
        ]
        body = ([self.note.strip(), ""] if self.note.strip() else []) + lines
        return "\n".join([title, "", *body]) + "\n"

    # Where it goes ------------------------------------------------------------------------------

    def branch_off(self, done: Prepared, tip: str, verb: str) -> None:
        """Make a branch for a commit, and with `push` the pull request."""
        assert done.commit
        name = self.branch or self._branch_name(verb, done.changes)
        full = f"refs/heads/{name}"
        odd = name.startswith(("-", "refs/")) or name in ("HEAD", "@")
        if odd or git.run(self.root, ["check-ref-format", full]).code:
            raise Refused(f"{name!r} cannot be the name of a branch", "--branch NAME")
        if twin := refs.twin(self.root, full):
            raise Refused(
                f"{name} differs from the branch {twin} in the case of letters alone", "--branch NAME"
            )
        if name == self.base:
            raise Refused(f"{name} is the branch that counts", "--apply commits to it, or --branch NAME")
        there = refs.oid(self.root, full)
        if there and not objects.same_change(self.root, there, done.commit, tip):
            raise Refused(
                f"the branch {name} exists and holds something else",
                f"git branch -D {name}, or --branch NAME",
            )
        if there:
            done.commit = there
            if done.planned:
                done.planned.commit = there
        else:
            self._make(full, done.commit)
        done.branch = name
        if not self.push:
            return
        assert self.remote
        try:
            refs.push(self.root, self.remote, [f"{done.commit}:{full}"])
        except refs.LostRace:
            raise Refused(
                f"{self.remote} has a branch {name} that holds something else", "--branch NAME"
            ) from None
        done.pushed = True
        url = git.setting(self.root, f"remote.{self.remote}.url")
        title, _, body = done.message.partition("\n")
        opened = forge.open_request(self.root, url, name, self.base, title, self._body(body.strip()))
        done.request, done.opened = opened or forge.new_request(url, name, self.base), bool(opened)

    def _body(self, message: str) -> str:
        """A message as the text of a pull request; only what the user says may be Markdown."""
        note = self.note.strip()
        lines = message.removeprefix(note).splitlines()
        return "\n".join([*([note, ""] if note else []), *(f"- {text(one)}" for one in lines if one.strip())])

    def _branch_name(self, verb: str, changes: Mapping[str, tuple[str | None, str | None]]) -> str:
        prefix, stage = self.registry.space.prefix.replace("/", "-"), self.stage
        start = f"{verb}/{prefix}-" if prefix else f"{verb}/"
        if len(changes) == 1:
            ((model, (_, version)),) = changes.items()
            return f"{start}{model}-{version}-{stage}" if version else f"{start}{model}-{stage}"
        text = ",".join(f"{m}@{v}" for m, (_, v) in sorted(changes.items()))
        return f"{start}{stage}-{len(changes)}-models-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def _make(self, branch: str, commit: str) -> None:
        try:
            transactions.create(self.root, {branch: commit})
        except Refused as refused:  # there is one whose name is a folder of this one's
            refused.hint = "--branch NAME"
            raise

    def _apply(
        self,
        done: Prepared,
        tip: str,
        files: Mapping[str, bytes],
        there: refs.Listed | None,
        models: set[str],
    ) -> None:
        """Move the branch and write the tags together."""
        assert done.commit
        with self.applier.locked():
            done.planned = self._planned(done.commit, models)
            planner.refuse(done.planned)
            tags = self.applier.tags(done.planned)
            head = f"refs/heads/{self.base}"
            if self.remote and there:
                specs, leases = self.applier.push_of(tags, done.planned, there, tip)
                if done.commit != tip:
                    specs, leases = [f"{done.commit}:{head}", *specs], {head: tip, **leases}
                try:
                    refs.push(self.root, self.remote, specs, leases)
                except Outside as refused:
                    refused.hint = "if changes need a review there: the same with --push instead of --apply"
                    raise
                self.applier.write(tags)
                self.applier.tell_of(len(specs) - len(leases) - len(tags), self.remote)
            else:
                moves = {head: (done.commit, tip)} if done.commit != tip else {}
                with self._in_work_tree(files):
                    transactions.create(self.root, {name: oid for name, (_, oid) in tags.items()}, moves)
        done.applied, done.pushed = True, bool(self.remote)

    @contextmanager
    def _in_work_tree(self, files: Mapping[str, bytes]) -> Iterator[None]:
        """Bring the edit into the work tree and the index, where its branch is checked out.

        Before the branch moves: killed in between, the files hold an edit that is not committed yet, and
        the next run makes the same one. Where the branch does not move, they are as they were.
        """
        place = refs.checked_out(self.root, self.base)
        if place is None or not files:
            yield
            return
        top = git.top(self.root)
        if not top or place.resolve() != top.resolve():
            raise Refused(f"{self.base} is checked out in {place}", f"run this there: gitreg -C {place} ...")
        safewrite.refuse_links(top, *files)
        before = {path: (top / path).read_bytes() if (top / path).is_file() else None for path in files}
        changed = {path for path, data in files.items() if before[path] != data}
        for path in changed:
            if git.changed(top, [f":(literal){path}"]):
                hint = f"git commit, or git restore {path}"
                raise Refused(f"{path} has changes that are not committed", hint)
        try:
            self._put(top, files)
            yield
        except GitregError:
            self._put(top, {path: before[path] for path in changed})
            raise

    def _put(self, top: Path, files: Mapping[str, bytes | None]) -> None:
        """Write files, or remove them (None), in the work tree and the index."""
        for path, data in files.items():
            if data is None:
                safewrite.remove(top, path)
            else:  # made aside, where a kill leaves it and the next run removes it
                safewrite.replace(top, path, data, self.applier.aside / "file")
        transactions.add(top, list(files), self.applier.aside / "index")
