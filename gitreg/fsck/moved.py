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

from gitreg.fsck.cures import full, quoted
from gitreg.fsck.evidence import Evidence, said
from gitreg.reports import Finding

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
        self._forged: dict[str, tuple[str, str]] = {}
        self._forgotten: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        """A finding for each tag that is not what it was."""
        self._follow_the_chain()
        evidence = self.evidence
        for name in sorted({*evidence.seen, *self._named, *evidence.good, *(evidence.there or ())}):
            yield from self._one(name)
        for namer, (name, oid) in sorted(self._forged.items()):
            yield self._liar(namer, name, oid)
        for oid, namer in sorted(self._lost.items(), key=lambda pair: pair[1]):
            yield self._unknown(oid, namer)

    def _follow_the_chain(self) -> None:
        """Find the tags that another one names and that are not there."""
        evidence = self.evidence
        there = {tag.oid for tag in evidence.tags} | {*(evidence.there or {}).values()}
        gone = {oid: namer for oid, namer in evidence.namers.items() if oid not in there and _OID.match(oid)}
        for oid, namer in sorted(gone.items(), key=lambda pair: evidence.good[pair[1]].time):
            raw = evidence.registry.reader.read(oid)
            known = said(raw[1], False) if raw else None
            says = evidence.space.parse(known.name) if known else None
            if not known or not says or says.model != evidence.good[namer].says.model:
                self._lost[oid] = namer
            elif known.name in self._named or self._vouched(known.name, evidence.good[namer].time):
                self._forged[namer] = known.name, oid
            else:
                self._named[known.name] = oid

    def _vouched(self, name: str, before: int) -> bool:
        """Whether a tag of earlier than a time names what a tag is now."""
        evidence = self.evidence
        namer = evidence.namers.get(evidence.here.get(name, ""))
        return namer is not None and evidence.good[namer].time < before

    def _one(self, name: str) -> Iterator[Finding]:
        says, right = self.evidence.space.parse(name), self._known(name)
        if says is None or right is None:
            return
        if self._private(name, right):
            yield self._taken_back(name, right)
            return
        here, elsewhere = self._differs(name, right)
        rival = self._rival(name, right)
        if here or elsewhere or rival:
            self.right[name] = right
            self.models.add(says.model)
            yield self._finding(name, right, here, elsewhere, rival)

    def _private(self, name: str, right: str) -> bool:
        """Whether a tag that was only ever here, with nothing built upon it, was taken back before a push."""
        evidence = self.evidence
        seen, now = evidence.seen.get(name), evidence.here.get(name)
        if seen is None or seen.shared or evidence.there is None or right in evidence.namers:
            return False
        return now != right and now == evidence.there.get(name) and self._rival(name, right) is None

    def _taken_back(self, name: str, right: str) -> Finding:
        """Nobody else saw it, so it is no loss, and forgotten from now on."""
        self._forgotten.add(name)
        text = f"{name} was {right[:12]} here and was never on {self.evidence.remote}; it is forgotten"
        again = f"if that was a mistake: git update-ref {full(name)} {right}"
        return Finding("tag taken back", "note", text, again if name not in self.evidence.here else None)

    def _differs(self, name: str, right: str) -> tuple[bool, bool]:
        """Whether a tag is something else here, and on the remote."""
        evidence = self.evidence
        now, far = evidence.here.get(name), (evidence.there or {}).get(name)
        here = now != right and (now is not None or self._was_here(name))
        elsewhere = far != right and (far is not None or self._was_there(name))
        return here, elsewhere and evidence.there is not None

    def _finding(self, name: str, right: str, here: bool, elsewhere: bool, rival: str | None) -> Finding:
        evidence = self.evidence
        now, far = evidence.here.get(name), (evidence.there or {}).get(name)
        places = ["here"] * here + [f"on {evidence.remote}"] * elsewhere
        gone = [state is None for state, wrong in ((now, here), (far, elsewhere)) if wrong]
        verb = "moved" if not any(gone) else "deleted" if all(gone) else "moved or deleted"
        where = " and ".join(places) or "somewhere"
        return Finding(
            "tag deleted" if verb == "deleted" else "tag moved",
            "error",
            f"{name} was {verb} {where}: {'; '.join(self._reasons(name, right, rival))}",
            self._either(name, right, rival) if rival else self._restore(name, right),
        )

    def _restore(self, name: str, oid: str) -> str:
        cures = self.evidence.cures
        command = cures.restore(name, oid, self.evidence.registry.reader.read(oid) is not None)
        return command or f"a clone that has the object can push it: {cures.push_object(name, oid)}"

    def _either(self, name: str, first: str, rival: str) -> str:
        """What to do where the ledger and the chain contradict each other: one of them was forged."""
        evidence = self.evidence
        namer = evidence.namers[rival]
        there = [evidence.here.get(name), (evidence.there or {name: first}).get(name)]
        forget = f"rm -f {quoted(str(evidence.ledger.file))}"
        honest = [self._restore(name, rival)] * (there != [rival, rival]) + [forget]
        forged = [self._restore(name, first)] * (there != [first, first]) + [evidence.cures.delete(namer)]
        return f"if {namer} is honest: {' && '.join(honest)}; if it is not: {' && '.join(forged)}"

    def _known(self, name: str) -> str | None:
        """What a tag should be, by what knows it best: the ledger, the chain, the remote."""
        evidence = self.evidence
        now, far = evidence.here.get(name), (evidence.there or {}).get(name)
        if name in evidence.seen:
            return evidence.seen[name].oid
        if name in self._named:
            return self._named[name]
        if now in evidence.namers:
            return now
        return far if now is not None else None

    def _rival(self, name: str, right: str) -> str | None:
        """What the chain says that a tag should be, where the ledger says something else."""
        evidence = self.evidence
        if name not in evidence.seen or right in evidence.namers:
            return None
        others = evidence.here.get(name), (evidence.there or {}).get(name), self._named.get(name)
        return next((oid for oid in others if oid in evidence.namers), None)

    def _was_here(self, name: str) -> bool:
        return name in self.evidence.seen or name in self._named

    def _was_there(self, name: str) -> bool:
        seen = self.evidence.seen.get(name)
        return seen is not None and seen.shared

    def _reasons(self, name: str, right: str, rival: str | None) -> Iterator[str]:
        evidence = self.evidence
        now, far = evidence.here.get(name), (evidence.there or {}).get(name)
        if name in evidence.seen:
            yield f"it was {right[:12]} when it was first seen here"
        for oid in (right, rival):
            if oid in evidence.namers:
                yield f"{evidence.namers[oid]} names {oid[:12]} as the tag before it"
        yield f"here it is {now[:12]}" if now else "it is not here"
        if evidence.there is not None:
            yield f"{evidence.remote} has {far[:12]}" if far else f"{evidence.remote} does not have it"

    def _liar(self, namer: str, name: str, oid: str) -> Finding:
        """A tag that names another one as the one before it that an earlier tag says was not that."""
        self.models.add(self.evidence.good[namer].says.model)
        text = f"{namer} names {oid[:12]} as the tag before it, as if {name} were that"
        text += "; an earlier tag says what it is"
        return Finding("tag forged", "error", text, self.evidence.cures.delete(namer))

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
        known = {*evidence.there, *self.right, *self._forged, *wrong}
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
        theirs = [
            name for name in sorted(evidence.there) if evidence.space.parse(name) and name not in mended
        ]
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
        forgotten = {name for name in (*wrong, *self._forged, *self._forgotten) if name in evidence.seen}
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
