"""Models of other registries: by Git address, held against their tags, built from one's own remote."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from gitreg import scaffold
from tests.support import Workshop, run


def dvc(shop: Workshop, *arguments: str) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, cwd=shop.root).stdout


def must(shop: Workshop, *arguments: str | Path) -> str:
    done = shop.gitreg(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def manifest(shop: Workshop, name: str) -> dict[str, object]:
    data: dict[str, object] = yaml.safe_load((shop.root / "models" / name / "model.yaml").read_text())
    return data


def publish(upstream: Workshop, version: str, number: int) -> None:
    """Register the adder at a version that adds another number."""
    (upstream.adder / "artifacts" / "number.txt").write_text(str(number))
    dvc(upstream, "add", "-q", "models/adder/artifacts")
    dvc(upstream, "push", "-q")
    upstream.manifest(
        version=version, description=f"Adds {number}.", card="../../shared/card.md", owners=["@them"]
    )
    upstream.commit(f"adder {version}")
    must(upstream, "apply")
    run("git", "push", "-q", "--tags", "hub", "main", cwd=upstream.root)


@pytest.fixture
def upstream(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workshop:
    """Another registry, pushed to a bare repository beside it, `hub.git`."""
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "gitreg-cache"))
    run("git", "init", "-q", "--bare", "--initial-branch=main", tmp_path / "hub.git", cwd=tmp_path)
    run("git", "remote", "add", "hub", tmp_path / "hub.git", cwd=workshop.root)
    (workshop.root / "shared").mkdir()
    (workshop.root / "shared" / "card.md").write_text("# A card")
    publish(workshop, "1.0.0", 5)
    return workshop


@pytest.fixture
def mine(upstream: Workshop, tmp_path: Path) -> Workshop:
    """A registry of one's own."""
    scaffold.init(tmp_path / "mine", "mine")
    shop = Workshop(tmp_path / "mine")
    dvc(shop, "remote", "add", "-q", "-d", "own", str(tmp_path / "own-store"))
    shop.commit("first")
    return shop


def hub(shop: Workshop) -> str:
    return f"git+file://{shop.root.parent}/hub.git"


def answer(shop: Workshop, reference: str) -> object:
    return json.loads(must(shop, "predict", reference, "--json"))["predictions"][0]


def test_a_model_of_another_registry_builds_here_without_it(
    upstream: Workshop, mine: Workshop, tmp_path: Path
) -> None:
    told = must(mine, "new", "adds", "--from", f"{hub(mine)}#adder@1.0.0")
    assert "dvc push" in told
    said = manifest(mine, "adds")
    address = hub(mine).removeprefix("git+")
    assert said["artifact"] == {
        "registry": address,
        "model": "adder",
        "version": "1.0.0",
        "path": "artifacts",
    }
    assert (
        said["description"] == "Adds 5."
        and "owners" not in said
        and said["card"] == "upstream/shared/card.md"
    )
    source = said["lineage"]["source"]  # type: ignore[index]
    head = run("git", "rev-parse", "adder@v1.0.0^{commit}", "adder@v1.0.0", cwd=upstream.root).stdout.split()
    assert [source["commit"], source["tag"]] == head
    mine.commit("subscribed")
    must(mine, "check", "adds")
    assert "register adds@1.0.0" in must(mine, "apply")
    dvc(mine, "push", "-q")
    shutil.rmtree(tmp_path / "hub.git")
    dvc(upstream, "remote", "modify", "here", "url", str(tmp_path / "gone"))
    run("git", "clone", "-q", mine.root, tmp_path / "clone", cwd=tmp_path)
    there = Workshop(tmp_path / "clone")
    must(there, "build", "adds")
    must(there, "verify", "dist")
    assert answer(there, "adds") == {"y": [6, 7]}


def test_only_a_reference_is_kept_where_that_is_asked_for(mine: Workshop) -> None:
    must(mine, "new", "adds", "--from", f"{hub(mine)}#adder", "--no-artifact")
    assert manifest(mine, "adds")["artifact"]["imported"] is False  # type: ignore[index]
    assert not list((mine.root / "models" / "adds").glob("*.dvc"))
    assert mine.gitreg("check").returncode == 0
    done = mine.gitreg("build", "adds")
    assert done.returncode == 1 and "was not imported" in done.stderr


WRONG = [
    ("git+ext::sh -c touch% pwned#adder", 1, "Git is not to run a helper"),
    ("git+--upload-pack=touch pwned;#adder", 1, "is not the address of a Git repository"),
    ("git+ssh://-oProxyCommand=touch/x#adder", 1, "an option is no host"),
    ("git+https://me:s3cret@127.0.0.1:9/x.git#adder", 1, "password or a token"),
    ("git+{hub}/nothing#adder", 4, "nothing"),
    ("git+{hub}#ader", 1, "did you mean 'adder'?"),
    ("git+{hub}#adder@9.9.9", 1, "adder@9.9.9 is not registered"),
    ("git+{hub}#adder#production", 1, "no version of adder is in production"),
    ("git+{hub}", 1, "names no model"),
]


def test_what_is_not_there_or_not_to_be_asked_is_told_and_leaves_nothing(mine: Workshop) -> None:
    address = hub(mine).removeprefix("git+")
    for source, code, said in WRONG:
        done = mine.gitreg("new", "adds", "--from", source.replace("{hub}", address))
        assert done.returncode == code and said in done.stderr, done.stderr
        assert "s3cret" not in done.stderr and not list(mine.root.rglob("pwned*"))
        assert not (mine.root / "models" / "adds").exists()


def test_a_version_that_was_deregistered_or_is_not_what_its_tag_says_is_refused(
    upstream: Workshop, mine: Workshop
) -> None:
    publish(upstream, "1.1.0", 6)
    at = run("git", "rev-parse", "adder@v1.1.0^{commit}", cwd=upstream.root).stdout.strip()
    run("git", "tag", "-a", "adder@v1.1.0!#9", "-m", "gone", at, cwd=upstream.root)
    message = "adder 1.2.0\n\nGitreg-Artifact: md5:00000000000000000000000000000000.dir\n"
    run("git", "tag", "-a", "adder@v1.2.0", "-m", message, at, cwd=upstream.root)
    run("git", "push", "-q", "--tags", "hub", cwd=upstream.root)
    done = mine.gitreg("new", "adds", "--from", f"{hub(mine)}#adder@1.1.0")
    assert done.returncode == 1 and "was deregistered" in done.stderr, done.stderr
    done = mine.gitreg("new", "adds", "--from", f"{hub(mine)}#adder@1.2.0")
    assert done.returncode == 1 and "is not what its tag says: Gitreg-Artifact" in done.stderr, done.stderr
    assert not (mine.root / "models" / "adds").exists()


def test_of_the_others_dvc_configuration_only_addresses_are_used(tmp_path: Path) -> None:
    """`bearer_token_command` is a command, and an AWS configuration file may name one."""
    from gitreg.store import foreign

    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    remote = evil\n"
        "['remote \"evil\"']\n    url = s3://bucket\n    configpath = evil.cfg\n    endpointurl = http://x\n"
        "['remote \"worse\"']\n    url = webdavs://host/x\n    bearer_token_command = touch pwned\n"
        "['remote \"option\"']\n    url = -oProxyCommand=x\n"
    )
    found = foreign.lendable(tmp_path)
    assert found["evil"] == found[""] == {"url": "s3://bucket", "endpointurl": "http://x"}
    assert "worse" not in found


# Newer versions -----------------------------------------------------------------------------------------


@pytest.fixture
def subscribed(mine: Workshop, tmp_path: Path) -> Workshop:
    """Subscribed to 1.0.0 and pushed to a repository of its own."""
    must(mine, "new", "adds", "--from", f"{hub(mine)}#adder@1.0.0")
    mine.commit("subscribed")
    must(mine, "apply")
    dvc(mine, "push", "-q")
    run("git", "init", "-q", "--bare", "--initial-branch=main", tmp_path / "mine.git", cwd=tmp_path)
    run("git", "remote", "add", "origin", tmp_path / "mine.git", cwd=mine.root)
    run("git", "push", "-q", "-u", "--tags", "origin", "main", cwd=mine.root)
    return mine


def status(shop: Workshop) -> str:
    return run("git", "status", "--porcelain", cwd=shop.root).stdout


def test_a_subscription_moves_on_by_a_branch_that_anybody_can_build(
    upstream: Workshop, subscribed: Workshop, tmp_path: Path
) -> None:
    assert "current" in must(subscribed, "update", "--check")
    publish(upstream, "1.1.0", 7)
    done = subscribed.gitreg("update", "adds", "--check", "--json")
    told = json.loads(done.stdout)[0]
    assert done.returncode == 1 and told["status"] == "newer" and told["there"] == "1.1.0"
    assert "branch update/adds-1.1.0, pushed" in must(subscribed, "update", "--push")
    assert status(subscribed) == "", "the work tree stays as it is"
    again = must(subscribed, "update", "--push")
    assert "branch update/adds-1.1.0, pushed" in again, "the same again changes nothing"
    run("git", "clone", "-q", "-b", "update/adds-1.1.0", tmp_path / "mine.git", "clone", cwd=tmp_path)
    there = Workshop(tmp_path / "clone")
    said = manifest(there, "adds")
    assert said["version"] == "1.1.0" and said["description"] == "Adds 7."
    assert said["lineage"]["source"]["version"] == "1.1.0"  # type: ignore[index]
    must(there, "check", "--base", "origin/main")
    must(there, "build", "adds")
    assert answer(there, "adds") == {"y": [8, 9]}

    must(subscribed, "update", "adds")
    assert status(subscribed).split() == ["M", "models/adds/artifacts.dvc", "M", "models/adds/model.yaml"]
    assert answer(subscribed, "adds") == {"y": [8, 9]}


def test_what_was_changed_here_and_there_is_for_a_person(upstream: Workshop, subscribed: Workshop) -> None:
    (subscribed.root / "models" / "adds" / "samples.json").write_text('[{"x": [3, 4]}]')
    done = subscribed.gitreg("update", "adds")
    assert done.returncode == 0, "nothing is newer"
    subscribed.commit("other samples")
    upstream.samples([{"x": [5, 6]}])
    publish(upstream, "1.1.0", 7)
    done = subscribed.gitreg("update", "adds")
    assert done.returncode == 1 and "changed both here and there: samples.json" in done.stderr
    assert status(subscribed) == ""


def test_a_source_that_moved_its_tag_or_vanished_is_told(
    upstream: Workshop, subscribed: Workshop, tmp_path: Path
) -> None:
    at = run("git", "rev-parse", "adder@v1.0.0^{commit}", cwd=upstream.root).stdout.strip()
    run("git", "tag", "-f", "-a", "adder@v1.0.0", "-m", "moved", at, cwd=upstream.root)
    run("git", "push", "-qf", "--tags", "hub", cwd=upstream.root)
    done = subscribed.gitreg("update", "adds")
    assert done.returncode == 1 and "was moved: it is" in done.stderr, done.stderr
    shutil.rmtree(tmp_path / "hub.git")
    done = subscribed.gitreg("update", "adds")
    assert done.returncode == 4 and "cannot be asked now" in done.stderr, done.stderr
    assert status(subscribed) == ""
    assert subscribed.gitreg("update", "ads").returncode == 1
