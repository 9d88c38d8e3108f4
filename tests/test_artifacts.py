"""Artifacts come from DVC, whole and true to their hashes, and are linked rather than copied."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitreg import GitregError, Registry, builder
from gitreg.store import pipelines
from tests.support import DVC, Workshop, run

FIVE = hashlib.md5(b"5").hexdigest()


def dvc(shop: Workshop, *arguments: str) -> str:
    return run(sys.executable, "-m", "dvc", *arguments, cwd=shop.root).stdout


def cache(shop: Workshop) -> Path:
    return shop.root / ".dvc" / "cache" / "files" / "md5"


def cached(shop: Workshop, md5: str) -> Path:
    return cache(shop) / md5[:2] / md5[2:]


def tracked(shop: Workshop) -> str:
    """The hash in the adder's .dvc file."""
    data = yaml.safe_load((shop.adder / "artifacts.dvc").read_text())
    return str(data["outs"][0]["md5"])


def track_as(shop: Workshop, md5: str) -> None:
    file = shop.adder / "artifacts.dvc"
    file.write_text(file.read_text().replace(tracked(shop), md5))


def put_folder_object(shop: Workshop, entries: Any) -> str:
    """Store a list of files in the cache as DVC would, and let the adder's artifact be it."""
    data = json.dumps(entries, sort_keys=True).encode()
    md5 = f"{hashlib.md5(data).hexdigest()}.dir"
    cached(shop, md5).parent.mkdir(parents=True, exist_ok=True)
    cached(shop, md5).write_bytes(data)
    track_as(shop, md5)
    return md5


def refusal(shop: Workshop) -> str:
    """Why a build in this process is refused: all of it, or its one model."""
    try:
        report = Registry(shop.root).build(output=shop.root / "dist")[0]
    except GitregError as error:
        return error.message
    return report.error.message if report.error else "it was built"


def no_packages(shop: Workshop) -> bool:
    return not list((shop.root / "dist").glob("*/*")) and not list(shop.root.rglob(".gitreg-*"))


# From the cache, from the remote, from nowhere ------------------------------------------------------


def test_what_the_cache_lacks_is_fetched_from_the_remote(workshop: Workshop) -> None:
    shutil.rmtree(cache(workshop))
    done = workshop.gitreg("build", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["status"] == "built"
    assert (workshop.root / "dist/raw/adder/0/model/number.txt").read_text() == "5"
    assert cached(workshop, tracked(workshop)).is_file()


def test_one_file_that_a_cached_folder_lacks_is_fetched(workshop: Workshop) -> None:
    cached(workshop, FIVE).unlink()
    done = workshop.gitreg("build")
    assert done.returncode == 0, done.stderr
    assert cached(workshop, FIVE).read_bytes() == b"5"


@pytest.mark.parametrize("lost", ["everything", "one file"])
def test_what_neither_cache_nor_remote_has_is_named_with_its_hash(workshop: Workshop, lost: str) -> None:
    remote = Path(dvc(workshop, "config", "remote.here.url").strip())
    if not remote.is_absolute():
        remote = workshop.root / ".dvc" / remote
    own = workshop.root.parent / "own-remote"  # the template's remote is shared by all tests
    shutil.copytree(remote, own)
    dvc(workshop, "remote", "modify", "here", "url", str(own))
    wanted = tracked(workshop) if lost == "everything" else FIVE
    for place in (cache(workshop), own / "files" / "md5"):
        (place / wanted[:2] / wanted[2:]).unlink()
    done = workshop.gitreg("build")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "models/adder/artifacts" in done.stderr and wanted in done.stderr
    assert "hint: dvc push" in done.stderr
    assert no_packages(workshop)


def test_a_remote_that_is_not_there_is_the_outsides_failure(workshop: Workshop) -> None:
    shutil.rmtree(cache(workshop))
    dvc(workshop, "remote", "modify", "here", "url", str(workshop.root.parent / "nowhere"))
    done = workshop.gitreg("build")
    assert done.returncode == 4 and "models/adder/artifacts" in done.stderr
    assert no_packages(workshop)


def test_no_remote_at_all_is_told_with_a_cure(workshop: Workshop) -> None:
    shutil.rmtree(cache(workshop))
    dvc(workshop, "remote", "remove", "here")
    done = workshop.gitreg("build")
    assert done.returncode == 4 and "hint: " in done.stderr and "models/adder/artifacts" in done.stderr


# Broken, forged -------------------------------------------------------------------------------------


def spoil(file: Path, data: bytes) -> None:
    file.chmod(0o644)
    file.write_bytes(data)


def test_a_corrupt_file_in_the_cache_is_refused_with_its_cure(workshop: Workshop) -> None:
    assert workshop.gitreg("build").returncode == 0, "its hash is remembered as a good one"
    shutil.rmtree(workshop.root / "dist")
    spoil(cached(workshop, FIVE), b"6")
    done = workshop.gitreg("build")
    assert done.returncode == 1, done.stdout
    assert f"{cached(workshop, FIVE)} of 'models/adder/artifacts' is corrupt" in done.stderr
    assert no_packages(workshop)
    cure = done.stderr.partition("hint: ")[2].strip()
    assert cure.startswith("rm -f ") and " && dvc fetch " in cure
    first, _, second = cure.partition(" && ")
    run(*first.split(), cwd=workshop.root)
    dvc(workshop, *second.split()[1:])
    assert workshop.gitreg("build").returncode == 0, "the hint cures it"


@pytest.mark.parametrize("data", [b"[]", b"not JSON"])
def test_a_corrupt_folder_list_in_the_cache_is_refused_with_its_cure(workshop: Workshop, data: bytes) -> None:
    place = cached(workshop, tracked(workshop))
    spoil(place, data)
    done = workshop.gitreg("build")
    assert done.returncode == 1, done.stdout
    assert f"{place} of 'models/adder/artifacts' is corrupt" in done.stderr and "hint: rm -f" in done.stderr
    assert no_packages(workshop)


def test_a_dvc_file_with_another_hash_is_told_by_that_hash(workshop: Workshop) -> None:
    track_as(workshop, "0" * 32 + ".dir")
    done = workshop.gitreg("build")
    assert done.returncode == 4
    assert "models/adder/artifacts" in done.stderr and "0" * 32 + ".dir" in done.stderr


@pytest.mark.parametrize("md5", ["../../../../etc/passwd", "5" * 31, "X" * 32, "5" * 32 + ".dir.dir"])
def test_a_dvc_file_with_no_real_hash_is_a_problem_of_that_file(workshop: Workshop, md5: str) -> None:
    track_as(workshop, md5)
    done = workshop.gitreg("build")
    assert done.returncode == 1 and "models/adder/artifacts.dvc" in done.stderr and "32 hex" in done.stderr


CLIMBING = [
    "../evil.txt",
    "/tmp/evil.txt",
    "a/../../evil.txt",
    "..",
    "a\\..\\evil.txt",
    "",
    ".",
    "a//b",
    "a/./b",
]


@pytest.mark.parametrize("relpath", CLIMBING)
def test_a_folder_list_whose_path_leaves_its_folder_is_refused(workshop: Workshop, relpath: str) -> None:
    """A pull request can bring any list along with its hash; the list comes from a remote."""
    put_folder_object(workshop, [{"md5": FIVE, "relpath": relpath}])
    before = set(workshop.root.parent.rglob("*"))
    assert "the entry" in refusal(workshop)
    assert not [p for p in set(workshop.root.parent.rglob("*")) - before if "evil" in p.name]
    assert no_packages(workshop)


@pytest.mark.parametrize(
    "relpaths",
    [["number.txt", "number.txt"], ["number.txt", "number.txt/below"]],
    ids=["twice", "file and folder"],
)
def test_a_folder_list_that_contradicts_itself_is_refused(workshop: Workshop, relpaths: list[str]) -> None:
    six = hashlib.md5(b"6").hexdigest()
    cached(workshop, six).parent.mkdir(exist_ok=True)
    cached(workshop, six).write_bytes(b"6")
    put_folder_object(
        workshop, [{"md5": md5, "relpath": path} for md5, path in zip((FIVE, six), relpaths, strict=True)]
    )
    done = workshop.gitreg("build")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "entry" in done.stderr and no_packages(workshop)


# Stages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "models/adder/"], ids=["of the root", "beside the manifest"])
def test_an_artifact_may_be_the_output_of_a_dvc_yaml_stage(workshop: Workshop, where: str) -> None:
    out = "models/adder/out" if not where else "out"
    command = f"{sys.executable} -c \"import os; os.makedirs('{out}', exist_ok=True); open('{out}/number.txt', 'w').write('8')\""
    stage = {"stages": {"train": {"cmd": command, "outs": [out]}}}
    (workshop.root / where / "dvc.yaml").write_text(yaml.safe_dump(stage))
    dvc(workshop, "repro", "-q", f"{where}dvc.yaml")
    dvc(workshop, "push", "-q")
    workshop.manifest(artifact={"stage": "train"})
    shutil.rmtree(workshop.root / "models/adder/out")
    shutil.rmtree(cache(workshop))
    done = workshop.gitreg("build")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (workshop.root / "dist/triton/adder/0/model/number.txt").read_text() == "8"


def test_paths_of_dvcs_files_are_relative_to_their_wdir(workshop: Workshop) -> None:
    """Of one stage, of one of many, with a merge key, and of a .dvc file; each as DVC itself writes it."""
    (workshop.root / "data").mkdir()
    command = f"{sys.executable} -c \"open('number.txt', 'w').write('8')\""
    text = (
        f"vars:\n- common: &common\n    wdir: data\nstages:\n  train:\n    <<: *common\n    cmd: {json.dumps(command)}\n"
        "    outs: [number.txt]\n  each:\n    foreach: [x, y]\n    do:\n      wdir: data\n"
        "      cmd: echo ${item} > ${item}.txt\n      outs:\n      - ${item}.txt\n"
        "  loose:\n    wdir: ${common.wdir}\n    cmd: echo 1 > loose\n    outs: [loose]\n"
    )
    (workshop.adder / "data").mkdir()
    (workshop.adder / "dvc.yaml").write_text(text)
    dvc(workshop, "repro", "-q", "models/adder/dvc.yaml")
    for artifact, digest in (
        ({"stage": "train"}, hashlib.md5(b"8").hexdigest()),
        ("data/number.txt", hashlib.md5(b"8").hexdigest()),
        ({"stage": "each@y"}, hashlib.md5(b"y\n").hexdigest()),
        ("data/x.txt", hashlib.md5(b"x\n").hexdigest()),
    ):
        workshop.manifest(artifact=artifact)
        (gathered,) = [Registry(workshop.root).gather("models/adder/model.yaml")]
        assert gathered.tracked and gathered.tracked.md5 == digest, gathered.problems
        assert gathered.tracked.path.startswith("models/adder/data/")
    pipeline = pipelines.find(workshop.root, "models/adder/data/number.txt")
    assert pipeline and pipeline.last.name == "train"
    workshop.manifest(artifact={"stage": "loose"})
    (problem,) = Registry(workshop.root).gather("models/adder/model.yaml").errors
    assert "cannot tell which folder `wdir: ${common.wdir}` is" in problem.message
    pointer = workshop.adder / "artifacts.dvc"
    pointer.write_text(f"wdir: data\n{pointer.read_text()}")
    (workshop.adder / "artifacts").rename(workshop.adder / "data" / "artifacts")
    dvc(workshop, "commit", "-f", "-q", "models/adder/artifacts.dvc")
    workshop.manifest(artifact="artifacts")
    (problem,) = Registry(workshop.root).gather("models/adder/model.yaml").errors
    assert problem.message.startswith("models/adder/artifacts.dvc: does not track 'models/adder/artifacts'")


def test_a_stage_that_dvc_lock_does_not_have_is_told_at_its_line(workshop: Workshop) -> None:
    workshop.manifest(artifact={"stage": "train"})
    done = workshop.gitreg("build")
    assert done.returncode == 1 and "the stage 'train'" in done.stderr and "dvc repro" in done.stderr


def test_a_build_never_runs_a_stage(workshop: Workshop) -> None:
    (workshop.root / "dvc.yaml").write_text(
        yaml.safe_dump({"stages": {"train": {"cmd": "touch pwned", "outs": ["models/adder/out"]}}})
    )
    workshop.manifest(artifact={"stage": "train"})
    workshop.gitreg("build")
    workshop.gitreg("check", "adder")
    assert not (workshop.root / "pwned").exists()


# Links ----------------------------------------------------------------------------------------------


def test_artifact_files_are_links_to_the_cache_and_read_only(workshop: Workshop) -> None:
    big = os.urandom(20 << 20)
    (workshop.adder / "artifacts" / "weights.bin").write_bytes(big)
    dvc(workshop, "add", "-q", "models/adder/artifacts")
    done = workshop.gitreg("build")
    assert done.returncode == 0, done.stderr
    object_ = cached(workshop, hashlib.md5(big).hexdigest())
    for kind in ("triton", "raw"):
        file = workshop.root / "dist" / kind / "adder" / "0" / "model" / "weights.bin"
        assert file.stat().st_mode & 0o777 == 0o444
        assert file.stat().st_ino == object_.stat().st_ino
    own = [
        p
        for p in (workshop.root / "dist").rglob("*")
        if p.is_file() and p.stat().st_ino != object_.stat().st_ino
    ]
    assert sum(p.stat().st_size for p in own) < 100_000
    shutil.rmtree(workshop.root / "dist")
    assert object_.read_bytes() == big, "the cache outlives its packages"


def test_a_cache_object_that_can_be_written_is_not_shared(workshop: Workshop) -> None:
    """Whoever may write the cache's object would write the package too, and the other way round."""
    cached(workshop, FIVE).chmod(0o644)
    assert workshop.gitreg("build").returncode == 0
    file = workshop.root / "dist/raw/adder/0/model/number.txt"
    assert file.stat().st_ino != cached(workshop, FIVE).stat().st_ino
    assert file.stat().st_mode & 0o777 == 0o444


# DVC's own hash -------------------------------------------------------------------------------------

TREES: dict[str, dict[str, bytes]] = {
    "one file": {"a.txt": b"a"},
    "names that sort differently with and without folders": {
        "a/b": b"1",
        "a-b": b"2",
        "a.b": b"3",
        "a b": b"4",
        "ab": b"5",
        "A": b"6",
        "a/b.c/d": b"7",
    },
    "names beyond ASCII": {"é/ü.txt": b"1", "日本.bin": b"2", "\U0001f600": b"3", "\uffee": b"4"},
    "empty files and line ends": {"empty": b"", "dos.txt": b"a\r\nb\r\n", "big": b"x" * (3 << 20)},
    "a folder called __pycache__": {"a.txt": b"a", "__pycache__/b.pyc": b"b"},
    "hidden files": {".hidden": b"a", ".config/b": b"b"},
}


@pytest.fixture(scope="module")
def dvc_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dvc")
    run(sys.executable, "-m", "dvc", "init", "-q", "--no-scm", cwd=root)
    return root


def test_the_hash_of_an_artifact_is_the_one_that_dvc_gives_it(dvc_repo: Path) -> None:
    """All at once: one `dvc add` takes a second."""
    wanted = {}
    for name, files in TREES.items():
        for file, data in files.items():
            (dvc_repo / name / file).parent.mkdir(parents=True, exist_ok=True)
            (dvc_repo / name / file).write_bytes(data)
        wanted[name] = builder.local_artifact(dvc_repo / name).digest
    for file in ("single.bin", "empty.bin"):
        (dvc_repo / file).write_bytes(b"" if file == "empty.bin" else b"one")
        wanted[file] = builder.local_artifact(dvc_repo / file).digest
    run(sys.executable, "-m", "dvc", "add", "-q", *wanted, cwd=dvc_repo)
    given = {n: yaml.safe_load((dvc_repo / f"{n}.dvc").read_text())["outs"][0]["md5"] for n in wanted}
    assert wanted == {name: f"md5:{md5}" for name, md5 in given.items()}


def test_an_artifact_is_not_fetched_from_where_its_file_says_that_it_was_imported_from(
    workshop: Workshop, tmp_path: Path
) -> None:
    """A pull request could name any repository there; artifacts come from configured remotes alone."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    run("git", "init", "-q", stranger, cwd=tmp_path)
    run(sys.executable, "-m", "dvc", "init", "-q", cwd=stranger)
    (stranger / "number.txt").write_text("666")
    run(sys.executable, "-m", "dvc", "add", "-q", "number.txt", cwd=stranger)
    run("git", "add", "-A", cwd=stranger)
    run("git", "commit", "-qm", "theirs", cwd=stranger)
    md5 = yaml.safe_load((stranger / "number.txt.dvc").read_text())["outs"][0]["md5"]
    commit = run("git", "rev-parse", "HEAD", cwd=stranger).stdout.strip()
    said = {
        "frozen": True,
        "deps": [{"path": "number.txt", "repo": {"url": str(stranger), "rev_lock": commit}}],
        "outs": [{"md5": md5, "size": 3, "hash": "md5", "path": "number.txt"}],
    }
    (workshop.adder / "number.txt.dvc").write_text(yaml.safe_dump(said))
    workshop.manifest(artifact="number.txt")
    done = workshop.gitreg("build")
    assert done.returncode == 4
    assert f"needs {md5}, which the DVC cache does not have, nor does the remote" in done.stderr


@pytest.mark.parametrize("shared", [False, True])
def test_an_artifact_that_dvc_links_to_its_cache_is_one(
    workshop: Workshop, tmp_path: Path, shared: bool
) -> None:
    """The usual set-up of a machine that several people use."""
    run(*DVC, "config", "--local", "cache.type", "symlink", cwd=workshop.root)
    if shared:
        run(*DVC, "config", "--local", "cache.dir", tmp_path / "shared", cwd=workshop.root)
    file = workshop.adder / "weights.txt"
    file.write_text("5")
    code = workshop.adder / "src" / "adder_model.py"
    code.write_text(code.read_text().replace('(Path(path) / "number.txt")', "Path(path)"))
    run(*DVC, "add", "-q", file, cwd=workshop.root)
    run(*DVC, "checkout", "-q", "--relink", file, cwd=workshop.root)
    assert file.is_symlink()
    workshop.manifest(artifact="weights.txt")
    assert workshop.gitreg("check", "--fix", "--no-run").returncode == 0
    workshop.commit()
    for verb in (["check"], ["check", "adder"], ["check", "--base", "HEAD~1"], ["plan"], ["build", "adder"]):
        done = workshop.gitreg(*verb)
        assert done.returncode == 0, (verb, done.stderr)
    (packed,) = (workshop.root / "dist" / "raw").rglob("weights.txt")
    assert packed.read_text() == "5" and not packed.is_symlink()


def test_an_artifact_that_is_a_link_of_a_commit_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    """One that looks as if DVC had made it, too."""
    secret = tmp_path / "ab" / ("0" * 30)
    secret.parent.mkdir()
    secret.write_text("secret")
    (workshop.adder / "weights.txt").symlink_to(secret)
    (workshop.adder / "weights.txt.dvc").write_text(
        "outs:\n- md5: 5ebe2294ecd0e0f08eab7690d2a6ee69\n  size: 6\n  hash: md5\n  path: weights.txt\n"
    )
    workshop.manifest(artifact="weights.txt")
    run("git", "add", "-f", "models", cwd=workshop.root)
    run("git", "commit", "-qm", "link", cwd=workshop.root)
    for verb in (["check"], ["check", "--base", "HEAD~1"], ["build", "adder"]):
        done = workshop.gitreg(*verb)
        assert done.returncode == 1 and "is a symbolic link that Git tracks" in done.stderr, done.stderr


def test_a_link_of_the_users_own_in_the_place_of_dist_is_fine(workshop: Workshop, tmp_path: Path) -> None:
    """Packages on another disk."""
    (tmp_path / "large").mkdir()
    (workshop.root / "dist").symlink_to(tmp_path / "large")
    said = workshop.gitreg("doctor").stdout
    assert re.search("^artifact links +(ok|warning) ", said, re.MULTILINE), said
    assert workshop.gitreg("build", "adder").returncode == 0 and (tmp_path / "large" / "raw").is_dir()
    assert (workshop.root / "dist").is_symlink()


def test_only_what_a_model_is_read_from_has_to_be_seen_by_dvc(workshop: Workshop) -> None:
    """Samples of tests, as this repository has them, are hidden from DVC on purpose."""
    sample = workshop.root / "samples" / "x.dvc"
    sample.parent.mkdir()
    sample.write_text(f"outs:\n- md5: {'ab' * 16}\n  path: x\n")
    ignore = workshop.root / ".dvcignore"
    ignore.write_text("/samples/\n")
    workshop.commit()
    for more in ([], ["--base", "HEAD~1"]):
        done = workshop.gitreg("check", "--no-run", *more)
        assert done.returncode == 0, done.stderr
    ignore.write_text("/models/\n")
    workshop.commit()
    for more in ([], ["--base", "HEAD~1"]):
        done = workshop.gitreg("check", "--no-run", *more)
        assert done.returncode == 1 and ".dvcignore hides it" in done.stderr
