"""Commands that mend a registry's tags, ready to be pasted into a shell, whatever a tag's name holds."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from gitreg.names import Kind, TagName
from gitreg.recorded import ModelRecord

_AT_ONCE = 10  # seconds in which a command that was just printed may be run


def quoted(word: str) -> str:
    """A word for a shell. What a terminal must not see is spelled out: bash, zsh and ksh read $'...'."""
    if word.isprintable():
        return shlex.quote(word)
    data = word.encode("utf-8", "surrogateescape")
    plain = (chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in data)
    return f"$'{''.join(plain)}'"


def shown(name: str) -> str:
    """A tag's name for people: itself, where that can be seen."""
    return name if name.isprintable() else quoted(name)


def full(name: str) -> str:
    """A tag's full name, for a shell."""
    return quoted(f"refs/tags/{name}")


class Cures:
    """Commands for one repository.

    Args:
        remote: the remote that was asked for its tags; None without one.
        here: name -> object id of each tag of this repository.
        there: the same for the remote; None where it is not known.
        now: seconds since 1970.
        prefix: what the names of the registry's tags begin with.
    """

    def __init__(
        self,
        remote: str | None,
        here: Mapping[str, str],
        there: Mapping[str, str] | None,
        now: int,
        prefix: str = "",
    ) -> None:
        self.prefix = prefix
        self.remote = quoted(remote or "origin")
        self.here, self.there, self.now = here, there, now
        self._last: dict[str, tuple[int, int]] = {}

    def delete(self, name: str) -> str:
        """Take a tag away, here and on the remote."""
        steps = []
        if name in self.here:
            steps.append(f"git tag -d {'-- ' * name.startswith('-')}{quoted(name)}")
        if self.there and name in self.there:
            steps.append(f"git push --delete {self.remote} {full(name)}")
        return " && ".join(steps)

    def restore(self, name: str, oid: str, readable: bool) -> str | None:
        """Make a tag again what it was, here and on the remote; None where nobody here has its object.

        Args:
            readable: whether this repository has the object.
        """
        far = self.there.get(name) if self.there is not None else oid
        if not readable:
            known = self.there is not None and far == oid
            return f"git fetch --no-tags {self.remote} {quoted(_moving(name))}" if known else None
        steps = []
        if self.here.get(name) != oid:
            steps.append(f"git update-ref {full(name)} {oid}")
        if far != oid:
            force = "--force " if far else ""
            steps.append(f"git push {force}{self.remote} {quoted(f'{oid}:refs/tags/{name}')}")
        return " && ".join(steps)

    def push_object(self, name: str, oid: str) -> str:
        """Make a tag again what it was, on the remote."""
        return f"git push --force {self.remote} {quoted(f'{oid}:refs/tags/{name}')}"

    def push(self, names: Iterable[str]) -> str:
        """Send tags to the remote."""
        return f"git push --atomic {self.remote} {' '.join(full(name) for name in names)}"

    def fetch(self) -> str:
        """Get the tags that the remote has and this repository has not."""
        return f"git fetch --tags {self.remote}"

    def ask(self, oid: str) -> str:
        """Get an object of a tag that no reference names any more."""
        return f"git fetch --no-tags {self.remote} {oid}"

    def append(
        self,
        known: ModelRecord,
        kind: Kind,
        commit: str,
        message: str,
        version: str | None = None,
        stage: str | None = None,
    ) -> str:
        """Write one more tag of a model, after all others: nothing that is there is touched."""
        counter, moment = self._last.get(known.name, (known.counter, known.time))
        soon = moment >= self.now - _AT_ONCE
        counter, moment = counter + 1, max(self.now, moment + 1)
        self._last[known.name] = counter, moment
        name = str(TagName(known.name, kind, version, stage, counter, self.prefix))
        # Git dates the tag when it is written, which is late enough but for a tag of the same second.
        date = f"GIT_COMMITTER_DATE='@{moment} +0000' " if soon else ""
        steps = [f"{date}git tag -a -m {quoted(message)} {quoted(name)} {commit}"]
        if self.there is not None:
            steps.append(f"git push {self.remote} {full(name)}")
        return " && ".join(steps)


def _moving(name: str) -> str:
    return f"+refs/tags/{name}:refs/tags/{name}"
