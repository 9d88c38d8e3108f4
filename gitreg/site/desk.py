"""What a page may change: register, promote, demote, roll back, by the same code as the commands.

First it is looked at: the change, the gates' verdicts, the request's text, and a seal of all that. Then it is
done, if the seal still fits: what was shown is what happens, or nothing does.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from gitreg import planner, promoter
from gitreg.desired import Action
from gitreg.errors import GitregError, InvalidFiles, Refused, Usage
from gitreg.git import objects, refs
from gitreg.names import NAME, VERSION
from gitreg.planner import Planned
from gitreg.promoter import Prepared
from gitreg.registry import Registry
from gitreg.site.texts import text

DEEDS = ("promote", "demote", "rollback", "register")
WAYS = ("branch", "push", "apply")
_MOST_NOTE, _MOST_PATCH = 4000, 20_000
# Manifests that leave their version blank, of which the content is looked at to tell it.
_MOST_BLANK = 100


class Desk:
    """Takes orders from a page, one at a time.

    Args:
        registry: one with files; it is looked at anew for each order.
    """

    def __init__(self, registry: Registry) -> None:
        self.root, self.pass_env = registry.root, registry.pass_env
        self._one = threading.Lock()

    def _registry(self) -> Registry:
        return Registry(self.root, pass_env=self.pass_env)

    # What can be done ---------------------------------------------------------------------------

    def offers(self) -> dict[str, Any]:
        """Stages, remotes, and versions that are declared here and not registered."""
        registry = self._registry()
        return {
            "stages": list(registry.file.stages),
            "remote": refs.default_remote(self.root),
            "drafts": self._drafts(registry),
        }

    def _drafts(self, registry: Registry) -> list[dict[str, Any]]:
        """Versions that manifests of the work tree say, and no tag does."""
        from gitreg import git

        known = registry.records()
        blank = [manifest.name for manifest in registry.manifests() if manifest.version is None]
        next_ = self._next(registry, blank)
        changed = set(git.changed(self.root)) if git.git_folder(self.root) else set()
        found = []
        for manifest in registry.manifests():
            record = known.get(manifest.name)
            version = manifest.version or next_.get(manifest.name)
            if version is None or (record and version in record.versions):
                continue
            folder = manifest.file.rpartition("/")[0]
            dirty = [path for path in changed if path.startswith(f"{folder}/")] if folder else list(changed)
            found.append(
                {
                    "model": manifest.name,
                    "version": version,
                    "file": text(manifest.file),
                    "new": not record or not record.versions,
                    "dirty": [text(path) for path in sorted(dirty)[:5]],
                }
            )
        return found

    def _next(self, registry: Registry, models: Sequence[str]) -> dict[str, str]:
        """The versions that manifests which leave them blank would get, as far as that can be told."""
        if not models or len(models) > _MOST_BLANK:
            return {}
        try:
            planned = registry.plan(models=models)
        except GitregError:
            return {}
        return {a.model: a.version for a in planned.actions if a.kind == "register"}

    # Look, then do ------------------------------------------------------------------------------

    def look(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What an order would do.

        Raises:
            Usage: it is no order.
            Refused: there is no such model, version or stage.
        """
        order = checked(order)
        with self._one:
            return self._look(self._registry(), order)

    def do(self, order: Mapping[str, Any], seal: str) -> dict[str, Any]:
        """Do what was looked at.

        Args:
            seal: of what was shown.

        Raises:
            Refused: it would do something else by now.
            Outside: the remote refuses.
        """
        order = checked(order)
        with self._one:
            shown = self._look(self._registry(), order)
            if shown["seal"] != seal:
                raise Refused("the registry has changed since this was shown", "look at it again")
            if not shown["ok"]:
                raise Refused(shown["refusals"] or "there is nothing to do")
            return self._do(self._registry(), order)

    def _look(self, registry: Registry, order: Mapping[str, Any]) -> dict[str, Any]:
        if order["deed"] == "register":
            return _sealed(order, _registration(registry, order["model"]))
        made = self._edit(registry, order, preview=True)
        return _sealed(order, self._promotion(registry, made))

    def _edit(self, registry: Registry, order: Mapping[str, Any], preview: bool) -> Prepared:
        how = {
            "push": order["way"] == "push",
            "apply": order["way"] == "apply",
            "note": order["note"],
            "preview": preview,
        }
        edit = promoter.Promoter(registry, order["stage"], **how)
        if order["deed"] == "promote":
            return edit.promote([f"{order['model']}@{order['version']}"])
        if order["deed"] == "demote":
            return edit.demote([order["model"]])
        return edit.rollback([order["model"]], order["version"] or None)

    def _promotion(self, registry: Registry, made: Prepared) -> dict[str, Any]:
        planned = made.planned
        refusals = [text(line) for line in planner.refusals(planned)] if planned else []
        patch = objects.patch(registry.root, made.tip, made.commit) if made.tip and made.commit else ""
        return {
            "ok": bool(made.commit) and not refusals,
            "nothing": made.commit is None,
            "changes": [[m, old or "nothing", new or "nothing"] for m, (old, new) in made.changes.items()],
            "stage": made.stage,
            "actions": [_line(action) for action in planned.actions] if planned else [],
            "gates": _gates(planned),
            "refusals": refusals,
            "message": text(made.message, _MOST_NOTE * 2),
            "patch": text(patch, _MOST_PATCH),
            "branch": made.branch,
            "base": made.base,
            "remote": made.remote,
            "tip": made.tip,
        }

    def _do(self, registry: Registry, order: Mapping[str, Any]) -> dict[str, Any]:
        if order["deed"] == "register":
            planned = registry.register([order["model"]], order["way"] == "push")
            return {"done": [_line(action) for action in planned.actions], "behind": text(planned.behind)}
        made = self._edit(registry, order, preview=False)
        where = f"{made.remote}/{made.base}" if made.remote else made.base
        lines = [
            f"commit {str(made.commit)[:12]} on {where if made.applied else f'the branch {made.branch}'}"
        ]
        if made.applied and made.planned:
            count = len(made.planned.actions)
            lines.append(f"{count} tag{'s' * (count != 1)} written")
        if made.pushed and not made.applied:
            lines.append(f"pushed to {made.remote}")
        elif not made.applied:
            lines.append(f"next: git push {made.remote or 'REMOTE'} {made.branch}, and open a pull request")
        request = made.request if made.request and made.request.startswith("https://") else None
        return {"done": [text(line) for line in lines], "request": request, "opened": made.opened}


def checked(order: Mapping[str, Any]) -> dict[str, str]:
    """An order with all its words, each what it should be.

    Raises:
        Usage: it is none.
    """
    if not isinstance(order, Mapping):
        raise Usage("an order is an object")
    said = {key: order.get(key, "") for key in ("deed", "model", "version", "stage", "way", "note")}
    if not all(isinstance(value, str) for value in said.values()):
        raise Usage("an order has texts alone")
    if said["deed"] not in DEEDS or said["way"] not in WAYS:
        raise Usage("an order is one of " + ", ".join(DEEDS))
    if not NAME.match(said["model"]):
        raise Usage("an order names a model")
    if said["version"] and not VERSION.match(said["version"]):
        raise Usage("an order names a version as 1.0.0")
    if said["deed"] != "register" and not NAME.match(said["stage"]):
        raise Usage("an order names a stage")
    if said["deed"] == "promote" and not said["version"]:
        raise Usage("an order to promote names a version")
    if len(said["note"]) > _MOST_NOTE or "\0" in said["note"]:
        raise Usage(f"a note has at most {_MOST_NOTE:,} characters")
    return said


def _registration(registry: Registry, model: str) -> dict[str, Any]:
    """What registering the version that a model's manifest says would do."""
    commit = registry.commit("HEAD")
    with planner.Planner(registry, commit, registry.records([model]), [model]) as one:
        planned = one.planned(judge=False)
    new = [action for action in planned.actions if action.kind == "register"]
    refusals = [text(str(problem)) for problem in planned.problems]
    if not new and not refusals:
        said = planned.desired.models.get(model)
        what = (
            f"{model}@{said.version} is registered already"
            if said
            else f"there is no {model} in {commit[:12]}"
        )
        refusals = [what]
    return {
        "ok": bool(new) and not refusals,
        "nothing": False,
        "changes": [[a.model, "nothing", a.version] for a in new],
        "stage": "",
        "actions": [],
        "gates": [],
        "refusals": refusals,
        "message": "\n".join(_content(a, planned) for a in new),
        "patch": "",
        "branch": None,
        "base": commit[:12],
        "remote": refs.default_remote(registry.root),
        "tip": commit,
    }


def _line(action: Action) -> str:
    return text(" ".join(str(action).split()))


def _content(action: Action, planned: Planned) -> str:
    content = planned.contents.get(action.model)
    lines = [f"Register {action.model} {action.version} at {action.commit[:12]}", ""]
    if content:
        lines += [f"Gitreg-Digest: {content.digest}", f"Gitreg-Artifact: {content.artifact}"]
    return text("\n".join(lines), _MOST_NOTE)


def _gates(planned: Planned | None) -> list[dict[str, Any]]:
    found: Sequence[tuple[Action, list[Any]]] = list(planned.verdicts.items()) if planned else []
    return [
        {"model": action.model, "gate": text(v.gate), "passed": v.passed, "text": text(v.text)}
        for action, verdicts in found
        for v in verdicts
    ]


def _sealed(order: Mapping[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    """With a digest of what is shown; times change in a verdict's words, so those do not count."""
    counts = {**shown, "gates": [[g["gate"], g["passed"]] for g in shown["gates"]]}
    counts.pop("message")
    said = json.dumps([order, counts], sort_keys=True)
    return {**shown, "seal": hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()}


def trouble(error: Exception) -> dict[str, Any]:
    """An error as a page shows it."""
    if isinstance(error, InvalidFiles):
        return {"error": "\n".join(text(str(p)) for p in error.problems[:20]), "hint": text(error.hint or "")}
    return {
        "error": text(getattr(error, "message", str(error)), 2000),
        "hint": text(getattr(error, "hint", "") or ""),
    }
