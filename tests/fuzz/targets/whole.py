"""Whole registries with one odd file: as `check`, `plan` and the page read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import mutations
from tests.fuzz.harness import Judge, Target
from tests.fuzz.targets import artifacts, seeds
from tests.fuzz.targets.own import repository, write_object
from tests.support import ADDER_CODE

_MANIFEST = b"""name: adder
version: 1.0.0
type: custom-python
model_class: adder_model.Adder
code: src
artifact: artifacts
schema:
  inputs: [{name: x, data_type: int, shape: [2]}]
  outputs: [{name: y, data_type: int, shape: [2]}]
sample_data: samples.json
requirements: requirements.txt
params: params.yaml
metrics: metrics.json
card: README.md
serving: {code: src}
triton: {parameters: {a: {string_value: b}}}
lineage: {data: [{name: d, url: "s3://a/b"}], environment: {conda: conda.yaml}}
"""
_REGISTRY = b"""registry: fuzzed
models: models/*/model.yaml
stages:
  staging: {}
  production: {from: [staging], gates: [{metric: accuracy, min: 0.9, max_drop: 0.01}, {schema: compatible}, {format: [onnx]}]}
require: [lineage.data, metrics.accuracy]
"""
_FILES: Mapping[str, bytes] = {
    "registry.yaml": _REGISTRY,
    "stages/staging.yaml": b"adder: 1.0.0\n",
    "stages/production.yaml": b"adder: 1.0.0\n",
    "models/adder/model.yaml": _MANIFEST,
    "models/adder/artifacts.dvc": seeds.ADDED,
    "models/adder/samples.json": b'[{"x": [1, 2]}]',
    "models/adder/requirements.txt": b"numpy>=1.24\n",
    "models/adder/params.yaml": b"rate: 0.1\n",
    "models/adder/metrics.json": b'{"accuracy": 0.93}',
    "models/adder/README.md": b"# Adder\n\n![x](a.png) <b>x</b> [y](javascript:z)\n",
    "models/adder/conda.yaml": b"dependencies: [python=3.11]\n",
    "models/adder/src/adder_model.py": ADDER_CODE.encode(),
    "models/staged/model.yaml": b"name: staged\nversion: 1.0.0\ntype: onnx\nartifact: {stage: train}\n"
    b"schema: {inputs: [{name: x, data_type: int, shape: [2]}], outputs: [{name: y, data_type: int, shape: [2]}]}\n",
    "dvc.yaml": seeds.PIPELINE,
    "dvc.lock": seeds.LOCK,
    ".dvc/config": b"[core]\n    remote = here\n['remote \"here\"']\n    url = /nowhere\n",
    ".dvcignore": b"# nothing\n",
    ".gitattributes": b"* text=auto\n",
}


def _inputs(*left_out: str) -> st.SearchStrategy[Any]:
    """The name of one of the files, and its content."""

    def of(name: str, raw: bytes) -> st.SearchStrategy[bytes]:
        if name.endswith((".yaml", ".dvc", ".lock")):
            return mutations.of_yaml([raw])
        return mutations.of_json([raw]) if name.endswith(".json") else mutations.of_bytes([raw])

    names = [name for name in _FILES if name not in left_out]
    return st.one_of([st.tuples(st.just(name), of(name, _FILES[name])) for name in names])


def _check(folder: Path) -> Judge:
    from gitreg.registry import Registry

    root = folder / "registry"
    repository(root, _FILES)

    def judge(pair: tuple[str, bytes]) -> object:
        name, raw = pair
        (root / name).write_bytes(raw)
        try:
            registry = Registry(root)
            report = registry.check()
            _ = [str(problem) for problem in report.problems]
            return not report.problems
        finally:
            (root / name).write_bytes(_FILES[name])

    return judge


def _committed(folder: Path) -> Judge:
    """A version with an odd file in its commit, beside one without: for all that read and compare them."""
    from gitreg.catalog import Catalog
    from gitreg.site.extras import Extras
    from gitreg.site.pages import Pages

    root = folder / "registry"
    good = repository(root, _FILES)

    def judge(pair: tuple[str, bytes]) -> object:
        name, raw = pair
        odd = _commit(root, {**_FILES, name: raw}, good)
        refs = {"refs/heads/main": odd}
        for version, commit in (("1.0.0", good), ("1.1.0", odd)):
            for model in ("adder", "staged"):
                tag = f"{model}@v{version}"
                refs[f"refs/tags/{tag}"] = write_object(root, b"tag", _TAG % (commit.encode(), tag.encode()))
        lines = [f"{oid} {ref}\n" for ref, oid in sorted(refs.items())]
        (root / ".git" / "refs" / "heads" / "main").unlink(missing_ok=True)
        (root / ".git" / "packed-refs").write_text("".join(lines))
        catalog = Catalog(root)
        versions = catalog.versions()
        assert len(versions) == 4
        catalog.search("metrics.accuracy > 0.5 AND params.rate != 'x'", "metrics.accuracy DESC, params.rate")
        for model in ("adder", "staged"):
            catalog.compare(f"{model}@1.0.0", f"{model}@1.1.0")
            catalog.diff(f"{model}@1.0.0", f"{model}@1.1.0")
            catalog.lineage(f"{model}@1.1.0")
        extras = Extras(catalog)
        extras.samples(versions)
        extras.cards(versions)
        pages = Pages(catalog)
        list(pages.rows(catalog.models()))
        for model in ("adder", "staged"):
            list(pages.model(model))
        return all(not one.problems for one in versions)

    return judge


_TAG = b"object %s\ntype commit\ntag %s\ntagger Ada <ada@example.org> 1700000000 +0100\n\nRegister\n"
_Tree = dict[str, Any]


def _commit(root: Path, files: Mapping[str, bytes], parent: str) -> str:
    """A commit of some files, written without Git."""
    top: _Tree = {}
    for name, raw in files.items():
        at = top
        *above, last = name.split("/")
        for part in above:
            at = at.setdefault(part, {})
        at[last] = raw
    who = b"Ada <ada@example.org> 1700000000 +0000"
    lines = [
        b"tree " + _tree(root, top).encode(),
        b"parent " + parent.encode(),
        b"author " + who,
        b"committer " + who,
    ]
    return write_object(root, b"commit", b"\n".join(lines) + b"\n\nodd\n")


def _tree(root: Path, inside: _Tree) -> str:
    entries = []
    for name, one in inside.items():
        folder = isinstance(one, dict)
        oid = _tree(root, one) if folder else write_object(root, b"blob", one)
        entries.append(
            (f"{name}/" if folder else name, b"40000" if folder else b"100644", name.encode(), oid)
        )
    return write_object(
        root,
        b"tree",
        b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for _, mode, name, oid in sorted(entries)),
    )


def _sources(folder: Path) -> Judge:
    """`new --from` a folder that others made: an MLflow model, a ModelArts directory; up to what it brings."""
    from gitreg import origins
    from gitreg.origins.desk import Desk
    from gitreg.registry import Registry

    root = folder / "registry"
    repository(root, _FILES)
    for name, files in _ORIGINS.items():
        for file, raw in files.items():
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / file).write_bytes(raw)

    def judge(three: tuple[str, str, bytes]) -> object:
        name, file, raw = three
        place = folder / name / file
        before = place.read_bytes()
        place.write_bytes(raw)
        try:
            desk = Desk(Registry(root), "fresh", root / "models" / "fresh")
            with desk.making():
                found = origins.kind_of(str(folder / name)).bring(desk, str(folder / name))
                _ = found.todo
                raise _Enough
        except _Enough:
            return True
        finally:
            place.write_bytes(before)

    return judge


class _Enough(Exception):
    """Ends what makes a model: nothing of it is to be left."""


_ORIGINS: Mapping[str, Mapping[str, bytes]] = {
    "mlflow": {
        "MLmodel": artifacts.MLMODEL,
        "input_example.json": artifacts.EXAMPLES[0],
        "requirements.txt": b"numpy==1.26\n",
        "conda.yaml": b"name: x\n",
        "model.pkl": b"\x80\x04N.",
    },
    "modelarts": {
        "config.json": artifacts.MODELARTS,
        "customize_service.py": b"x = 1\n",
        "model.onnx": b"\x08\x09",
    },
}


def _brought() -> st.SearchStrategy[Any]:
    of = []
    for name, files in _ORIGINS.items():
        for file, raw in files.items():
            json = file.endswith(".json")
            inputs = mutations.of_json([raw]) if json else mutations.of_bytes([raw])
            of.append(
                st.tuples(
                    st.just(name), st.just(file), mutations.of_yaml([raw]) if file == "MLmodel" else inputs
                )
            )
    return st.one_of(of)


TARGETS = [
    Target("check", lambda: _inputs(".gitattributes"), _check),
    Target("committed", lambda: _inputs("registry.yaml", ".gitattributes", ".dvcignore"), _committed),
    Target("sources", _brought, _sources),
]
