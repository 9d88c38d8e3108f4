"""Claims: 32 clones that promote at once against one bare remote record each promotion once, or refuse it
with a reason; 8 clones that apply one merge at once write its tags once. Nothing is recorded by half, in
any order but one, or differently from what GTO reads. Killed at 100 random moments, the same command run
again finishes the work, and nothing is left behind."""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ENVIRONMENT, GITREG, commit, registry, verdict, workplace

GTO = str(Path(sys.executable).with_name("gto"))
STAGES = ("staging", "production")
VERSIONS = ("1.2.0", "1.2.1", "1.2.2")
# No claim of speed: waiting that grows wild would show. One after the other they take about 20 s here.
SECONDS = 60.0


@dataclass
class Ended:
    """A command that has ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def data(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.out)
        return said


def git(folder: Path, *arguments: str) -> str:
    """Run Git, which must succeed; what it prints."""
    done = subprocess.run(["git", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, f"git {' '.join(arguments)} in {folder}: {done.stderr}"
    return done.stdout.strip()


def gitreg(folder: Path, *arguments: str) -> Ended:
    """Run gitreg, whatever comes of it."""
    return together([(folder, arguments)])[0]


def together(commands: Sequence[tuple[Path, Sequence[str]]]) -> list[Ended]:
    """Run gitreg in several folders; all begin when the last one is ready to."""
    wait = ["sh", "-c", 'read go; exec "$@"', "sh"]  # until the end of a pipe that all have as their input
    started = [
        subprocess.Popen(
            [*wait, GITREG, *arguments],
            cwd=folder,
            env={**ENVIRONMENT, "GIT_COMMITTER_NAME": folder.name},  # so that no two make one object
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder, arguments in commands
    ]
    begin = time.perf_counter()
    for process in started:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    ended = []
    for process, (_, arguments) in zip(started, commands, strict=True):
        out, err = process.communicate()
        ended.append(Ended(tuple(arguments), process.returncode, out, err, time.perf_counter() - begin))
    return ended


# The field ------------------------------------------------------------------------------------------


def field(place: Path, models: int) -> Path:
    """A registry of some models, three versions of each registered and the first two staged one after the
    other, and its bare remote beside it, `remote.git`."""
    root = registry(place / "seed", models)
    for version in VERSIONS:
        for file in root.glob("models/*/model.yaml"):
            text = file.read_text()
            file.write_text(re.sub(r"^version: .*$", f"version: {version}", text, flags=re.MULTILINE))
        if git(root, "status", "--porcelain"):
            commit(root)
        assert (done := gitreg(root, "apply")).code == 0, done.err
    for version in VERSIONS[:2]:
        names = [f"{file.parent.name}@{version}" for file in sorted(root.glob("models/*/model.yaml"))]
        assert (done := gitreg(root, "promote", *names, "staging", "--apply")).code == 0, done.err
    git(place, "clone", "--quiet", "--bare", str(root), "remote.git")
    git(root, "remote", "add", "origin", str(place / "remote.git"))
    git(root, "fetch", "--quiet", "origin")
    return root


def clone(place: Path, name: str) -> Path:
    """A clone of the remote."""
    git(place, "clone", "--quiet", "remote.git", name)
    return place / name


def promotions(count: int, models: int) -> list[tuple[str, str]]:
    """Promotions to try: of all models, to both stages, of one version by several, of several versions.

    `production` takes what was in `staging`: the last version may not, unless somebody is faster with it.
    """
    dice = random.Random(count)
    every = [(f"model-{i:04}@{v}", stage) for i in range(models) for stage in STAGES for v in VERSIONS]
    some = dice.sample(every, min(len(every), count - count // 8))
    return [*some, *dice.choices(some, k=count - len(some))]


def race(place: Path, tries: Sequence[tuple[str, str]]) -> list[Ended]:
    """Try promotions at once, each in a clone of its own."""
    clones = [clone(place, f"clone-{i:02}") for i in range(len(tries))]
    return together(
        [
            (folder, ["promote", reference, stage, "--apply", "--json"])
            for folder, (reference, stage) in zip(clones, tries, strict=True)
        ]
    )


# What has to hold -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TagSeen:
    """A tag as Git shows it; read without gitreg."""

    name: str
    model: str
    counter: int | None
    time: int
    message: str


def tags(repository: Path) -> list[TagSeen]:
    """Every tag of a repository, in the order of their times; those of one second in that of counters."""
    fields = "%(refname:strip=2)%00%(objecttype)%00%(taggerdate:unix)%00%(contents)%01"
    found = []
    for record in git(repository, "for-each-ref", f"--format={fields}", "refs/tags/").split("\x01"):
        if not record.strip():
            continue
        name, kind, moment, message = record.strip("\n").split("\0")
        assert kind == "tag", f"{name} is a {kind}, not an annotated tag"
        counter = re.search(r"#(\d+)$", name)
        model = re.split("[@#]", name)[0]
        found.append(TagSeen(name, model, int(counter[1]) if counter else None, int(moment), message))
    return sorted(found, key=lambda t: (t.time, t.counter or 0))


def in_files(repository: Path) -> dict[tuple[str, str], str]:
    """(model, stage) -> version, by the stage files of main."""
    found = {}
    for file in git(repository, "ls-tree", "--name-only", "main", "stages/").splitlines():
        for line in git(repository, "show", f"main:{file}").splitlines():
            said = re.fullmatch(r"(model-\d+): *(\S+)", line)
            if said:
                found[said[1], Path(file).stem] = said[2]
    return found


def by_gto(repository: Path) -> dict[tuple[str, str], str]:
    """(model, stage) -> version, by GTO."""
    done = subprocess.run([GTO, "show", "--json"], cwd=repository, env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    return {(m, s): v.removeprefix("v") for m, one in said.items() for s, v in one["stage"].items() if v}


def judge_order(repository: Path) -> list[TagSeen]:
    """The tags of a repository, whose counters and times have to be in one order.

    Raises:
        AssertionError: they are not, or GTO, the files and the tags disagree.
    """
    all_tags = tags(repository)
    for model in {tag.model for tag in all_tags}:
        own = [tag for tag in all_tags if tag.model == model]
        times = [tag.time for tag in own]
        counters = [tag.counter for tag in own if tag.counter is not None]
        assert times == sorted(set(times)), f"times of {model} do not increase: {times}"
        assert counters == sorted(set(counters)), f"counters of {model} do not increase: {counters}"
    assert in_files(repository) == by_gto(repository)
    return all_tags


def judge(place: Path, before: str, tried: Sequence[Ended]) -> Counter[str]:
    """What came of a race, after everything that has to hold held.

    Args:
        before: the commit of the remote's main before the race.

    Raises:
        AssertionError: something did not hold.
    """
    remote = place / "remote.git"
    new = git(remote, "rev-list", "--reverse", f"{before}..main").split()
    assert not git(remote, "rev-list", "--min-parents=2", "main"), "history is not linear"
    all_tags = judge_order(remote)
    outcome: Counter[str] = Counter()
    wanted: list[str] = []
    for one in tried:
        assert one.code in (0, 1), f"{one.arguments} exits {one.code}: {one.err}"
        if one.code:
            assert re.search(r"^error: model-\d+@\S+ may not enter \S+: \S+: ", one.err, re.MULTILINE), (
                one.err
            )
            outcome["refused"] += 1
        elif one.data["commit"] is None:
            outcome["were there"] += 1
        else:
            outcome["recorded"] += 1
            wanted.append(one.data["commit"])
            _judge_tags(one, [t for t in all_tags if f"Gitreg-Commit: {one.data['commit']}\n" in t.message])
    assert sorted(wanted) == sorted(new), "not one commit for each promotion"
    fresh = clone(place, "fresh")
    assert (done := gitreg(fresh, "plan", "--json")).data["actions"] == [], done.out
    git(remote, "fsck", "--strict")
    return outcome


def _judge_tags(one: Ended, own: Sequence[TagSeen]) -> None:
    """A promotion has the tags that it says it has, once each."""
    actions = [(a["model"], a["stage"], a["kind"] == "unassign") for a in one.data["plan"]["actions"]]
    assert actions, one.out
    said = [(t.model, t.name.split("#")[1].rstrip("!"), "!" in t.name) for t in own]
    assert said == actions, f"{said} is not {actions}"


# The merge ------------------------------------------------------------------------------------------


def merge(place: Path, root: Path) -> int:
    """Merge a change that registers a version of each model and stages it; how many tags that makes."""
    git(root, "pull", "--quiet", "--ff-only", "origin", "main")
    git(root, "checkout", "--quiet", "main")
    files = sorted(root.glob("models/*/model.yaml"))
    for file in files:
        file.write_text(re.sub(r"^version: .*$", "version: 1.3.0", file.read_text(), flags=re.MULTILINE))
    lines = "".join(f"{file.parent.name}: 1.3.0\n" for file in files)
    (root / "stages" / "staging.yaml").write_text(lines)
    git(root, "commit", "--quiet", "--all", "--message", "Everything anew")
    git(root, "push", "--quiet", "origin", "main")
    return 2 * len(files)


def judge_merge(place: Path, before: Sequence[TagSeen], new: int, tried: Sequence[Ended]) -> Counter[str]:
    """What came of several clones' applying one merge."""
    outcome: Counter[str] = Counter()
    for one in tried:
        assert one.code == 0, f"{one.arguments} exits {one.code}: {one.err}"
        outcome["wrote" if one.data["actions"] else "nothing to do"] += 1
    after = judge_order(place / "remote.git")
    assert len(after) == len(before) + new, f"{len(after) - len(before)} tags instead of {new}"
    assert outcome["wrote"] == 1, outcome
    return outcome


def kill(moments: int) -> None:
    """Kill promotions and applies at random moments; tests/test_races.py says what has to hold then."""
    tests = Path(__file__).parent.parent / "tests" / "test_races.py"
    command = [sys.executable, "-m", "pytest", "-q", "-k", "killed_with or killed_group", str(tests)]
    done = subprocess.run(
        command, env={**ENVIRONMENT, "GITREG_MOMENTS": str(moments)}, cwd=tests.parent.parent
    )
    verdict(f"killed at {moments} moments: scenes that came out wrong", float(done.returncode), 0, "scenes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=32)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--moments", type=int, default=100, help="how often gitreg is killed")
    parser.add_argument("--workdir", type=Path, help="where the repositories are kept")
    asked = parser.parse_args()
    with workplace(asked.workdir) as place:
        root = field(place, asked.models)
        before = git(place / "remote.git", "rev-parse", "main")
        tried = race(place, promotions(asked.processes, asked.models))
        lost = sum(one.err.count("trying again") for one in tried)
        slowest = max(one.seconds for one in tried)
        print(f"{asked.processes} promotions: {dict(judge(place, before, tried))}, {lost} races lost")
        verdict(f"{asked.processes} promotions at once", slowest, SECONDS, "s")
        new = merge(place, root)
        clones = [clone(place, f"apply-{i}") for i in range(asked.processes // 4)]
        known = tags(place / "remote.git")
        applied = together([(one, ["apply", "--push", "--json"]) for one in clones])
        print(f"{len(clones)} times apply: {dict(judge_merge(place, known, new, applied))}")
        verdict(f"{len(clones)} times apply at once", max(one.seconds for one in applied), SECONDS, "s")
    kill(asked.moments)


if __name__ == "__main__":
    main()
