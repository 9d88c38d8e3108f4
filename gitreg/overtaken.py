"""What is registered of a commit that newer ones have overtaken before it was applied.

Two merges may follow each other faster than their runs. What the later one's files say is applied by its own
run; the versions that only the earlier one's files said would never be registered. So they are, even then:

- the commit is one that the branch was at: on its line of first parents;
- its manifest names the version, and that of the branch's last commit does not: what both name is left to
  that one's run, for it may have been mended under its number. A blank version is one that nobody asked for;
- no version of the model is registered from a later commit: ordinals and times would not be in the order of
  history, and GTO's latest version would be the older one.

Stages are those of the last commit alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitreg.git import refs
from gitreg.planner import Planned
from gitreg.recorded import ModelRecord

if TYPE_CHECKING:
    from gitreg.registry import Registry


def narrow(registry: Registry, planned: Planned, tip: str) -> None:
    """Leave of a plan what may still be done; what comes too late is in its `late`.

    Args:
        tip: the branch's last commit, which comes after the plan's.
    """
    new = [action for action in planned.actions if action.kind == "register"]
    planned.actions, planned.problems = [], [p for p in planned.problems if not p.file.startswith("stages/")]
    if not new or not refs.was_at(registry.root, planned.commit, tip):
        return
    said = registry.snapshot(planned.commit).named()[0]
    says = registry.snapshot(tip).named()[0]
    since = refs.commits_since(registry.root, planned.commit, tip)
    for action in new:
        blank = action.model not in said or said[action.model].version is None
        if blank or (action.model in says and says[action.model].version == action.version):
            continue
        known = planned.recorded.get(action.model, ModelRecord(action.model))
        later = [v.version for v in known.versions.values() if v.tag.commit in since]
        if later:
            planned.late.append((action, later[-1]))
        else:
            planned.actions.append(action)
