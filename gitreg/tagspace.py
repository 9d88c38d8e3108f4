"""The names that the tags of one registry may have, where several registries share a Git repository.

A registry below the top of its repository may give its tags a prefix: its own folder, as GTO and DVC write
it, `ml/registry=churn@v1.0.0`. Names with its folder are its own whether or not it writes such names now;
names without a prefix may be; those with another prefix never are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from gitreg.names import TagName, parse_tag, prefix_mistake

# Of whatever has the signs of a registry's tags: the prefix, if there is one.
_LIKE = re.compile(r"(?:([^@#=]*)=)?[^@#]*[@#]")
# One per model, moved with every push of its tags: two pushes at once cannot both succeed, though the
# names of their tags differ. It can be deleted at any time.
GUARD = "refs/gitreg/models/"
_MOST_PATTERNS = 1000
# A folder with a slash would be a folder of references where a model of its first name has its own.
_DEEP_GUARD = "refs/gitreg/registries/"


class Space(NamedTuple):
    """The names of one registry's tags.

    Attributes:
        folder: of the registry in its repository, without a slash at its end; empty at the top.
        prefix: what new tags begin with: the folder, or nothing.
    """

    folder: str = ""
    prefix: str = ""

    def parse(self, name: str) -> TagName | None:
        """Read the name of a tag; None when it is not one of this registry."""
        return parse_tag(name, self.folder)

    def concerns(self, name: str) -> bool:
        """Whether a name uses the signs of registry tags, right or wrong, and no other registry's prefix."""
        found = _LIKE.match(name)
        return found is not None and (found[1] or None) in (None, self.folder or None)

    def artifact(self, model: str) -> str:
        """What the tags of a model that are written now begin with."""
        return f"{self.prefix}={model}" if self.prefix else model

    def artifacts(self, model: str) -> list[str]:
        """What the tags of a model may begin with."""
        named = bool(self.folder) and prefix_mistake(self.folder) is None
        return [model, f"{self.folder}={model}"] if named else [model]

    def patterns(self, models: Collection[str] | None = None) -> list[str]:
        """Patterns of full reference names for Git: all tags, or all that those of some models may be.

        Of many models all tags are, as a command line holds no more: `chooser` tells theirs.
        """
        if models is None or len(models) > _MOST_PATTERNS:
            return ["refs/tags/"]
        starts = [start for model in models for start in self.artifacts(model)]
        return [f"refs/tags/{start}{sign}*" for start in starts for sign in "@#"]

    def chooser(self, models: Collection[str] | None) -> Callable[[str], bool] | None:
        """Whether the name of a tag is one of some models'; None where `patterns` are of them alone."""
        if models is None or len(models) <= _MOST_PATTERNS:
            return None
        starts = {start for model in models for start in self.artifacts(model)}

        def chosen(name: str) -> bool:
            found = _LIKE.match(name)
            return found is not None and found[0][:-1] in starts

        return chosen

    def guard(self, model: str) -> str:
        """The reference that is moved with every push of a model's tags."""
        return f"{_DEEP_GUARD if '/' in self.prefix else GUARD}{self.artifact(model)}"

    def guarded(self, ref: str) -> str | None:
        """The model whose guard a reference is; None where it is none of this registry's."""
        start = self.guard("")
        model = ref.removeprefix(start)
        return model if ref.startswith(start) and not set("/=") & set(model) else None


def prefix_of(name: str) -> str | None:
    """The prefix of whatever has the signs of a registry's tag; None without one."""
    found = _LIKE.match(name)
    return found[1] if found else None
