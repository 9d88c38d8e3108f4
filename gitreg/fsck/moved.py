"""Tags that were moved or deleted, and how that is known.

- The ledger: what each tag was when this repository first saw it.
- The chain: each tag that gitreg writes names the one before it. A tag that is named and is not there was
  moved or deleted, as any clone can tell. It says nothing of a model's last tag, and of tags that GTO wrote
  only of the last of them before a tag of gitreg's: nothing names the others.
- The remote: what its tags are now. Where nothing else is known, it is right: so a clone begins its ledger.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator

from gitreg.doctor import Finding
from gitreg.fsck.evidence import Evidence, said
from gitreg.ledger import Seen
from gitreg.names import parse_tag

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


class Moved:
    """Compares what tags are with what they were.

    Attributes:
        right: name -> what a tag should be, of those that were moved or deleted.
        models: whose tags are not as they were: nothing else can be said of these before that is mended.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.right: dict[str, str] = {}
        self.models: set[str] = set()
        self._named: dict[str, str] = {}
        self._lost: dict[str, str] = {}
        self._overruled: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        """A finding for each tag that is not what it was."""
        self._follow_the_chain()
        evidence = self.evidence
        for name in sorted({*evidence.seen, *self._named, *evidence.good, *(evidence.there or ())}):
            yield from self._one(name)
        for oid, namer in sorted(self._lost.items(), key=lambda pair: pair[1]):
            yield self._unknown(oid, namer)

    def _follow_the_chain(self) -> None:
        """Find the tags that another one names and that are not there."""
        evidence = self.evidence
        there = {tag.oid for tag in evidence.tags} | {*(evidence.there or {}).values()}
        for oid, namer in evidence.namers.items():
            if oid in there or not _OID.match(oid):
                continue
            raw = evidence.registry.reader.read(oid)
            known = said(raw[1], False) if raw else None
            says = parse_tag(known.name) if known else None
            if known and says and says.model == evidence.good[namer].says.model:
                self._named[known.name] = oid
            else:
                self._lost[oid] = namer

    def _one(self, name: str) -> Iterator[Finding]:
        says = parse_tag(name)
        for right in self._known(name) if says else ():
            here, elsewhere = self._differs(name, right)
            if here or elsewhere:
                assert says
                self.right[name] = right
                self.models.add(says.model)
                if self.evidence.seen.get(name, Seen(right)).oid != right:
                    self._overruled.add(name)
                yield self._finding(name, right, here, elsewhere)
                return

    def _differs(self, name: str, right: str) -> tuple[bool, bool]:
        """Whether a tag is something else here, and on the remote."""
        evidence = self.evidence
        now, far = evidence.here.get(name), (evidence.there or {}).get(name)
        here = now != right and (now is not None or self._was_here(name))
        elsewhere = far != right and (far is not None or self._was_there(name))
        return here, elsewhere and evidence.there is not None

    def _finding(self, name: str, right: str, here: bool, elsewhere: bool) -> Finding:
        evidence = self.evidence
        now, far = evidence.here.get(name), (evidence.there or {}).get(name)
        places = ["here"] * here + [f"on {evidence.remote}"] * elsewhere
        gone = [state is None for state, wrong in ((now, here), (far, elsewhere)) if wrong]
        verb = "deleted" if all(gone) else "moved or deleted" if any(gone) else "moved"
        readable = evidence.registry.reader.read(right) is not None
        return Finding(
            "tag deleted" if verb == "deleted" else "tag moved",
            "error",
            f"{name} was {verb} {' and '.join(places)}: {'; '.join(self._reasons(name, right, now, far))}",
            evidence.cures.restore(name, right, readable)
            or f"a clone that has the object can push it: {evidence.cures.push_object(name, right)}",
        )

    def _known(self, name: str) -> Iterator[str]:
        """What a tag should be, by whatever knows, the best first."""
        evidence = self.evidence
        if name in evidence.seen:
            yield evidence.seen[name].oid
        if name in self._named:
            yield self._named[name]
        if name in evidence.seen or name in self._named:
            return
        now, far = evidence.here.get(name), (evidence.there or {}).get(name)
        if now in evidence.namers:
            yield now
        elif now is not None and far is not None:
            yield far

    def _was_here(self, name: str) -> bool:
        return name in self.evidence.seen or name in self._named

    def _was_there(self, name: str) -> bool:
        seen = self.evidence.seen.get(name)
        return seen is not None and seen.shared

    def _reasons(self, name: str, right: str, now: str | None, far: str | None) -> Iterator[str]:
        evidence = self.evidence
        if name in evidence.seen:
            yield f"it was {right[:12]} when it was first seen here"
        namer = evidence.namers.get(right)
        if namer:
            yield f"{namer} names {right[:12]} as the tag before it"
        yield f"here it is {now[:12]}" if now else "it is not here"
        if evidence.there is not None:
            yield f"{evidence.remote} has {far[:12]}" if far else f"{evidence.remote} does not have it"

    def _unknown(self, oid: str, namer: str) -> Finding:
        """A tag that is not there, and whose object could tell its name, is not there either."""
        evidence = self.evidence
        model = evidence.good[namer].says.model
        self.models.add(model)
        return Finding(
            "tag deleted",
            "error",
            f"{namer} names {oid} as the tag of {model} before it, and no tag here is that: it was moved or "
            "deleted, and its object, which says its name, is not here",
            evidence.cures.ask(oid)
            if evidence.there is not None
            else "a clone that has the object tells its name: gitreg doctor, there",
        )

    # Not moved: not everywhere -----------------------------------------------------------------------

    def elsewhere(self, wrong: Collection[str]) -> Iterator[Finding]:
        """Tags that only one side has: this repository, or the remote.

        Args:
            wrong: names of tags that should not be at all.
        """
        evidence = self.evidence
        if evidence.there is None:
            return
        mine: dict[str, list[str]] = defaultdict(list)
        known = {*evidence.there, *self.right, *wrong}
        for tag in evidence.tags:
            if tag.name not in known:
                mine[tag.says.model].append(tag.name)
        for model, names in sorted(mine.items()):
            yield Finding(
                "tag not pushed",
                "warning",
                f"{evidence.remote} does not have {_some(names)} of {model}",
                evidence.cures.push(names),
            )
        mended = {*evidence.here, *self.right}
        theirs = [name for name in sorted(evidence.there) if parse_tag(name) and name not in mended]
        if theirs:
            yield Finding(
                "tag not fetched",
                "warning",
                f"{evidence.remote} has {_some(theirs)}, which this repository has not",
                evidence.cures.fetch(),
            )

    def remember(self, wrong: Collection[str]) -> str | None:
        """Note what was seen for the first time; why that failed, if it did.

        Args:
            wrong: names of tags that should not be: their end is no loss.
        """
        evidence = self.evidence
        there = evidence.there or {}
        forgotten = {name for name in (*wrong, *self._overruled) if name in evidence.seen}
        seen = {name: one for name, one in evidence.seen.items() if name not in forgotten}
        # Of a model whose tags are not what they were, only those that are known to be right.
        sound = {n: tag.oid for n, tag in evidence.good.items() if tag.says.model not in self.models}
        first = {n: oid for n, oid in (sound | self.right).items() if n not in seen and n not in wrong}
        known = first | {name: one.oid for name, one in seen.items() if not one.shared}
        evidence.ledger.forget(forgotten)
        evidence.ledger.note(first, [name for name, oid in known.items() if there.get(name) == oid])
        return evidence.ledger.trouble


def _some(names: list[str]) -> str:
    listed = ", ".join(names[:3])
    return listed if len(names) <= 3 else f"{len(names):,} tags ({listed}, ...)"
