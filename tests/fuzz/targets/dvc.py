"""DVC's files: `.dvc`, dvc.yaml, dvc.lock, `.dvc/config`; each by all that read it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gitreg.errors import GitregError
from tests.fuzz import mutations
from tests.fuzz.harness import Judge, Target
from tests.fuzz.targets import seeds

_FOLDER = "models/adder"


def _tried(*deeds: Callable[[], object]) -> bool:
    """Each in turn; the first that is refused is, when all have been tried."""
    refused: GitregError | None = None
    for deed in deeds:
        try:
            deed()
        except GitregError as error:
            refused = refused or error
    if refused:
        raise refused
    return True


def _pointer(folder: Path) -> Judge:
    from gitreg.contents import _out, _outs
    from gitreg.declared import ArtifactSource
    from gitreg.store import dvcfiles, pipelines
    from gitreg.store.pointers import Pointers

    root, file = folder, f"{_FOLDER}/artifacts.dvc"
    (root / _FOLDER).mkdir(parents=True)
    sources = [
        ArtifactSource(path=f"{_FOLDER}/artifacts"),
        ArtifactSource(url="s3://bucket/artifacts"),
        ArtifactSource(
            path=f"{_FOLDER}/artifacts", registry="https://example.org/r.git", model="a", version="1.0.0"
        ),
    ]

    def judge(raw: bytes) -> object:
        (root / file).write_bytes(raw)
        if dvcfiles.is_plain(root, file):
            assert not dvcfiles.mistakes(root, file)
        _out(_outs(raw, file), {"path": f"{_FOLDER}/artifacts"}, file)
        return _tried(
            lambda: [str(one) for one in dvcfiles.mistakes(root, file)],
            *[partial(Pointers(root).tracked, one, _FOLDER) for one in sources],
            lambda: Pointers(root).outputs(file),
            lambda: pipelines.tracked(root, f"{_FOLDER}/artifacts"),
            lambda: pipelines.imported(root, file),
        )

    return judge


def _pipeline(folder: Path) -> Judge:
    from gitreg import doors
    from gitreg.contents import _out, _outs
    from gitreg.declared import ArtifactSource
    from gitreg.store import dvcfiles, pipelines
    from gitreg.store.pointers import Pointers

    root = folder
    (root / _FOLDER).mkdir(parents=True)
    artifacts = {"adder": f"{_FOLDER}/artifacts", "churn": "models/churn/artifacts"}

    def judge(pair: tuple[bytes, bytes]) -> object:
        (root / "dvc.yaml").write_bytes(pair[0])
        (root / "dvc.lock").write_bytes(pair[1])
        if dvcfiles.is_plain(root, "dvc.yaml"):
            assert not dvcfiles.mistakes(root, "dvc.yaml")
        _out(_outs(pair[1], "dvc.lock"), {"stage": "train"}, "dvc.lock")
        return _tried(
            lambda: [str(one) for one in dvcfiles.mistakes(root, "dvc.yaml")],
            lambda: [str(one) for one in dvcfiles.mistakes(root, "dvc.lock")],
            lambda: doors.mistakes(root, artifacts),
            lambda: doors.changed(pair[0], root),
            lambda: doors.fixed(root, artifacts),
            lambda: Pointers(root).tracked(ArtifactSource(stage="train"), _FOLDER),
            lambda: Pointers(root).tracked(ArtifactSource(stage="many@1", path="f1"), _FOLDER),
            lambda: Pointers(root).tracked(ArtifactSource(path=f"{_FOLDER}/artifacts"), _FOLDER),
            lambda: Pointers(root).outputs("dvc.lock"),
            lambda: Pointers(root).measures("train", _FOLDER),
            lambda: _whole(pipelines.find(root, f"{_FOLDER}/artifacts")),
        )

    return judge


def _whole(pipeline: Any) -> None:
    if pipeline is not None:
        _ = pipeline.last.target, pipeline.sources, pipeline.params


def _config(folder: Path) -> Judge:
    from gitreg import dvcsettings
    from gitreg.store import Store, dvcfiles
    from gitreg.store.foreign import lendable

    root = folder
    (root / ".dvc").mkdir()

    def judge(raw: bytes) -> object:
        (root / ".dvc" / "config").write_bytes(raw)
        dvcfiles.config_mistake(raw)
        return _tried(
            lambda: dvcfiles.config_mistakes(root),
            lambda: lendable(root),
            lambda: Store(root, _no_hashes).cache_folder(),
            lambda: dvcsettings.kept_inside(raw),
            lambda: dvcsettings._of_commit(raw),
        )

    return judge


def _no_hashes(file: Path) -> tuple[str, str]:
    return "", ""


def _folder_object(folder: Path) -> Judge:
    """The list of files of a folder, which DVC's cache and remotes keep as JSON."""
    import hashlib

    from gitreg.folders import digests
    from gitreg.store import Store
    from gitreg.store.pointers import Tracked

    store = Store(folder, digests)
    (folder / ".dvc").mkdir()

    def judge(raw: bytes) -> object:
        md5 = f"{hashlib.md5(raw, usedforsecurity=False).hexdigest()}.dir"
        place = store.object_path(md5)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(raw)
        try:
            store.missing(Tracked("a", "a.dvc", md5, 1))
        finally:
            place.unlink()
        return True

    return judge


_ENTRIES = (
    b'[{"md5": "0123456789abcdef0123456789abcdef", "relpath": "a/b.txt"}, {"md5": "0", "relpath": "../x"}]'
)


def _pairs() -> st.SearchStrategy[Any]:
    files = mutations.of_yaml([seeds.PIPELINE]), mutations.of_yaml([seeds.LOCK])
    same = st.just(seeds.PIPELINE), st.just(seeds.LOCK)
    return st.one_of(st.tuples(files[0], same[1]), st.tuples(same[0], files[1]), st.tuples(*files))


_POINTERS = [seeds.ADDED, seeds.IMPORTED, *seeds.good("models/*/*.dvc")]

TARGETS = [
    Target("dvc-pointer", lambda: mutations.of_yaml(_POINTERS), _pointer),
    Target("dvc-pipeline", _pairs, _pipeline),
    Target(
        "dvc-config",
        lambda: mutations.of_bytes([seeds.CONFIG], [b"[[", b"]]", b"'''", b'"""', b"%("]),
        _config,
    ),
    Target("dvc-folder", lambda: mutations.of_json([_ENTRIES]), _folder_object),
]
