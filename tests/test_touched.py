"""`check --base` refuses all that `check` refuses of what a pull request changes: whatever it does to whichever file."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitreg.errors import GitregError, InvalidFiles, Problem
from gitreg.registry import Registry
from tests.support import ADDER_CODE, Workshop, run

MD5 = "0123456789abcdef0123456789abcdef"
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
# Every file that a plan, a build or DVC reads of this registry; and of each kind at least one.
FILES = {
    "registry.yaml": "the registry's own",
    "dvc.yaml": "entries of artifacts, and a pipeline",
    "dvc.lock": "outputs of a model elsewhere",
    ".dvc/config": "DVC's own",
    "stages/staging.yaml": "",
    "models/adder/model.yaml": "",
    "models/adder/artifacts.dvc": "",
    "models/adder/src/adder_model.py": "two models read it",
    "models/adder/samples.json": "",
    "models/adder/requirements.txt": "",
    "models/adder/metrics.json": "",
    "models/adder/params.yaml": "",
    "models/adder/README.md": "",
    "models/adder/Dockerfile": "",
    "models/adder/environment.yaml": "",
    "models/piped/dvc.lock": "",
    "models/piped/dvc.yaml": "with a wdir",
    "models/served/service/serve.py": "",
    "shared/common.py": "code of several",
    "shared/samples.json": "",
    "shared/weights.dvc": "",
    "lib/linked.py": "behind a link",
    "data/raw.dvc": "of no model",
}
FOLDERS = [
    "models",
    "models/adder",
    "models/adder/src",
    "models/served/service",
    "stages",
    "shared",
    "lib",
    ".dvc",
]


def model(shop: Workshop, name: str, /, **said: object) -> None:
    """A model that needs nothing of its own."""
    shop.manifest(
        name, **{"name": name, "requirements": [], "sample_data": "../../shared/samples.json", **said}
    )


def lock(stage: str, out: str) -> str:
    entry = {"cmd": "x", "outs": [{"path": out, "hash": "md5", "md5": MD5, "size": 3}]}
    return json.dumps({"schema": "2.0", "stages": {stage: entry}})


@pytest.fixture(scope="module")
def base(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A registry with every kind of file, on the branch main; all of it passes `check`."""
    root = tmp_path_factory.mktemp("touched") / "registry"
    shutil.copytree(_template, root, symlinks=True)
    shop = Workshop(root)
    texts = {
        "shared/common.py": ADDER_CODE,
        "shared/samples.json": '[{"x": [1, 2]}]',
        "shared/weights.dvc": f"outs:\n- md5: {MD5}\n  size: 1\n  hash: md5\n  path: weights\n",
        "lib/linked.py": ADDER_CODE,
        "data/raw.dvc": f"outs:\n- md5: {MD5}\n  size: 1\n  hash: md5\n  path: raw\n",
        "models/adder/requirements.txt": "numpy>=1.24\n",
        "models/adder/metrics.json": '{"accuracy": 0.9}',
        "models/adder/params.yaml": "rate: 0.1\n",
        "models/adder/README.md": "# Adder\n",
        "models/adder/Dockerfile": "FROM scratch\n",
        "models/adder/environment.yaml": "name: x\n",
        "models/piped/dvc.yaml": "stages:\n  train:\n    wdir: out\n    cmd: x\n    outs:\n    - weights\n",
        "models/piped/dvc.lock": lock("train", "weights"),
        "models/served/service/serve.py": "ANSWER = 42\n",
        "dvc.lock": lock("make", "models/rooted/weights"),
        "stages/staging.yaml": "adder: 1.0.0\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    named = {"dockerfile": "Dockerfile", "conda": "environment.yaml"}
    files = {"metrics": "metrics.json", "params": "params.yaml", "card": "README.md"}
    shop.manifest(requirements="requirements.txt", lineage={"environment": named}, **files)
    model(shop, "reader", model_class="common.Adder", code="../../shared", artifact="../../shared/weights")
    model(shop, "neighbour", code="../adder/src", artifact="../../shared/weights")
    model(shop, "piped", model_class="common.Adder", code="../../shared", artifact={"stage": "train"})
    model(shop, "rooted", model_class="common.Adder", code="../../shared", artifact="weights")
    model(
        shop, "served", type="custom", model_class=None, code=None, artifact=None, serving={"code": "service"}
    )
    model(shop, "behind", model_class="linked.Adder", artifact="../../shared/weights")
    (root / "models/behind/src").symlink_to("../../lib")
    stages = "stages:\n  make:\n    cmd: x\n    outs:\n    - models/rooted/weights\n"
    (root / "dvc.yaml").write_text(stages)
    assert shop.gitreg("check", "--fix").returncode == 0
    shop.commit("everything")
    assert refused(shop.root) == {}
    return shop


@pytest.fixture
def shop(base: Workshop) -> Iterator[Workshop]:
    """That registry, on a branch of its own; put back afterwards."""
    run("git", "switch", "-qC", "change", "main", cwd=base.root)
    yield base
    put_back(base)


def put_back(shop: Workshop) -> None:
    for path in (*FOLDERS, *FILES):  # Git leaves those of submodules
        shutil.rmtree(shop.root / path / ".git", ignore_errors=True)
    kept = [word for name in (".dvc/cache", ".dvc/tmp", "models/adder/artifacts") for word in ("-e", name)]
    run("git", "reset", "-q", "--hard", "main", cwd=shop.root)
    run("git", "clean", "-ffdqx", *kept, cwd=shop.root)


def problems(find: Callable[[], list[Problem]]) -> list[Problem]:
    try:
        return find()
    except InvalidFiles as invalid:
        return list(invalid.problems)
    except GitregError as error:
        return [Problem("registry.yaml", 0, 0, "", error.message)]


def errors(found: list[Problem]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for one in found:
        if one.level == "error":
            files.setdefault(one.file, []).append(str(one))
    return files


def refused(root: Path) -> dict[str, list[str]]:
    """file -> what `check` refuses in it."""
    return errors(problems(lambda: Registry(root).check().problems))


def refused_of_the_change(root: Path) -> dict[str, list[str]]:
    """file -> what `check --base` refuses in it."""
    return errors(problems(lambda: Registry(root).review("main", committed=True).report.problems))


def held(shop: Workshop, what: str) -> tuple[set[str], set[str]]:
    """Commits a change, and holds `check --base` against `check`: the files in which each finds errors."""
    shop.commit(what)
    whole, part = refused(shop.root), refused_of_the_change(shop.root)
    assert whole.keys() <= part.keys(), f"{what}: passed, though check says {whole}; it says {part}"
    out = run("git", "diff", "--name-only", "-z", "--no-renames", "main", cwd=shop.root).stdout
    changed = set(out.split("\0"))
    # What a merge takes away is missed by the plan; and a stage line is judged where its model is refused.
    also = {"registry.yaml", *(["stages/staging.yaml"] if whole else [])}
    assert part.keys() <= whole.keys() | changed | also, f"{what}: {part}, and check: {whole}"
    return set(whole), set(part)


def gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def becomes_link(path: Path, to: str | Path) -> None:
    gone(path)
    path.symlink_to(to)


def moved_behind_a_link(path: Path) -> None:
    """The same content, elsewhere in the repository, with a link in its place."""
    other = path.parents[len(path.parts) - len(path.parts)] / f"real-{path.name.lstrip('.')}"
    path.rename(other)
    path.symlink_to(other.name)


def becomes_submodule(path: Path) -> None:
    run("git", "rm", "-rq", "--cached", ".", cwd=path) if path.is_dir() else None
    inner = path.with_name(f".{path.name}.moving")
    path.rename(inner)
    path.mkdir()
    run("git", "init", "-q", ".", cwd=path)
    if inner.is_dir():
        shutil.copytree(inner, path, dirs_exist_ok=True, symlinks=True)
    else:
        shutil.copy(inner, path / "file")
    gone(inner)
    run("git", "add", "-fA", ".", cwd=path)
    run("git", "commit", "-qm", "inner", cwd=path)


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return replace


KINDS: dict[str, Callable[[Path], object]] = {
    "deleted": gone,
    "empty": lambda path: path.write_text(""),
    "nonsense": lambda path: path.write_text("]: {\n"),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a conflict": lambda path: path.write_text(f"<<<<<<< a\n{path.read_text()}=======\n>>>>>>> b\n"),
    "a pointer of Git LFS": lambda path: path.write_text(LFS),
    "a folder": lambda path: (gone(path), path.mkdir(), (path / "x").write_text("x")),
    "a link to its content": moved_behind_a_link,
    "a link outside": lambda path: becomes_link(path, "/etc/passwd"),
    "a link to nothing": lambda path: becomes_link(path, "nothing-of-the-kind"),
    "a submodule": becomes_submodule,
    "renamed": lambda path: path.rename(path.with_name(f"other-{path.name}")),
    "executable": lambda path: path.chmod(0o755),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_becomes_of_a_file(shop: Workshop, kind: str) -> None:
    for file in FILES:
        KINDS[kind](shop.root / file)
        held(shop, f"{file}: {kind}")
        put_back(shop)


@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_becomes_of_a_folder(shop: Workshop, folder: str) -> None:
    for kind in (
        "deleted",
        "a link to its content",
        "a link outside",
        "a link to nothing",
        "a submodule",
        "renamed",
    ):
        KINDS[kind](shop.root / folder)
        whole, _ = held(shop, f"{folder}: {kind}")
        linked = kind in ("a link to its content", "a submodule") and folder not in (
            "lib",
            "shared",
            "models/adder/src",
        )
        assert whole or not linked, "what commits do not hold is refused"
        put_back(shop)


def test_a_link_is_called_one(shop: Workshop) -> None:
    files = [
        "dvc.yaml",
        "dvc.lock",
        "stages/staging.yaml",
        "models/adder/model.yaml",
        "models/adder/artifacts.dvc",
    ]
    for file in files:
        moved_behind_a_link(shop.root / file)
        shop.commit(file)
        for said in (refused(shop.root), refused_of_the_change(shop.root)):
            assert "symbolic link" in said[file][0], said
        put_back(shop)
    moved_behind_a_link(shop.adder)
    shop.commit("behind a folder")
    for said in (refused(shop.root), refused_of_the_change(shop.root)):
        assert "lies behind the symbolic link 'models/adder'" in said["models/adder/model.yaml"][0], said


EDITS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an entry is redirected": (
        "dvc.yaml",
        replaced("models/adder/artifacts", "models/rooted/weights"),
        "dvc.yaml",
    ),
    "an entry is a text": (
        "dvc.yaml",
        replaced("  adder:\n    path: models/adder/artifacts\n    type: model\n", "  adder: x\n"),
        "dvc.yaml",
    ),
    "the section is a list": ("dvc.yaml", lambda path: path.write_text("artifacts: [adder]\n"), "dvc.yaml"),
    "the section is in a text": (
        "dvc.yaml",
        lambda path: path.write_text(
            "vars:\n- a: '\nartifacts:\n  adder:\n    path: models/adder/artifacts\n'\n"
            + path.read_text().replace("models/adder/artifacts", "elsewhere")
        ),
        "dvc.yaml",
    ),
    "an unknown section": (
        "dvc.yaml",
        lambda path: path.write_text(path.read_text() + "stagess: {}\n"),
        "dvc.yaml",
    ),
    "a stage without a command": ("dvc.yaml", replaced("    cmd: x\n", ""), "dvc.yaml"),
    "an output elsewhere": (
        "dvc.lock",
        replaced("models/rooted/weights", "models/rooted/other"),
        "models/rooted/model.yaml",
    ),
    "a hash that is none": ("dvc.lock", replaced(MD5, "0"), "models/rooted/model.yaml"),
    "a stage that goes": ("models/piped/dvc.lock", replaced('"train"', '"test"'), "models/piped/model.yaml"),
    "a wdir of a .dvc file": (
        "models/adder/artifacts.dvc",
        lambda path: path.write_text("wdir: ..\n" + path.read_text()),
        "models/adder/model.yaml",
    ),
    "a wdir of a stage": (
        "dvc.yaml",
        replaced("    cmd: x\n", "    cmd: x\n    wdir: lib\n"),
        "models/rooted/model.yaml",
    ),
    "a file of DVC's that it refuses": ("data/raw.dvc", replaced("outs:", "outz:"), "data/raw.dvc"),
    "a setting that DVC does not know": (
        ".dvc/config",
        lambda path: path.write_text("[corr]\nremote = x\n"),
        ".dvc/config",
    ),
    "files that DVC does not see": (
        ".dvcignore",
        lambda path: path.write_text("*.dvc\n"),
        "models/adder/artifacts.dvc",
    ),
    "a folder that DVC does not see": (
        ".dvcignore",
        lambda path: path.write_text("models/adder/\n"),
        "models/adder/artifacts.dvc",
    ),
    "an artifact that DVC does not see": (
        ".dvcignore",
        lambda path: path.write_text("artifacts\n"),
        "models/adder/artifacts.dvc",
    ),
    "a deep one": (
        "models/.dvcignore",
        lambda path: path.write_text("adder/*.dvc\n"),
        "models/adder/artifacts.dvc",
    ),
    "a repository of its own": (
        "models/adder/.dvc/config",
        lambda path: path.write_text(""),
        "models/adder/artifacts.dvc",
    ),
    "files that Git ignores": (
        ".gitignore",
        lambda path: path.write_text("*.dvc\n"),
        "models/adder/artifacts.dvc",
    ),
    "a deep one of Git's": (
        "models/piped/.gitignore",
        lambda path: path.write_text("/dvc.lock\n"),
        "models/piped/dvc.lock",
    ),
    "a line on no model": (
        "stages/staging.yaml",
        lambda path: path.write_text("addr: 1.0.0\n"),
        "stages/staging.yaml",
    ),
    "a second file of a stage": (
        "stages/staging.yml",
        lambda path: path.write_text(""),
        "stages/staging.yml",
    ),
    "a stage that is none": (
        "stages/stagging.yaml",
        lambda path: path.write_text(""),
        "stages/stagging.yaml",
    ),
    "a stage that follows none": (
        "registry.yaml",
        replaced("from: [staging]", "from: [nowhere]"),
        "registry.yaml",
    ),
    "a stage that goes from registry.yaml": (
        "registry.yaml",
        replaced("staging: {}", "tested: {}"),
        "stages/staging.yaml",
    ),
    "a requirement of fields": (
        "registry.yaml",
        lambda path: path.write_text(path.read_text() + "require: [license]\n"),
        "models/adder/model.yaml",
    ),
    "a name that is taken": (
        "models/reader/model.yaml",
        replaced('"reader"', '"adder"'),
        "models/reader/model.yaml",
    ),
    "a name, hidden in escapes": (
        "models/reader/model.yaml",
        replaced('"reader"', '"\\x61dder"'),
        "models/reader/model.yaml",
    ),
    "a name that a line names": (
        "models/adder/model.yaml",
        replaced('"adder"', '"subtracter"'),
        "stages/staging.yaml",
    ),
    "a version that a line names": (
        "models/adder/model.yaml",
        replaced('"1.0.0"', '"1.0.1"'),
        "stages/staging.yaml",
    ),
    "a module that hides another": ("shared/numpy.py", lambda path: path.write_text("]"), "shared/numpy.py"),
    "a new dvc.lock between": (
        "models/dvc.lock",
        lambda path: path.write_text(lock("make", "rooted/weights").replace(MD5, "x")),
        "models/rooted/model.yaml",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_an_edit_breaks(shop: Workshop, edit: str) -> None:
    file, make, expected = EDITS[edit]
    (shop.root / file).parent.mkdir(exist_ok=True)
    make(shop.root / file)
    whole, part = held(shop, edit)
    assert expected in whole and expected in part, (whole, part)


def test_whatever_becomes_of_two_files_at_once(shop: Workshop) -> None:
    """Another choice each day that the files change; what failed is named, and can be asked for again."""
    chance = random.Random(f"{len(FILES)} {len(KINDS)}")
    for _ in range(20):
        chosen = [(file, chance.choice(list(KINDS))) for file in chance.sample(sorted(FILES), 2)]
        for file, kind in chosen:
            if (shop.root / file).is_file():
                KINDS[kind](shop.root / file)
        if run("git", "status", "--porcelain", cwd=shop.root).stdout:
            held(shop, str(chosen))
        put_back(shop)


def fresh(shop: Workshop, place: Path) -> Path:
    """A clone as CI makes it."""
    run("git", "clone", "-q", "--branch", "change", shop.root, place, cwd=shop.root)
    run("git", "fetch", "-q", "origin", "main:main", cwd=place)
    return place


def both(root: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    return refused(root), refused_of_the_change(root)


@pytest.mark.parametrize("file", [".gitattributes", "models/adder/.gitattributes", "shared/.gitattributes"])
def test_attributes_that_make_other_bytes_touch_what_they_make(
    shop: Workshop, tmp_path: Path, file: str
) -> None:
    shop.manifest("adder", **{**json.loads((shop.adder / "model.yaml").read_text()), "version": "1.0.0"})
    assert shop.gitreg("apply").returncode == 0
    (shop.root / file).write_text("*.py text eol=crlf\n")
    shop.commit("lines end otherwise")
    whole, part = both(fresh(shop, tmp_path / "fresh"))
    run("git", "tag", "-d", *run("git", "tag", cwd=shop.root).stdout.split(), cwd=shop.root)
    wanted = {"shared/.gitattributes": "reader"}.get(file, "adder")
    assert f"models/{wanted}/model.yaml" in whole and whole == part
    assert "is registered with other content" in str(part)


def test_attributes_that_make_no_other_bytes_touch_nothing(shop: Workshop) -> None:
    (shop.root / ".gitattributes").write_text("*.py diff=python linguist-language=Python merge=union\n")
    shop.commit("what tools show")
    assert Registry(shop.root).review("main", committed=True).report.models == 0


def test_what_git_lfs_keeps_is_refused_where_it_lies_whole(shop: Workshop) -> None:
    """Where Git LFS is installed, the work tree has the file itself, and commits a pointer."""
    (shop.root / ".gitattributes").write_text(
        "stages/* filter=lfs\nmodels/*/samples.json filter=lfs diff=lfs\n"
    )
    shop.commit("LFS")
    whole, part = both(shop.root)
    stages = {f"stages/{name}.yaml" for name in ("archived", "production", "staging")}
    assert whole == part and set(whole) == {*stages, "models/adder/samples.json"}, (whole, part)
    assert "gives it to 'lfs'" in whole["stages/staging.yaml"][0]


def test_a_change_of_one_entry_or_one_output_checks_no_more(shop: Workshop) -> None:
    replaced("models/rooted/weights\n    type", "models/rooted/other\n    type")(shop.root / "dvc.yaml")
    shop.commit("an entry")
    done = Registry(shop.root).review("main", committed=True).report
    assert (done.models, [one.file for one in done.problems if one.level == "error"]) == (0, ["dvc.yaml"])
    put_back(shop)
    said = json.loads((shop.root / "dvc.lock").read_text())
    said["stages"]["another"] = {"cmd": "y", "outs": [{"path": "models/rooted/y", "md5": MD5, "hash": "md5"}]}
    (shop.root / "dvc.lock").write_text(json.dumps(said, indent=2))
    shop.commit("a stage of no model")
    assert Registry(shop.root).review("main", committed=True).report.models == 1, "the folder that it is in"
    (shop.root / "data" / "notes.txt").write_text("nothing that a model reads")
    (shop.root / "notes.txt").write_text("nor this")
    shop.commit("notes")
    assert Registry(shop.root).review("main", committed=True).report.models == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"code": "../../shared", %s}',
        '{"description": "ticket #5", "code": "../../shared", %s}',
        "code: ../../shared # as the others\n%s\n",
        "# as the others\rcode: ../../shared\n%s\n",
        "# as the others\u2028code: ../../shared\n%s\n",
        'code: "\\x2e\\x2e/../shared"\n%s\n',
        'code: "\\u002e\\u002E/\\u002e./shared"\n%s\n',
        'code: "..\\/..\\/shared"\n%s\n',
        'code: "../..\\\n  /shared"\n%s\n',
        "code: [src,\n  ../../shared]\n%s\n",
        "code:\n- ../../shared\n%s\n",
        "x-y: &up ../../shared\ncode: *up\n%s\n",
        "code: ../neighbour/../../shared\n%s\n",
        "code: >-\n  ../../shared\n%s\n",
    ],
)
def test_a_way_out_is_seen_however_it_is_written(shop: Workshop, text: str) -> None:
    said = json.loads((shop.root / "models/reader/model.yaml").read_text())
    flow = ", ".join(f'"{key}": {json.dumps(value)}' for key, value in said.items() if key != "code")
    lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in said.items() if key != "code")
    whole = text.replace("%s", flow if text.startswith("{") else lines)
    if "x-y" in whole:  # where an unknown key is none of a manifest's
        whole = whole.replace("x-y: &up ../../shared\ncode: *up", "tags: {a: &up ../../shared}\ncode: *up")
    (shop.root / "models/reader/model.yaml").write_bytes(whole.encode())
    (shop.root / "models/reader/src").mkdir()
    (shop.root / "models/reader/src/x.py").write_text("")
    run("git", "branch", "-f", "before", "main", cwd=shop.root)
    shop.commit("written so")
    run("git", "branch", "-f", "before", cwd=shop.root)
    assert Registry(shop.root).read("models/reader/model.yaml").manifest is not None, whole
    (shop.root / "shared/common.py").write_text("]")
    shop.commit("broken")
    found = Registry(shop.root).review("before", committed=True).report
    assert [one.file for one in found.problems if one.level == "error"].count("shared/common.py") == 1
    assert found.models == 3


def test_a_model_in_the_folder_of_another_is_read_by_both(shop: Workshop) -> None:
    file = shop.root / "registry.yaml"
    file.write_text(file.read_text().replace("models: models/*/model.yaml", "models: models/**/model.yaml"))
    inner = shop.root / "models/outer/inner"
    inner.mkdir(parents=True)
    model(shop, "outer", model_class="code.Adder", code="inner", artifact="../../shared/weights")
    model(
        shop,
        "outer/inner",
        name="inner",
        type="custom",
        model_class=None,
        code=None,
        artifact=None,
        sample_data=None,
    )
    (inner / "code.py").write_text(ADDER_CODE)
    (inner / "notes.txt").write_text("")
    shop.commit("one in another")
    run("git", "branch", "-f", "before", cwd=shop.root)
    (inner / "code.py").write_text("]")
    shop.commit("broken")
    found = Registry(shop.root).review("before", committed=True).report
    assert found.models == 2 and "models/outer/inner/code.py" in errors(found.problems)
    (inner / "code.py").write_text(ADDER_CODE)
    (inner / "notes.txt").write_text("more")
    shop.commit("notes")
    assert Registry(shop.root).review("before", committed=True).report.models == 1


def test_a_submodule_that_is_hidden_from_git_diff(shop: Workshop) -> None:
    becomes_submodule(shop.root / "models/adder/src")
    (shop.root / ".gitmodules").write_text(
        '[submodule "x"]\n\tpath = models/adder/src\n\turl = ./x\n\tignore = all\n'
    )
    shop.commit("a submodule that says ignore = all")
    whole, part = both(shop.root)
    assert "is a submodule" in str(whole["models/adder/model.yaml"]) and whole == part


def test_apply_refuses_what_a_commit_does_not_hold(shop: Workshop) -> None:
    for path, words in (
        ("stages", "stages: is a symbolic link"),
        ("models/adder", "models/adder: is a symbolic link"),
    ):
        moved_behind_a_link(shop.root / path)
        shop.commit(path)
        for command in ("plan", "apply"):
            done = shop.gitreg(command)
            assert done.returncode == 1 and words in done.stderr, done.stdout + done.stderr
            assert "unassign" not in done.stdout
        put_back(shop)


def test_nothing_waits_for_a_named_pipe(shop: Workshop) -> None:
    for file in FILES:
        gone(shop.root / file)
        os.mkfifo(shop.root / file)
    whole = problems(lambda: Registry(shop.root).check().problems)
    assert whole and "registry.yaml" in str(whole[0])
    run("git", "checkout", "-q", "main", "--", "registry.yaml", cwd=shop.root)
    files = errors(Registry(shop.root).check().problems)
    pipes = ("stages/staging.yaml", "models/adder/model.yaml", "dvc.yaml", ".dvc/config")
    assert all("is neither a file nor a folder" in files[file][0] for file in pipes), files
    run(
        "git",
        "checkout",
        "-q",
        "main",
        "--",
        "models/adder/model.yaml",
        "models/served/model.yaml",
        cwd=shop.root,
    )
    files = errors(Registry(shop.root).check().problems)
    assert "is neither a file nor a folder" in str(files["models/adder/model.yaml"]), files
    done = subprocess.run(["timeout", "60", "true"], check=True)  # the commands above have ended
    assert done.returncode == 0


def test_what_was_found_is_not_remembered_once_it_changed(shop: Workshop) -> None:
    """Of files that were not there, of code that did not parse, of a folder that became a link."""

    def settled() -> dict[str, list[str]]:
        for path in shop.root.rglob("*"):
            if path.is_file() and ".git" not in path.parts and ".dvc" not in path.parts:
                os.utime(path, ns=(1_700_000_000_000_000_000,) * 2)  # long ago, and all at once
        return refused(shop.root)

    gone(shop.adder / "Dockerfile")
    (shop.root / "shared/common.py").write_text("]" * len(ADDER_CODE))
    assert set(settled()) == {"models/adder/model.yaml", "shared/common.py"}
    (shop.adder / "Dockerfile").write_text("FROM scratch\n")
    (shop.root / "shared/fixed.py").write_text(ADDER_CODE)
    (shop.root / "shared/fixed.py").replace(shop.root / "shared/common.py")
    assert settled() == {}
    moved_behind_a_link(shop.adder)
    assert "models/adder/model.yaml" in settled()
    (shop.root / "models/adder").unlink()
    (shop.root / "models/real-adder").rename(shop.adder)
    assert settled() == {}
