"""What readers see is what Git's references say at that moment, through an index that is never believed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import gitreg
from gitreg import records
from gitreg.catalog import Catalog
from gitreg.errors import Outside, Refused, Usage
from gitreg.repository import Repository
from gitreg.versions import order
from tests.support import gitreg as command
from tests.support import run

BEGIN = 1_700_000_000


class Shelf:
    """A registry of manifests alone, whose history and tags are written as fast as Git can."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, BEGIN
        root.mkdir(parents=True)
        run("git", "init", "-q", "-b", "main", ".", cwd=root)
        (root / "registry.yaml").write_text("registry: shelf\nstages: {staging: {}, production: {}}\n")

    def write(self, model: str, version: str = "1.0.0", folder: str | None = None, **said: Any) -> None:
        """A manifest; what is no dictionary of JSON is written as it is."""
        file = self.root / (folder or f"models/{model}") / "model.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        data = {"name": model, "version": version, "type": "onnx", "artifact": "model.onnx", **said}
        file.write_text(json.dumps(data))

    def commit(self) -> str:
        """Commit everything; the commit's id."""
        self.now += 1
        run("git", "add", "-A", cwd=self.root)
        run("git", "commit", "-qm", "change", "--allow-empty", cwd=self.root)
        return run("git", "rev-parse", "HEAD", cwd=self.root).stdout.strip()

    def tag(self, name: str, commit: str = "HEAD", message: str | None = None, force: bool = False) -> None:
        """An annotated tag, a second after the one before."""
        self.now += 1
        stamp = {**os.environ, "GIT_COMMITTER_DATE": f"{self.now} +0000"}
        words = ["-f"] if force else []
        run(
            "git",
            "tag",
            "-a",
            *words,
            "-m",
            message or name,
            name,
            f"{commit}^{{commit}}",
            cwd=self.root,
            env=stamp,
        )

    def register(self, model: str, version: str, **said: Any) -> None:
        """A version, in a commit of its own."""
        self.write(model, version, **said)
        self.commit()
        self.tag(f"{model}@v{version}")

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.root)

    @property
    def index(self) -> Path:
        return self.root / ".git" / "gitreg" / "index.sqlite"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """`churn` 1.0.0 (in production) and 1.1.0 (in staging); `forecast` 2.0.0."""
    one = Shelf(tmp_path / "shelf")
    schema = {
        "inputs": [{"name": "x", "data_type": "float", "shape": [3]}],
        "outputs": [{"name": "p", "data_type": "float", "shape": [1]}],
    }
    lineage = {
        "code": {"repo": "https://git.example/churn", "commit": "0f3c1d2e4b5a"},
        "data": [{"name": "customers", "url": "s3://b/c", "version": "7"}],
        "run": {"pipeline": "nightly", "pipeline_run_id": "r-17", "step": "train", "run_id": "abc"},
    }
    churn: dict[str, Any] = {
        "description": "Who leaves.",
        "owners": ["@risk"],
        "tags": {"domain": "billing", "a b": 1},
        "license": "MIT",
        "schema": schema,
        "requirements": ["numpy>=1.24"],
    }
    (one.root / "models" / "churn").mkdir(parents=True)
    (one.root / "models" / "churn" / "model.onnx.dvc").write_text(
        "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 77\n  path: model.onnx\n"
    )
    (one.root / "models" / "churn" / "metrics.json").write_text('{"accuracy": 0.93, "test": {"auc": 0.97}}')
    one.register("churn", "1.0.0", metrics="metrics.json", params={"depth": 6}, lineage=lineage, **churn)
    one.register(
        "churn",
        "1.1.0",
        metrics={"accuracy": 0.95, "latency_ms": 12.5},
        params={"depth": 8, "mode": "fast"},
        release={"description": "On November's data.", "tags": {"domain": "sales"}},
        **churn,
    )
    one.register("forecast", "2.0.0", metrics={"rmse": 1.5}, description="Demand.")
    one.tag("churn#production#3", "churn@v1.0.0")
    one.tag("churn#staging#4", "churn@v1.1.0")
    return one


def test_models_and_versions_as_tags_and_manifests_say(shelf: Shelf) -> None:
    registry = gitreg.Registry(shelf.root)
    churn, forecast = registry.models()
    assert (churn.name, churn.latest, churn.count) == ("churn", "1.1.0", 2)
    assert churn.stages == {"production": "1.0.0", "staging": "1.1.0"}
    assert repr(churn) == "<RegisteredModel churn, latest 1.1.0, production 1.0.0, staging 1.1.0>"
    assert repr(churn.version("1.0.0")) == "<ModelVersion churn@1.0.0, registered 2023-11-14, in production>"
    assert repr(registry) == f"<Registry {shelf.root}>"
    assert churn.tags == {"domain": "billing", "a b": 1} and churn.owners == ("@risk",)
    assert forecast.description == "Demand." and forecast.stages == {}
    new, old = churn.versions()
    assert (old.version, old.ordinal, old.stages, old.stage) == ("1.0.0", 1, ("production",), "production")
    assert old.metrics == {"accuracy": 0.93, "test.auc": 0.97} and old.params == {"depth": 6}
    assert (old.pipeline_name, old.pipeline_run_id, old.step_name) == ("nightly", "r-17", "train")
    assert old.artifact_hash == "md5:0123456789abcdef0123456789abcdef" and old.size == 77
    assert old.format == "onnx" and old.license == "MIT" and old.problems == ()
    assert old.schema and [item.describe() for item in old.schema.input_schema] == ["float [3]"]
    assert new.tags == {"domain": "sales", "a b": 1} and new.release_description == "On November's data."
    assert new.latest and not old.latest
    (stay,) = old.stays
    assert (stay.stage, stay.until, stay.tag) == ("production", None, "churn#production#3")
    known = registry.record("churn")
    assert churn.id == known.id and old.id == known.versions["1.0.0"].id


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("churn", "1.1.0"),
        ("churn@latest", "1.1.0"),
        ("churn@1.0.0", "1.0.0"),
        ("churn#production", "1.0.0"),
        ("models:/churn/staging", "1.1.0"),
        ("models:/churn/1", "1.0.0"),
    ],
)
def test_references_name_versions(shelf: Shelf, reference: str, version: str) -> None:
    found = shelf.catalog.version(reference)
    assert str(found) == f"churn@{version}"
    assert shelf.catalog.version(found.id) == found
    assert shelf.catalog.model(found.model_id).name == "churn"


def test_what_there_is_not_is_said(shelf: Shelf) -> None:
    with pytest.raises(Refused, match=r"no model 'chrun' \(did you mean 'churn'"):
        shelf.catalog.version("chrun")
    with pytest.raises(Refused, match="no version of churn is in archived"):
        shelf.catalog.version("churn#archived")
    with pytest.raises(Refused, match="not registered"):
        shelf.catalog.version("churn@3.0.0")
    shelf.write("drift")
    with pytest.raises(Refused, match="no version of drift is registered yet"):
        shelf.catalog.model("drift")
    with pytest.raises(Refused, match="no versions have this id"):
        shelf.catalog.version("v_0123456789")


def test_moved_and_deleted_tags_are_seen_at_once(shelf: Shelf) -> None:
    assert [one.name for one in shelf.catalog.models()] == ["churn", "forecast"]
    run("git", "tag", "-d", "churn@v1.1.0", cwd=shelf.root)
    assert shelf.catalog.model("churn").latest == "1.0.0"
    assert shelf.catalog.models()[0].latest == "1.0.0"
    shelf.tag("churn@v1.0.0", "forecast@v2.0.0", force=True)
    moved = shelf.catalog.version("churn@1.0.0")
    assert moved.commit == shelf.catalog.version("forecast").commit
    run("git", "tag", "-d", "forecast@v2.0.0", cwd=shelf.root)
    assert [one.name for one in shelf.catalog.models()] == ["churn"]
    assert [str(one) for one in shelf.catalog.search()] == ["churn@1.0.0"]


def test_the_index_agrees_with_the_tags_whatever_happens_to_them(shelf: Shelf) -> None:
    """Tags come, go and move at random; every answer is that of a reading without an index."""
    chance = random.Random(7)
    commits = [shelf.commit() for _ in range(6)]
    for step in range(40):
        model = chance.choice(["churn", "forecast", "drift"])
        name = chance.choice(
            [
                f"{model}@v{chance.randint(1, 3)}.{chance.randint(0, 9)}.0",
                f"{model}#{chance.choice(['staging', 'production'])}#{chance.randint(1, 9)}",
                f"{model}#staging!#{chance.randint(10, 19)}",
                f"{model}@v1.0.0!#{chance.randint(20, 22)}",
                f"{model}@deprecated#{chance.randint(30, 32)}",
                f"{model}@vhello",
            ]
        )
        if chance.random() < 0.25:
            subprocess.run(["git", "tag", "-d", name], cwd=shelf.root, capture_output=True)
        elif chance.random() < 0.1:
            run("git", "tag", "-f", name, chance.choice(commits), cwd=shelf.root)  # a lightweight one
        else:
            shelf.tag(name, chance.choice(commits), force=True)
        if chance.random() < 0.4:
            known = Repository(shelf.root).record(model)
            if known.versions:
                one = shelf.catalog.model(model)
                assert (one.latest is None) is (not known.registered)
        if chance.random() < 0.4 or step == 39:
            expected = {
                name: (
                    max(known.registered, key=order, default=None),
                    known.stages,
                    len(known.registered),
                    known.deprecated is not None,
                )
                for name, known in Repository(shelf.root).records().items()
                if known.versions
            }
            found = {
                one.name: (one.latest, one.stages, one.count, one.deprecated)
                for one in shelf.catalog.models()
            }
            assert found == expected
        if chance.random() < 0.4 or step == 39:
            told, whole = shelf.catalog.records(), Repository(shelf.root).records()
            assert told.standings == {name: known.standing for name, known in whole.items()}
            one = chance.choice(["churn", "forecast", "drift", "nobody"])
            assert (told.get(one), one in told) == (whole.get(one), one in whole)
            assert dict(told.items()) == whole


def test_where_models_stand_is_read_anew_for_those_whose_tags_changed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a few models tag by tag; of many from one list of all tags. Every answer is the same."""
    monkeypatch.setattr(records, "_MANY", 4)
    models = [f"m{number}" for number in range(9)]
    for models_now in (models, models[:1], models[:7], []):
        for model in models_now:
            count = run("git", "tag", "--list", f"{model}@*", cwd=shelf.root).stdout.count("\n")
            commit = shelf.commit() if model == "m0" else "HEAD"
            shelf.tag(f"{model}@v1.{count}.0", commit)
        told, whole = shelf.catalog.records(), Repository(shelf.root).records()
        assert told.standings == {name: known.standing for name, known in whole.items()}
        assert told["m5"] == whole["m5"] and len(told) == 11
    run("git", "tag", "-d", "m5@v1.0.0", "m5@v1.1.0", cwd=shelf.root)
    assert "m5" not in shelf.catalog.records()


def test_history_is_every_tag_in_order(shelf: Shelf) -> None:
    shelf.tag("churn#production#5", "churn@v1.1.0", "Better on November's data.\n\nAsked by Ada.")
    shelf.tag("churn#staging!#6", "churn@v1.1.0")
    events = shelf.catalog.history("churn")
    assert [(e.kind, e.version, e.stage) for e in events] == [
        ("register", "1.0.0", None),
        ("register", "1.1.0", None),
        ("assign", "1.0.0", "production"),
        ("assign", "1.1.0", "staging"),
        ("assign", "1.1.0", "production"),
        ("unassign", "1.1.0", "staging"),
    ]
    assert events[4].message == "Better on November's data.\n\nAsked by Ada." and events[4].by.startswith(
        "Ada <"
    )
    said = command("history", "churn", cwd=shelf.root)
    assert "1.1.0 out of staging" in said.stdout and said.returncode == 0


def test_show_of_a_model_reads_the_tags_of_no_other(shelf: Shelf) -> None:
    shelf.catalog.model("churn")
    with sqlite3.connect(shelf.index) as index:
        assert index.execute("SELECT count(*) FROM seen").fetchone() == (4,)


# The index -------------------------------------------------------------------------------------


def answers(shelf: Shelf) -> list[Any]:
    catalog = shelf.catalog
    found = [catalog.models(), catalog.versions(), catalog.search("metrics.accuracy > 0")]
    return [*found, catalog.records().standings]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"this is no database" * 1000),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.unlink(),
        lambda file: sqlite3.connect(file).executescript("DROP TABLE models"),
        lambda file: sqlite3.connect(file).executescript(
            "UPDATE meta SET value = 'old' WHERE key = 'version'"
        ),
        lambda file: sqlite3.connect(file).executescript("DELETE FROM models WHERE name = 'churn'"),
        lambda file: sqlite3.connect(file).executescript(
            "UPDATE models SET summary = replace(summary, '1.1.0', '1.9.0')"
        ),
        lambda file: sqlite3.connect(file).executescript(
            "UPDATE facts SET body = replace(body, '0.95', '0.05')"
        ),
        lambda file: sqlite3.connect(file).executescript("UPDATE models SET body = NULL"),
        lambda file: sqlite3.connect(file).executescript("DELETE FROM standings WHERE name = 'churn'"),
        lambda file: sqlite3.connect(file).executescript(
            "UPDATE standings SET body = replace(body, '1.0.0', '1.1.0')"
        ),
        lambda file: sqlite3.connect(file).executescript("DELETE FROM models; DELETE FROM facts"),
        lambda file: sqlite3.connect(file).executescript("ALTER TABLE contents RENAME TO elsewhere"),
    ],
)
def test_a_broken_index_is_made_anew_silently(shelf: Shelf, damage: Any) -> None:
    before = answers(shelf)
    damage(shelf.index)
    assert answers(shelf) == before


def test_any_damaged_byte_changes_no_answer(shelf: Shelf) -> None:
    before = answers(shelf)
    for file in shelf.index.parent.glob("index.sqlite-*"):
        file.unlink()
    whole = shelf.index.read_bytes()
    chance = random.Random(3)
    for _ in range(40):
        broken = bytearray(whole)
        start = chance.randrange(len(broken))
        for at in range(start, min(start + chance.choice([1, 40, 5000]), len(broken))):
            broken[at] = chance.randrange(256)
        shelf.index.write_bytes(broken)
        assert answers(shelf) == before


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root writes everywhere")
def test_without_a_place_to_write_the_answers_are_the_same(shelf: Shelf) -> None:
    before = answers(shelf)
    shutil.rmtree(shelf.index.parent)
    (shelf.root / ".git" / "gitreg").write_text("a file where the folder should be")
    assert answers(shelf) == before


def test_many_processes_build_it_at_once(shelf: Shelf) -> None:
    """While tags are written, too; each answer is of one moment, in which a version is whole."""
    for number in range(30):
        shelf.tag(f"drift@v1.{number}.0", "HEAD")

    def ask(_: int) -> list[str]:
        done = command("list", "--json", cwd=shelf.root)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return [one["name"] for one in json.loads(done.stdout)]

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, i) for i in range(6)]
        for number in range(30, 40):
            shelf.tag(f"drift@v1.{number}.0", "HEAD")
        assert all(one.result() == ["churn", "drift", "forecast"] for one in asked)
    assert shelf.catalog.model("drift").count == 40
    assert shelf.catalog.models()[1].count == 40


def test_another_gitreg_that_empties_the_index_takes_no_answer_away(shelf: Shelf) -> None:
    """Two versions of gitreg in turn: each finds the other's index, and makes its own."""
    before = answers(shelf)
    done = threading.Event()

    def empty() -> None:
        while not done.is_set():
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(shelf.index)) as one:
                one.executescript(
                    "BEGIN IMMEDIATE; UPDATE meta SET value = 'other' WHERE key = 'version';"
                    "DROP TABLE facts; DROP TABLE contents; DROP TABLE models; DROP TABLE seen; COMMIT"
                )
            time.sleep(0.003)

    other = threading.Thread(target=empty)
    other.start()
    try:
        for _ in range(12):
            assert answers(shelf) == before
    finally:
        done.set()
        other.join()


def test_killed_while_it_is_built_it_goes_on(tmp_path: Path) -> None:
    """kill -9 at any moment: the next run has every answer, and does not begin from nothing."""
    one = Shelf(tmp_path / "shelf")
    one.write("churn")
    commit = one.commit()
    lines = []
    for number in range(8_000):
        text = f"r {number}"
        lines.append(
            f"tag m{number % 40:02}@v1.{number // 40}.0\nfrom {commit}\ntagger A <a@b.c> {BEGIN + number} +0000\n"
        )
        lines.append(f"data {len(text)}\n{text}\n")
    run("git", "fast-import", "--quiet", cwd=one.root, input="".join(lines))
    start = time.monotonic()
    read = [sys.executable, "-c", f"from gitreg.catalog import *; Catalog(Path({str(one.root)!r})).models()"]
    subprocess.run(read, check=True)
    whole = time.monotonic() - start
    expected = [(m.name, m.latest, m.count) for m in one.catalog.models()]
    shutil.rmtree(one.index.parent)
    seen = 0
    for share in (0.5, 0.7, 0.9):
        process = subprocess.Popen(read)
        time.sleep(whole * share)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if one.index.exists():
            with sqlite3.connect(one.index) as index:
                try:
                    now = index.execute("SELECT count(*) FROM seen").fetchone()[0]
                except sqlite3.OperationalError:
                    now = 0
            assert now >= seen
            seen = now
    assert seen > 0
    assert [(m.name, m.latest, m.count) for m in one.catalog.models()] == expected
    assert len(expected) == 40 and {count for _, _, count in expected} == {200}


# Old and odd manifests ---------------------------------------------------------------------------


def test_manifests_that_today_refuses_are_read_as_far_as_they_go(shelf: Shelf) -> None:
    shelf.register(
        "old",
        "1.0.0",
        type="sklearn-of-old",
        colour="red",
        description="Still here.",
        schema={"inputs": [{"name": "x", "data_type": "float16", "shape": [2]}, "nonsense", {"name": 3}]},
        metrics={"auc": 0.8, "word": "good"},
        owners=["@a", 7],
    )
    one = shelf.catalog.version("old")
    assert one.description == "Still here." and one.type == "sklearn-of-old"
    assert one.metrics == {"auc": 0.8} and one.owners == ("@a",)
    assert one.schema and one.schema.input_schema[0].data_type.value == "unknown"
    assert any("unknown key 'colour'" in problem for problem in one.problems)
    assert [str(v) for v in shelf.catalog.search("valid = false")] == ["old@1.0.0"]
    assert "manifest problems" in command("list", cwd=shelf.root).stdout


@pytest.mark.parametrize("text", ["name: [", "\x00\x01", "", "just text", "- a\n- b\n", "name: other\n"])
def test_versions_without_a_readable_manifest_are_listed(shelf: Shelf, text: str) -> None:
    (shelf.root / "models" / "drift").mkdir()
    (shelf.root / "models" / "drift" / "model.yaml").write_text(text)
    shelf.commit()
    shelf.tag("drift@v1.0.0")
    one = shelf.catalog.version("drift")
    assert one.problems and one.metrics == {} and one.schema is None
    assert not any("None" in problem for problem in one.problems)
    assert [m.name for m in shelf.catalog.models()] == ["churn", "drift", "forecast"]


def test_a_manifest_is_found_wherever_registry_yaml_says(shelf: Shelf) -> None:
    (shelf.root / "registry.yaml").write_text("registry: shelf\nmodels: teams/*/model.yaml\n")
    shelf.write("drift", folder="teams/others")
    shelf.write("mine", folder="teams/ours", description="Found.")
    shelf.commit()
    shelf.tag("mine@v1.0.0")
    assert shelf.catalog.version("mine").description == "Found."
    shelf.tag("drift@v1.0.0", message="r\n\nGitreg-Manifest: ../../../etc/passwd")
    assert shelf.catalog.version("drift").file == "teams/others/model.yaml"


def test_two_registries_in_one_repository(shelf: Shelf) -> None:
    other = shelf.root / "second"
    other.mkdir()
    (other / "registry.yaml").write_text("registry: second\n")
    (other / "models" / "churn").mkdir(parents=True)
    (other / "models" / "churn" / "model.yaml").write_text(
        '{"name": "churn", "type": "onnx", "description": "B"}'
    )
    shelf.commit()
    shelf.tag("churn@v3.0.0")
    assert Catalog(other).version("churn").description == "B"
    assert shelf.catalog.version("churn").description == "Who leaves."


def test_a_bare_repository_can_be_read(shelf: Shelf, tmp_path: Path) -> None:
    run("git", "clone", "-q", "--bare", shelf.root, tmp_path / "bare.git", cwd=tmp_path)
    bare = Catalog(tmp_path / "bare.git")
    assert bare.models() == shelf.catalog.models()
    assert set(bare.stages()) == {"staging", "production"}


def test_a_pipelines_artifact_is_found_in_its_dvc_lock(shelf: Shelf) -> None:
    (shelf.root / "models" / "drift").mkdir()
    (shelf.root / "models" / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: drift/out\n      md5: ab.dir\n"
        "      size: 9\n      nfiles: 2\n"
    )
    shelf.register("drift", "1.0.0", artifact="out")
    shelf.register("drift", "1.0.1", artifact={"stage": "train"})
    for one in shelf.catalog.model("drift").versions():
        assert (one.artifact_hash, one.size, one.artifact["files"]) == ("md5:ab.dir", 9, 2)


def test_outside_of_git_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not in a Git repository"):
        Catalog(tmp_path).models()


# Pages ------------------------------------------------------------------------------------------


def test_pages_hold_across_processes_and_new_versions(shelf: Shelf) -> None:
    for number in range(9):
        shelf.register("drift", f"1.0.{number}", metrics={"accuracy": number % 3 / 10})
    order_by = "metrics.accuracy DESC"
    whole = [str(one) for one in shelf.catalog.search("name = 'drift'", order_by)]
    found: list[str] = []
    token: str | None = None
    while True:
        page = shelf.catalog.search("name = 'drift'", order_by, 2, token)
        found += map(str, page)
        token = page.token
        if len(found) == 4:
            shelf.register("drift", "9.0.0", metrics={"accuracy": 0.9})  # it sorts before what was shown
        if not token:
            break
    assert found == whole and len(found) == 9
    first = shelf.catalog.search("name = 'drift'", order_by, 2)
    with pytest.raises(Usage, match="another search"):
        shelf.catalog.search("name = 'churn'", order_by, 2, first.token)
    for wrong in ("hello", "", "W10", "AAAA", "\u00e4"):
        if wrong:
            with pytest.raises(Usage, match="no token"):
                shelf.catalog.search("name = 'drift'", order_by, 2, wrong)


def test_a_registry_elsewhere_is_read_without_fetching_file_by_file(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone has no contents; what is asked for comes at once. The clone has an index of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run("git", "config", "uploadpack.allowFilter", "true", cwd=shelf.root)
    run("git", "config", "uploadpack.allowAnySHA1InWant", "true", cwd=shelf.root)
    registry = gitreg.Registry(f"file://{shelf.root}")
    there = [(str(one), one.metrics, one.artifact_hash) for one in registry.versions()]
    assert there == [(str(one), one.metrics, one.artifact_hash) for one in shelf.catalog.versions()]
    assert [str(one) for one in registry.search("metrics.accuracy > 0.94")] == ["churn@1.1.0"]
    said = command("show", "churn#production", "--registry", f"file://{shelf.root}", cwd=tmp_path)
    assert said.returncode == 0 and "accuracy 0.93" in said.stdout, said.stderr


def test_offline_a_registry_elsewhere_is_read_as_far_as_it_was_fetched(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run("git", "config", "uploadpack.allowFilter", "true", cwd=shelf.root)
    run("git", "config", "uploadpack.allowAnySHA1InWant", "true", cwd=shelf.root)
    address = f"file://{shelf.root}"
    assert gitreg.Registry(address).version("churn@1.0.0").metrics["accuracy"] == 0.93
    with pytest.warns(UserWarning, match="offline"):
        registry = gitreg.Registry(address, offline=True)
    assert registry.version("churn@1.0.0").metrics["accuracy"] == 0.93
    churn, forecast = registry.models()
    assert churn.stages == {"production": "1.0.0", "staging": "1.1.0"}
    assert "was not fetched yet" in forecast.problems[0]
    assert [str(one) for one in registry.search("stage = 'production'")] == ["churn@1.0.0"]
    with pytest.raises(Outside):
        registry.search("metrics.accuracy > 0")
    assert [str(one) for one in gitreg.Registry(address).search("metrics.accuracy > 0.94")] == ["churn@1.1.0"]


def test_a_tag_with_the_object_of_another_records_nothing(shelf: Shelf) -> None:
    run("git", "update-ref", "refs/tags/churn@v7.0.0", "refs/tags/churn@v1.0.0", cwd=shelf.root)
    assert shelf.catalog.model("churn").latest == "1.1.0"
    run("git", "tag", "-d", "churn@v1.1.0", cwd=shelf.root)
    assert [v.version for v in shelf.catalog.model("churn").versions()] == ["1.0.0"]
