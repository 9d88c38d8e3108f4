"""What a consumer pins: a content digest and formats, whatever tags, stages and caches say."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitreg import GitregError, Registry, load_model
from gitreg.errors import Outside, Refused, Usage
from gitreg.pins import pin
from tests.support import Workshop, run
from tests.support import gitreg as command
from tests.upstream import Upstream, dvc


def answer(model: Any) -> list[int]:
    return list(model.predict({"x": [1, 2]})["y"])


def digest_of(up: Upstream, version: str = "1.0.0") -> str:
    return Registry(up.url).version(f"adder@{version}").digest


# The digest -----------------------------------------------------------------------------------------


def test_the_digest_of_a_version_is_told_and_loads_it(up: Upstream) -> None:
    digest = digest_of(up)
    shown = command("show", "adder@1.0.0", "--registry", up.url, cwd=up.place).stdout
    assert digest in shown and re.fullmatch("sha256:[0-9a-f]{64}", digest)
    first = load_model("models:/adder/production", registry=up.url)
    assert first.digest == first.metadata["digest"] == digest
    for said in (digest, digest.removeprefix("sha256:"), digest.upper().replace("SHA256", "sha256")):
        model = load_model("models:/adder/production", registry=up.url, digest=said)
        assert answer(model) == [6, 7] and model.digest == digest
    shutil.rmtree(up.cache)
    model = load_model("models:/adder/production", registry=up.url, digest=digest, formats=["files"])
    assert answer(model) == [6, 7] and model.version == "1.0.0"


@pytest.mark.parametrize("uri", ["adder@1.1.0", "models:/adder/staging", "models:/adder/latest"])
def test_another_version_is_refused_before_anything_of_it_is_fetched(up: Upstream, uri: str) -> None:
    first, second = digest_of(up), digest_of(up, "1.1.0")
    with pytest.raises(ValueError, match=r"adder@1\.1\.0 is not the version that was pinned") as caught:
        load_model(uri, registry=up.url, digest=first)
    assert isinstance(caught.value, Refused) and first in str(caught.value) and second in str(caught.value)
    assert not (up.cache / "packages").exists() and not (up.cache / "artifacts").exists()
    assert answer(load_model(uri, registry=up.url, digest=second)) == [8, 9]


@pytest.mark.parametrize(
    "digest",
    [
        *(
            "",
            "sha256:",
            "sha256:abc",
            "f" * 12,
            "f" * 63,
            "f" * 65,
            f"sha256:{'f' * 63}",
            f"sha256:{'f' * 65}",
        ),
        *(
            f"sha256:{'g' * 64}",
            f"md5:{'f' * 64}",
            f"sha512:{'f' * 64}",
            f"sha256: {'f' * 64}",
            f"{'f' * 64}\n",
        ),
        *(f" {'f' * 64}", f"sha256:{'f' * 64} sha256:{'f' * 64}", "sha256:" + "\u0661" * 64, 7, b"f" * 64),
    ],
)
def test_what_is_no_digest_is_a_mistake_of_the_call(up: Upstream, digest: Any) -> None:
    with pytest.raises(Usage, match="is not a content digest"):
        load_model("models:/adder/production", registry=up.url, digest=digest)
    assert not up.cache.exists()


def test_a_stage_that_moved_meanwhile_is_noticed(up: Upstream) -> None:
    digest = digest_of(up)
    assert answer(load_model("models:/adder/production", registry=up.url, digest=digest)) == [6, 7]
    done = up.work().gitreg("promote", "adder@1.1.0", "production", "--apply")
    assert done.returncode == 0, done.stderr
    with pytest.raises(Refused, match=r"adder@1\.1\.0 is not the version that was pinned"):
        load_model("models:/adder/production", registry=up.url, digest=digest)
    assert answer(load_model("adder@1.0.0", registry=up.url, digest=digest)) == [6, 7]


def move_tag(up: Upstream, change: Callable[[str], str]) -> None:
    """The tag of 1.0.0, on the commit of 1.1.0, with another message."""
    shop = up.work()
    message = run(
        "git", "for-each-ref", "--format=%(contents)", "refs/tags/adder@v1.0.0", cwd=shop.root
    ).stdout
    shop.manifest(version="1.0.0", description="Adds seven.")
    shop.commit("the old version, with new content")
    run("git", "tag", "-f", "-a", "adder@v1.0.0", "-m", change(message.strip()), cwd=shop.root)
    run("git", "push", "-qf", "origin", "HEAD:main", "adder@v1.0.0", cwd=shop.root)


@pytest.mark.parametrize("claim", ["the old one", "none", "its own"])
@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.filterwarnings("ignore:.*moved:UserWarning")
def test_a_tag_that_was_moved_under_its_name_is_noticed(up: Upstream, claim: str, warm: bool) -> None:
    digest, other = digest_of(up), digest_of(up, "1.1.0")
    if warm:
        load_model("adder@1.0.0", registry=up.url)
    changes: dict[str, Callable[[str], str]] = {
        "the old one": str,
        "none": lambda text: re.sub("(?m)^Gitreg-Digest: .*\n", "", text),
        "its own": lambda text: text.replace(digest, other),
    }
    move_tag(up, changes[claim])
    with pytest.raises(
        Refused, match=r"adder@1\.0\.0 is not (the version that was pinned|what was registered)"
    ):
        load_model("adder@1.0.0", registry=up.url, digest=digest)
    if claim != "the old one":
        assert answer(load_model("adder@1.0.0", registry=up.url, digest=other)) == [8, 9]


# The cache ------------------------------------------------------------------------------------------


def package(up: Upstream) -> Path:
    (found,) = (up.cache / "packages").glob("[0-9a-f]*")
    return found


def rewritten(file: Path, old: str, new: str) -> None:
    """Change a file in place, and leave its size and time as they were."""
    before = file.stat()
    text = file.read_text()
    assert old in text and len(old) == len(new)
    mode = before.st_mode
    file.chmod(0o644)
    file.write_text(text.replace(old, new))
    file.chmod(mode)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def noted(up: Upstream, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what is known of the version, and let the files' stamps be those of now."""
    (file,) = (up.cache / "versions").glob("*.json")
    said = json.loads(file.read_bytes())
    change(said)
    place = package(up)
    paths = [path.relative_to(place).as_posix() for path in place.rglob("*")]
    stats = {path: (place / path).stat() for path in [*paths, "."]}
    said["files"] = {path: [one.st_size, one.st_mtime_ns, one.st_ino] for path, one in stats.items()}
    file.write_text(json.dumps(said))


HARMS: dict[str, Callable[[Upstream], None]] = {
    "code": lambda up: rewritten(package(up) / "1/defs/adder_model.py", "self.number)}", "12345678901)}"),
    "code, and what is known of it": lambda up: (
        rewritten(package(up) / "1/defs/adder_model.py", "self.number)}", "12345678901)}"),
        noted(up, lambda said: said["known"]["content"]["code"].update({"adder_model.py": "0" * 64})),
    )[0],
    "a module that hides another": lambda up: (
        (package(up) / "1/defs/numpy.py").write_text("raise SystemExit('not ours')"),
        noted(up, lambda said: None),
    )[1],
    "gitreg's own module": lambda up: (
        (package(up) / "1/defs/gitreg/__init__.py").write_text("raise SystemExit('not ours')"),
        noted(up, lambda said: None),
    )[1],
    "which class": lambda up: (
        (package(up) / "1/defs/model_class.txt").write_text("os.system"),
        noted(up, lambda said: said["known"].update({"class": "os.system"})),
    )[1],
    "a file more": lambda up: (
        (package(up) / "1/model/more.txt").write_text("more"),
        noted(up, lambda said: None),
    )[1],
    "an artifact in its place": lambda up: (
        (package(up) / "1/model/number.txt").unlink(),
        (package(up) / "1/model/number.txt").write_text("9"),
        noted(up, lambda said: None),
    )[2],
    "a link": lambda up: (
        (package(up) / "1/defs/adder_model.py").rename(up.place / "elsewhere.py"),
        (package(up) / "1/defs/adder_model.py").symlink_to(up.place / "elsewhere.py"),
        noted(up, lambda said: None),
    )[2],
    "another place of the artifact": lambda up: noted(
        up, lambda said: said["known"].update(artifact="metadata")
    ),
    "nothing known of it": lambda up: noted(up, lambda said: said["known"].pop("content")),
    "nonsense known of it": lambda up: noted(up, lambda said: said["known"].update(content=[1])),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_cache_that_was_tampered_with_is_made_anew(up: Upstream, harm: str) -> None:
    """With sizes and times as they were, or noted as they are: only who pins pays for a look at every byte."""
    digest = digest_of(up)
    assert answer(load_model("adder@1.0.0", registry=up.url)) == [6, 7]
    HARMS[harm](up)
    model = load_model("adder@1.0.0", registry=up.url, digest=digest)
    assert answer(model) == [6, 7] and model.digest == digest
    assert answer(load_model("adder@1.0.0", registry=up.url)) == [6, 7]


@pytest.mark.filterwarnings("ignore::gitreg.clones.Stale")
def test_a_cache_that_was_tampered_with_and_cannot_be_made_anew_is_not_loaded(up: Upstream) -> None:
    digest = digest_of(up)
    load_model("adder@1.0.0", registry=up.url)
    assert answer(load_model("adder@1.0.0", registry=up.url, digest=digest, offline=True)) == [6, 7]
    HARMS["code"](up)
    shutil.rmtree(up.cache / "artifacts")
    with pytest.raises(Outside, match=r"offline, and adder@1\.0\.0: its package in the cache cannot be used"):
        load_model("adder@1.0.0", registry=up.url, digest=digest, offline=True)


def test_an_artifact_that_was_changed_through_every_name_of_it_is_refused(up: Upstream) -> None:
    """Its bytes are also those of DVC's cache: nothing here has the right ones any more."""
    digest = digest_of(up)
    load_model("adder@1.0.0", registry=up.url)
    rewritten(package(up) / "1/model/number.txt", "5", "9")
    if (package(up) / "1/model/number.txt").stat().st_nlink == 1:  # a reflink, or a copy
        assert answer(load_model("adder@1.0.0", registry=up.url, digest=digest)) == [6, 7]
        return
    with pytest.raises(Refused, match="is corrupt: its content hashes to"):
        load_model("adder@1.0.0", registry=up.url, digest=digest)


# Formats --------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(up: Upstream) -> Upstream:
    """adder 1.2.0, whose artifact is a folder of a plain file, an array, and a pickle that is called ONNX."""
    shop = up.work()
    folder = shop.adder / "artifacts"
    dvc(shop, "pull", "-q")
    folder.chmod(0o755)
    import numpy as np

    np.save(folder / "weights.npy", np.arange(3))
    (folder / "model.onnx").write_bytes(pickle.dumps(os.getcwd))
    dvc(shop, "add", "-q", "models/adder/artifacts")
    dvc(shop, "push", "-q")
    shop.manifest(version="1.2.0")
    shop.commit("more files")
    run("git", "push", "-q", "origin", "HEAD:main", cwd=shop.root)
    done = shop.gitreg("apply", "--push")
    assert done.returncode == 0, done.stderr
    return up


def test_every_file_of_an_artifact_is_of_an_allowed_format(mixed: Upstream) -> None:
    def load(*formats: str) -> list[int]:
        return answer(load_model("adder@1.2.0", registry=mixed.url, formats=formats))

    with pytest.raises(ValueError, match=r"adder@1\.2\.0 has files of other formats than onnx") as caught:
        load("onnx")
    said = str(caught.value)
    assert "model.onnx is pickle" in said and "number.txt is files" in said and "weights.npy is npy" in said
    with pytest.raises(
        Refused, match=r"other formats than files, onnx: model\.onnx is pickle; weights\.npy is npy$"
    ):
        load("files", "onnx")
    with pytest.raises(Refused, match=r"other formats than files, npy: model\.onnx is pickle$"):
        load("files", "npy")
    assert load("files", "npy", "pickle") == [8, 9]
    assert answer(load_model("adder@1.0.0", registry=mixed.url, formats="files")) == [6, 7]


def test_a_pickle_in_an_archive_is_a_pickle(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("notes.txt", "x")
        archive.writestr("inner/model.onnx", pickle.dumps(os.getcwd))
    for formats in (["archive", "onnx"], ["archive-code"], ["archive"]):
        with pytest.raises(Refused, match=r"is pickle|is archive-code"):
            pin(formats=formats).hold_files("churn@1.0.0", {"m.zip": tmp_path / "m.zip"})
    pin(formats=["archive-code", "pickle"]).hold_files("churn@1.0.0", {"m.zip": tmp_path / "m.zip"})
    (tmp_path / "m.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 64)
    with pytest.raises(Refused, match=r"m\.7z is archive-opaque"):
        pin(formats=["archive"]).hold_files("churn@1.0.0", {"m.7z": tmp_path / "m.7z"})


@pytest.mark.parametrize(
    ("formats", "words"),
    [
        (["onyx"], "'onyx' is not a format.*did you mean 'onnx'"),
        (["transformers"], "is what a folder is as a whole"),
        ([], "no format is allowed"),
        ([7], "7 is not a format"),
        ("onnx,pickle", "is not a format"),
    ],
)
def test_what_is_no_format_is_a_mistake_of_the_call(up: Upstream, formats: Any, words: str) -> None:
    with pytest.raises(Usage, match=words):
        load_model("models:/adder/production", registry=up.url, formats=formats)


# The command line, and a registry's own methods -------------------------------------------------------


@pytest.mark.parametrize(
    "verb", [["pull"], ["pull", "--package", "raw"], ["predict"]], ids=["artifact", "package", "predict"]
)
def test_commands_take_pins(up: Upstream, verb: list[str]) -> None:
    first, second = digest_of(up), digest_of(up, "1.1.0")

    def ask(*arguments: str) -> tuple[int, str]:
        where = ["--registry", up.url, *(["-o", str(up.place / "out")] if verb[0] == "pull" else [])]
        done = command(*verb, *arguments, *where, cwd=up.place)
        return done.returncode, done.stdout + done.stderr

    code, said = ask("adder#production", "--digest", second)
    assert (
        code == 1 and f"adder@1.0.0 is not the version that was pinned: expected the content {second}" in said
    )
    code, said = ask("adder#production", "--digest", first[:20])
    assert code == 2 and "is not a content digest" in said
    code, said = ask("adder#production", "--allow-format", "onnx")
    assert code == 1 and "number.txt is files" in said
    code, said = ask("adder#production", "--allow-format", "onix")
    assert code == 2 and "did you mean 'onnx'" in said
    assert not (up.place / "out").exists()
    code, said = ask(
        "adder#production", "--digest", first, "--allow-format", "files", "--allow-format", "onnx"
    )
    assert code == 0, said
    code, said = ask("adder#production", "--digest", first)
    assert code == 0, said


def test_what_is_pulled_was_checked_by_its_content_and_not_by_its_tag(up: Upstream) -> None:
    digest = digest_of(up)
    move_tag(up, str)  # it claims the old content
    for how in ({}, {"package": "raw"}):
        with pytest.raises(Refused, match=r"is not (the version that was pinned|what was registered)"):
            Registry(up.url).pull("adder@1.0.0", up.place / "out", digest=digest, **how)
    with pytest.raises(Refused, match="is not the version that was pinned"):
        Registry(up.url).predict("adder@1.0.0", digest=digest)
    assert not (up.place / "out").exists()


def test_a_model_that_is_not_registered_has_its_content_to_speak_for_it(workshop: Workshop) -> None:
    registry = Registry(workshop.root)
    (report,) = registry.build(["adder"], workshop.root / "dist")
    assert report.digest
    manifest, _, _ = registry.predict("adder", digest=report.digest, formats=["files"])
    assert manifest.name == "adder"
    workshop.code((workshop.adder / "src/adder_model.py").read_text() + "\n")
    with pytest.raises(Refused, match=r"adder@1\.0\.0 is not the version that was pinned.*its content says"):
        Registry(workshop.root).predict("adder", digest=report.digest)


def test_serve_takes_a_digest_for_each_model(workshop: Workshop) -> None:
    for arguments, code, words in (
        (["adder", "--digest", "sha256:" + "0" * 64], 1, "adder@1.0.0 is not the version that was pinned"),
        (
            ["adder", "--digest", "0" * 64, "--digest", "0" * 64],
            2,
            "once for each REF, of which there are 1, or never",
        ),
        (["adder", "--digest", "0"], 2, "is not a content digest"),
        (["adder", "--allow-format", "onnx"], 1, "number.txt is files"),
    ):
        done = workshop.gitreg("serve", *arguments)
        assert done.returncode == code and words in done.stderr, done.stderr


def test_refusals_are_errors_of_gitregs_and_of_values() -> None:
    with pytest.raises(GitregError) as caught:
        pin("sha256:" + "0" * 64).hold_digest("churn@1.0.0", "sha256:" + "1" * 64, "its tag")
    assert isinstance(caught.value, ValueError) and caught.value.hint and "gitreg show" in caught.value.hint
