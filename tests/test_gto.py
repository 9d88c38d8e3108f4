"""GTO, as users have it, is the second opinion on what gitreg writes and on what it reads."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gto.api
import gto.tag
import pytest
from gto.constants import VersionSort
from scmrepo.git import Git

from gitreg import applier
from gitreg.errors import InvalidFiles
from gitreg.names import parse_tag
from gitreg.planner import Planned
from gitreg.recorded import ModelRecord
from gitreg.registry import Registry
from gitreg.repository import Repository
from gitreg.versions import order
from tests.support import run
from tests.test_history import STAGES, STATES, desired, in_stages, some_files

GTO = [sys.executable, "-c", "from gto.cli import app; app()"]
# So long ago that what GTO writes, by the real clock, comes later.
LONG_AGO = 1_000_000_000


@dataclass
class Clock:
    """The applier's clock, which goes as a test wants it to."""

    now: int = LONG_AGO
    sleep: Any = field(default=time.sleep, repr=False)

    def time(self) -> float:
        return self.now + 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(applier, "time", one)
    return one


@dataclass
class Files:
    """A registry of models without artifacts."""

    root: Path

    def write(self, models: Mapping[str, str], stages: Mapping[str, Mapping[str, str]]) -> None:
        """Write what should be, and commit it."""
        for name, version in models.items():
            folder = self.root / "models" / name
            folder.mkdir(parents=True, exist_ok=True)
            manifest = {"name": name, "version": version, "type": "custom"}
            (folder / "model.yaml").write_text(json.dumps(manifest))
        for stage in STAGES:
            (self.root / "stages" / f"{stage}.yaml").write_text(json.dumps(stages.get(stage, {})))
        run("git", "add", "-A", cwd=self.root)
        run("git", "commit", "-q", "--allow-empty", "-m", "next", cwd=self.root)

    def plan(self) -> Planned:
        return Registry(self.root).plan()

    def apply(self) -> list[str]:
        """What was done."""
        return [" ".join(str(action).split()) for action in Registry(self.root).apply().actions]

    def records(self) -> dict[str, ModelRecord]:
        return Repository(self.root).records()

    def gto(self, *arguments: str) -> str:
        """Run GTO's own command."""
        return run(*GTO, *arguments, cwd=self.root).stdout


@pytest.fixture
def files(tmp_path: Path) -> Files:
    run("git", "init", "-q", "--initial-branch=main", ".", cwd=tmp_path)
    (tmp_path / "registry.yaml").write_text("registry: acme\nstages: {staging: {}, production: {}}\n")
    (tmp_path / "stages").mkdir()
    return Files(tmp_path)


@dataclass(frozen=True)
class Written:
    """A tag as Git shows it."""

    name: str
    kind: str
    oid: str
    time: int
    previous: str

    @property
    def counter(self) -> int | None:
        says = parse_tag(self.name)
        assert says
        return says.counter


def written(root: Path) -> dict[str, list[Written]]:
    """model -> its tags, by their tagger time."""
    previous = "%(contents:trailers:key=Gitreg-Previous,valueonly,separator=)"
    fields = ["%(refname:strip=2)", "%(objecttype)", "%(objectname)", "%(taggerdate:unix)", previous]
    listed = run("git", "for-each-ref", f"--format={'%00'.join(fields)}", "refs/tags", cwd=root).stdout
    found: dict[str, list[Written]] = {}
    for line in listed.splitlines():
        name, kind, oid, moment, before = line.split("\0")
        model = name.replace("@", "#").partition("#")[0]
        found.setdefault(model, []).append(Written(name, kind, oid, int(moment), before))
    return {model: sorted(tags, key=lambda t: t.time) for model, tags in found.items()}


def assert_tags_are_in_order(root: Path) -> None:
    """Annotated; in each model, times and counters go up strictly, and each tag names the one before."""
    for tags in written(root).values():
        assert {one.kind for one in tags} == {"tag"}
        times = [one.time for one in tags]
        assert times == sorted(set(times))
        counters = [one.counter for one in tags if one.counter is not None]
        assert counters == list(range(1, len(counters) + 1))
        assert [one.previous for one in tags] == ["none", *(one.oid for one in tags[:-1])]


# GTO's view -----------------------------------------------------------------------------------------------


def shown(root: Path, sort: VersionSort, **how: Any) -> dict[str, dict[str, Any]]:
    """`gto show`."""
    view: dict[str, dict[str, Any]] = gto.api.show(str(root), sort=sort, **how)
    return {name: state for name, state in view.items() if state["registered"]}


def stages_in(view: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    return {
        (name, stage): version.removeprefix("v")
        for name, state in view.items()
        for stage, version in state["stage"].items()
        if version
    }


def assert_gto_sees(root: Path, stays: Mapping[tuple[str, str], str], versions: dict[str, set[str]]) -> None:
    """Each version in its stage and in no other, by either order of GTO's and for DVC; all versions; the latest."""
    for sort in VersionSort:
        view = shown(root, sort)
        assert stages_in(view) == stays
        latest = {name: f"v{max(some, key=order)}" for name, some in versions.items()}
        assert {name: state["version"] for name, state in view.items()} == latest
    with Git(str(root)) as scm:
        for (name, stage), version in stays.items():
            # What `dvc artifacts get --stage` takes: the last tag that names the stage.
            commit = gto.tag.find(name=name, stage=stage, scm=scm)[-1].target
            said = run("git", "show", f"{commit}:models/{name}/model.yaml", cwd=root).stdout
            assert json.loads(said)["version"] == version
    for name, some in versions.items():
        found = gto.api.show(str(root), name)
        assert {one["version"] for one in found if one["registrations"]} == {f"v{v}" for v in some}


# What gitreg writes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_gto_sees_what_the_files_say_whatever_they_said_before(files: Files, clock: Clock, seed: int) -> None:
    """Versions, promotions, rollbacks and demotions of three models; the clock stands still, and goes back."""
    chance, wanted = random.Random(seed), desired()
    versions: dict[str, set[str]] = {}
    before: dict[str, str] = {}
    done = 0
    for number in range(6):
        wanted = some_files(chance, files.records(), wanted, number)
        stages = {
            stage: {s.model: s.version for s in wanted.stays if s.stage == stage} for stage in wanted.stages
        }
        files.write({name: model.version for name, model in wanted.models.items()}, stages)
        for name, model in wanted.models.items():
            versions.setdefault(name, set()).add(model.version)
        clock.now += chance.choice([-3600, -1, 0, 0, 1, 60])
        done += len(files.apply())
        assert_gto_sees(files.root, in_stages(wanted), versions)
        assert_tags_are_in_order(files.root)
        now = {one.name: one.oid for tags in written(files.root).values() for one in tags}
        assert before.items() <= now.items()
        assert len(now) == done
        before = now
        assert files.apply() == []
    assert done > 12


def test_the_command_gto_shows_a_rollback_and_a_demotion(files: Files, clock: Clock) -> None:
    files.write({"churn": "1.0.0"}, {"production": {"churn": "1.0.0"}})
    files.apply()
    files.write({"churn": "1.10.0"}, {"staging": {"churn": "1.10.0"}, "production": {"churn": "1.10.0"}})
    files.apply()
    files.write({"churn": "1.10.0"}, {"production": {"churn": "1.0.0"}})
    assert files.apply() == [
        "unassign churn@1.10.0 from staging",
        "unassign churn@1.10.0 from production",
        "assign churn@1.0.0 to production (instead of 1.10.0)",
    ]
    for sort in ("timestamp", "semver"):
        state = json.loads(files.gto("show", "--json", "--sort", sort))["churn"]
        assert state["version"] == "v1.10.0"
        assert state["stage"] == {"production": "v1.0.0"}
    assert files.gto("show", "churn#production", "--ref").split() == ["churn@v1.0.0"]
    assert [tag.name for tag in written(files.root)["churn"]] == [
        "churn@v1.0.0",
        "churn#production#1",
        "churn@v1.10.0",
        "churn#staging#2",
        "churn#production#3",
        "churn#staging!#4",
        "churn#production!#5",
        "churn#production#6",
    ]


@pytest.mark.parametrize("step", [0, -3600, -1, 1, 3600])
def test_tags_are_in_order_however_the_clock_goes(files: Files, clock: Clock, step: int) -> None:
    for minor in range(4):
        version = f"1.{minor}.0"
        files.write({"churn": version}, {"staging": {"churn": version}})
        files.apply()
        assert_tags_are_in_order(files.root)
        assert written(files.root)["churn"][-2].time >= clock.now
        clock.now += step
    times = [tag.time for tag in written(files.root)["churn"]]
    assert times[:2] == [LONG_AGO, LONG_AGO + 1]
    # Time is invented only where the clock is behind.
    assert times[-1] == (clock.now - step + 1 if step == 3600 else times[0] + 7)
    assert stages_in(shown(files.root, VersionSort.Timestamp)) == {("churn", "staging"): "1.3.0"}


def test_models_whose_names_begin_alike_are_kept_apart(files: Files, clock: Clock) -> None:
    models = {"churn": "1.0.0", "churn-eu": "3.0.0", "churn-e": "2.0.0"}
    files.write(models, {"staging": {"churn": "1.0.0", "churn-eu": "3.0.0"}})
    assert Registry(files.root).apply(models=["churn"]).actions
    assert list(written(files.root)) == ["churn"]
    files.apply()
    files.write(models, {"production": {"churn": "1.0.0", "churn-eu": "3.0.0", "churn-e": "2.0.0"}})
    assert Registry(files.root).apply(models=["churn-eu"]).actions
    stays = {("churn", "staging"): "1.0.0", ("churn-eu", "production"): "3.0.0"}
    assert_gto_sees(files.root, stays, {name: {version} for name, version in models.items()})
    assert_tags_are_in_order(files.root)
    names = {model: [tag.name for tag in tags] for model, tags in written(files.root).items()}
    assert names == {
        "churn": ["churn@v1.0.0", "churn#staging#1"],
        "churn-e": ["churn-e@v2.0.0"],
        "churn-eu": ["churn-eu@v3.0.0", "churn-eu#staging#1", "churn-eu#staging!#2", "churn-eu#production#3"],
    }
    for name, expected in names.items():
        assert [tag.name for tag in Registry(files.root).record(name).tags] == expected
        assert list(Registry(files.root).records([name])) == [name]


# What GTO writes ------------------------------------------------------------------------------------------


def test_what_gto_registered_and_assigned_is_recorded_and_goes_on(files: Files, clock: Clock) -> None:
    """The clock here is years behind the one that wrote GTO's tags."""
    files.write({"churn": "1.0.0"}, {"staging": {"churn": "1.0.0"}})
    files.gto("register", "churn", "--version", "v1.0.0")
    files.gto("assign", "churn", "--version", "v1.0.0", "--stage", "staging")
    known = files.records()["churn"]
    assert [tag.name for tag in known.tags] == ["churn@v1.0.0", "churn#staging#1"]
    assert (list(known.registered), known.stages, known.counter) == (["1.0.0"], {"staging": "1.0.0"}, 1)
    assert files.plan().actions == []
    files.write({"churn": "2.0.0"}, {"staging": {"churn": "2.0.0"}, "production": {"churn": "1.0.0"}})
    files.apply()
    stays = {("churn", "staging"): "2.0.0", ("churn", "production"): "1.0.0"}
    assert_gto_sees(files.root, stays, {"churn": {"1.0.0", "2.0.0"}})
    assert [tag.name for tag in written(files.root)["churn"]][2:] == [
        "churn@v2.0.0",
        "churn#staging#2",
        "churn#production#3",
    ]
    assert Registry(files.root).resolve("models:/churn/2")[1].version == "2.0.0"


@pytest.mark.parametrize(
    ("arguments", "name", "stages", "again"),
    [
        (
            ["assign", "churn", "--version", "v1.0.0", "--stage", "staging", "--force"],
            "churn#staging#4",
            {"staging": "1.0.0", "production": "1.0.0"},
            ["assign churn@2.0.0 to staging (instead of 1.0.0)"],
        ),
        (
            ["assign", "churn", "--version", "v2.0.0", "--stage", "production"],
            "churn#production#4",
            {"staging": "2.0.0", "production": "2.0.0"},
            [
                "unassign churn@2.0.0 from production",
                "assign churn@1.0.0 to production (instead of 2.0.0)",
            ],
        ),
        (
            ["deprecate", "churn", "v2.0.0", "staging"],
            "churn#staging!#4",
            {"staging": "1.0.0", "production": "1.0.0"},
            ["assign churn@2.0.0 to staging (instead of 1.0.0)"],
        ),
        (
            ["deprecate", "churn", "v1.0.0", "production"],
            "churn#production!#4",
            {"staging": "2.0.0"},
            ["assign churn@1.0.0 to production"],
        ),
        (["deprecate", "churn"], "churn@deprecated", {"staging": "2.0.0", "production": "1.0.0"}, []),
    ],
    ids=["assign-a-lower", "assign-a-higher", "unassign", "unassign-the-only-one", "deprecate"],
)
def test_what_gto_does_by_hand_is_seen_and_the_files_win(
    files: Files, clock: Clock, arguments: list[str], name: str, stages: dict[str, str], again: list[str]
) -> None:
    files.write({"churn": "1.0.0"}, {"staging": {"churn": "1.0.0"}, "production": {"churn": "1.0.0"}})
    files.apply()
    files.write({"churn": "2.0.0"}, {"staging": {"churn": "2.0.0"}, "production": {"churn": "1.0.0"}})
    files.apply()
    files.gto(*arguments)
    known = files.records()["churn"]
    assert known.tags[-1].name == name
    assert known.stages == stages
    assert bool(known.deprecated) == (name == "churn@deprecated")
    theirs = stages_in(shown(files.root, VersionSort.Timestamp, deprecated=True))
    assert theirs == {("churn", stage): version for stage, version in stages.items()}
    assert files.apply() == again
    if again:
        stays = {("churn", "staging"): "2.0.0", ("churn", "production"): "1.0.0"}
        assert_gto_sees(files.root, stays, {"churn": {"1.0.0", "2.0.0"}})
    assert files.apply() == []


def test_a_version_that_gto_deregistered_is_in_no_stage_and_the_files_are_refused(
    files: Files, clock: Clock
) -> None:
    files.write({"churn": "1.0.0"}, {})
    files.apply()
    files.write({"churn": "2.0.0"}, {"staging": {"churn": "2.0.0"}})
    files.apply()
    files.gto("deprecate", "churn", "v2.0.0")
    known = files.records()["churn"]
    assert (list(known.registered), known.stages) == (["1.0.0"], {})
    assert shown(files.root, VersionSort.Timestamp)["churn"]["version"] == "v1.0.0"
    assert stages_in(shown(files.root, VersionSort.Timestamp)) == {}
    before = written(files.root)
    with pytest.raises(InvalidFiles) as caught:
        files.apply()
    assert [str(problem) for problem in caught.value.problems] == [
        "models/churn/model.yaml:1:30: version: churn@2.0.0 was deregistered; versions are not used twice",
        "stages/staging.yaml:1:11: churn: churn@2.0.0 was deregistered: "
        "gitreg demote churn staging, or promote another version",
    ]
    assert written(files.root) == before


# What both read -------------------------------------------------------------------------------------------


def repository(root: Path, stories: Mapping[str, list[str]]) -> Repository:
    """A repository with the tags of many models, each a list of `name commit` in the order of their times."""
    run("git", "init", "-q", "--initial-branch=main", ".", cwd=root)
    lines = [
        f"commit refs/heads/main\nmark :{mark}\ncommitter Ada <ada@example.org> {LONG_AGO + mark} +0000\ndata 0\n"
        for mark in range(1, 27)
    ]
    for texts in stories.values():
        for place, text in enumerate(texts):
            name, commit = text.split(" ")
            tagger = f"tagger Ada <ada@example.org> {LONG_AGO + 100 + place} +0000"
            lines.append(f"tag {name}\nfrom :{ord(commit) - ord('a') + 1}\n{tagger}\ndata 0\n")
    subprocess.run(["git", "fast-import", "--quiet"], input="\n".join(lines).encode(), cwd=root, check=True)
    return Repository(root)


def assert_both_see_the_same(one: Repository) -> None:
    """All versions that are assigned to each stage, in order; and the latest version."""
    view = shown(
        one.root, VersionSort.Timestamp, versions_per_stage=-1, registered_only=True, deprecated=True
    )
    theirs = {key: versions.replace("v", "").split(", ") for key, versions in stages_in(view).items()}
    records = one.records()
    mine = {
        (name, stage): list(reversed(versions))
        for name, known in records.items()
        for stage, versions in known.active.items()
    }
    assert mine == theirs
    latest = {
        name: f"v{max(known.registered, key=order)}" if known.registered else None
        for name, known in records.items()
    }
    assert latest == {name: state["version"] for name, state in view.items()}


def test_gto_agrees_with_every_story_of_the_tests_of_history(tmp_path: Path) -> None:
    stories = {
        f"m{number}": [text.replace("churn", f"m{number}") for text in texts]
        for number, (texts, _) in enumerate(STATES.values())
    }
    one = repository(tmp_path, stories)
    assert_both_see_the_same(one)
    view = shown(tmp_path, VersionSort.Timestamp, registered_only=True)
    for number, (texts, stages) in enumerate(STATES.values()):
        if texts and not texts[-1].startswith("churn@deprecated"):
            theirs = {s: v.removeprefix("v") for s, v in view[f"m{number}"]["stage"].items() if v}
            assert theirs == stages, texts


def some_stories(chance: random.Random, many: int, late: bool) -> Iterator[tuple[str, list[str]]]:
    """Tags by anybody: versions in any order, stages assigned and unassigned, deregistrations.

    Args:
        late: whether a version that is deregistered gets tags after that.
    """
    for number in range(many):
        model, texts = f"m{number}", []
        versions = dict(zip(["1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0"], "abcd", strict=True))
        for version in chance.sample(list(versions), chance.randint(1, 4)):
            texts.append(f"{model}@v{version} {versions[version]}")
        for counter in range(1, chance.randint(1, 10)):
            if not versions:
                break
            version, stage = chance.choice(list(versions)), chance.choice(STAGES)
            commit = chance.choice([versions[version]] * 9 + ["z"])
            what = chance.choices(["#", "#!", "@!", "@"], [6, 3, 1, 1 if late else 0])[0]
            if what == "@!" or what == "@":
                texts.append(f"{model}@v{version}{what[1:]}#{counter} {versions[version]}")
                if not late:
                    del versions[version]
            else:
                texts.append(f"{model}#{stage}{what[1:]}#{counter} {commit}")
        yield model, texts


def test_gto_agrees_on_whatever_others_tag(tmp_path: Path) -> None:
    one = repository(tmp_path, dict(some_stories(random.Random(0), 150, late=False)))
    assert sum(len(known.active) for known in one.records().values()) > 100
    assert any(v.gone for known in one.records().values() for v in known.versions.values())
    assert_both_see_the_same(one)


def test_gto_agrees_on_versions_that_were_deregistered_before(tmp_path: Path) -> None:
    assert_both_see_the_same(repository(tmp_path, dict(some_stories(random.Random(0), 40, late=True))))


# What neither should stumble over ---------------------------------------------------------------------------


def test_tags_that_are_not_annotated_or_not_a_registrys_record_nothing(files: Files, clock: Clock) -> None:
    files.write({"churn": "1.0.0"}, {"staging": {"churn": "1.0.0"}})
    files.apply()
    before = files.records()
    for name in ("churn@v9.0.0", "churn#production#9", "fraud@v1.0.0", "v2026", "churn@1.0.0"):
        run("git", "tag", name, cwd=files.root)  # lightweight: GTO leaves them out as well
    for name in ("churn@v1.0", "churn#Production#7", "churn#staging#0", "release/churn"):
        run("git", "tag", "-a", "-m", "by hand", name, cwd=files.root)
    now = files.records()
    assert (now["churn"].versions, now["churn"].stays) == (before["churn"].versions, before["churn"].stays)
    assert now["fraud"].versions == {}
    assert stages_in(shown(files.root, VersionSort.Timestamp))[("churn", "staging")] == "1.0.0"
    assert files.plan().actions == []


def test_a_lightweight_tag_with_the_next_counter_stops_nothing(files: Files, clock: Clock) -> None:
    """GTO counts such a tag, and takes the number after it."""
    files.write({"churn": "1.0.0"}, {"staging": {"churn": "1.0.0"}})
    run("git", "tag", "churn#staging#1", cwd=files.root)
    files.apply()
    assert files.records()["churn"].stages == {"staging": "1.0.0"}
