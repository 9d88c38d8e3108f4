"""Data files that a manifest names: samples, metrics and params, requirements; and tables of held-out data."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gitreg.errors import GitregError
from tests.fuzz import mutations
from tests.fuzz.harness import Judge, Target
from tests.fuzz.targets import seeds


def schema_of_all() -> Any:
    from gitreg.model import DataType, ModelSchema, ModelSchemaItem

    inputs = [
        ModelSchemaItem("x", DataType.FLOAT, [2]),
        ModelSchemaItem("n", DataType.INT, [-1], True),
        ModelSchemaItem("s", DataType.STRING, [1], True),
        ModelSchemaItem("b", DataType.BOOLEAN, [1], True),
        ModelSchemaItem("d", DataType.DOUBLE, [2, -1], True),
        ModelSchemaItem("c", DataType.BYTE, [1], True),
    ]
    return ModelSchema(inputs, [ModelSchemaItem("y", DataType.LONG, [1])])


def _samples(folder: Path) -> Judge:
    """Samples, as `check` reads them, and as `new` takes a schema from them."""
    from gitreg.datafiles import plain_samples, read_samples
    from gitreg.schema import infer_schema, sample_mistakes
    from gitreg.site.extras import _read

    schema = schema_of_all()

    def judge(pair: tuple[str, bytes]) -> object:
        name, raw = pair
        file = folder / name
        file.write_bytes(raw)
        _read(name, len(raw), raw)
        samples, problems = read_samples(file, name, schema, False)
        _ = [str(problem) for problem in problems]
        if not problems:
            for sample in samples:
                sample_mistakes(schema, sample, False)
        read_samples(file, name, schema, True)
        infer_schema(plain_samples(file, name))
        return not problems

    return judge


_JSON = [
    b'[{"x": [1, 2.5], "n": [1, 2, 3], "s": ["a"], "b": [true]}, {"x": [0, 0], "d": [[1.5], [2.5]], "c": [7]}]',
    b'{"x": [1e3, NaN], "s": ["\\u00e9"]}',
    b'[{"x": [[1, 2], [3, 4]]}]',
]


def _texts() -> st.SearchStrategy[Any]:
    yaml = mutations.of_yaml([*seeds.good("models/**/samples.yaml"), *_JSON[::2]])
    return st.one_of(
        st.tuples(st.just("samples.json"), mutations.of_json(_JSON)), st.tuples(st.just("samples.yaml"), yaml)
    )


def archives() -> list[bytes]:
    import numpy as np

    found = []
    for how in (np.savez, np.savez_compressed):
        for arrays in (
            {"x": np.zeros((2, 2), np.float32), "n": np.ones((2, 3), np.int32)},
            {"x": np.zeros((1, 2), np.float32, order="F"), "s": np.array([["a"]]), "b": np.array([[True]])},
            {"x": np.zeros((0, 2), np.float64), "o": np.array([b"x"]), "d": np.zeros((), np.int8)},
        ):
            stream = io.BytesIO()
            how(stream, **arrays)  # type: ignore[operator]
            found.append(stream.getvalue())
    return found


def _npz() -> st.SearchStrategy[bytes]:
    """Archives that are mutated as a whole, or of whose arrays the bytes are."""
    import numpy as np

    arrays = []
    for one in (
        np.zeros((2, 2), np.float32),
        np.array(["a", "b"]),
        np.zeros(3, "datetime64[s]"),
        np.zeros(2, "i4,f8"),
    ):
        stream = io.BytesIO()
        np.save(stream, one)
        arrays.append(stream.getvalue())
    words = [
        b"'descr'",
        b"'|O'",
        b"'<f4'",
        b"(2, 2)",
        b"(-1,)",
        b"(99999999999,)",
        b"(1" * 300,
        b"True",
        b"\x93NUMPY\x03\x00",
    ]
    members = mutations.of_bytes(arrays, words)
    names = st.sampled_from(["x.npy", "n.npy", "s.npy", "x", ".npy", "../x.npy", "x.npy.npy"])
    packed = st.lists(st.tuples(names, members, st.booleans()), min_size=1, max_size=3).map(_packed)
    return st.one_of(mutations.of_bytes(archives()), packed)


def _packed(members: list[tuple[str, bytes, bool]]) -> bytes:
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for name, data, small in members:
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED)
    return stream.getvalue()


# Metrics and params ------------------------------------------------------------------------------


def _metrics(folder: Path) -> Judge:
    """Metrics and params: read from disk and from commits, judged by gates, compared, and written."""
    from datetime import datetime, timezone

    from gitreg import contents, datafiles, edits, metricsfile
    from gitreg.comparison import _equal, _rows
    from gitreg.gates import Candidate, Promotion
    from gitreg.gates import judge as gated

    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    gates = [
        {"metric": name, "min": 0.9, "max": 1, "max_drop": 0.01} for name in ("accuracy", "test.auc", "n")
    ]

    def one(values: Any) -> Candidate:
        return Candidate("adder", "1.0.0", values, None, None, lambda: None)

    def judge(pair: tuple[str, bytes]) -> object:
        name, raw = pair
        (folder / name).write_bytes(raw)
        flat = contents._values(raw, name)
        _rows([flat, {"accuracy": 0.5, "n": 10**63}])
        for old in flat.values():
            _equal(old, 0.5)
        text = raw.decode("utf-8", "surrogateescape")
        changes: dict[tuple[str, ...], float] = {("accuracy",): 0.5, ("test", "auc"): 1.0}
        datafiles.values_or_none(folder, name)
        if not name.endswith(".toml"):
            with suppress(GitregError):
                edits.set_fields(text, name, changes)
        values = datafiles.read_values(folder / name, name, folder, finite=True)
        if name.endswith(".toml"):
            with suppress(GitregError):
                metricsfile._toml(text, changes)
        datafiles.flat(values)
        promotion = Promotion("production", now, one(values), one(flat), False, (), ())
        gated({"gates": gates}, promotion)
        gated({"gates": gates}, Promotion("production", now, one(flat), one(values), False, (), ()))
        return True

    return judge


_METRICS = {
    "metrics.json": b'{"accuracy": 0.93, "n": 12, "test": {"auc": 1e-3, "deep": {"a": null}}, "list": [1, 2]}',
    "metrics.yaml": b"accuracy: 0.93\nn: 12\ntest:\n  auc: 1e-3\n  deep: {a: ~}\nlist: [1, 2]\n",
    "metrics.toml": b'accuracy = 0.93\nn = 12\nwhen = 2026-01-01T00:00:00Z\n[test]\nauc = 1e-3\ndeep = {a = "x"}\n[[list]]\na = 1\n',
}


def _measures() -> st.SearchStrategy[Any]:
    of = {
        "metrics.json": mutations.of_json([_METRICS["metrics.json"]], [b"1" * 65, b"1e308", b"Infinity"]),
        "metrics.yaml": mutations.of_yaml([_METRICS["metrics.yaml"]], [b".inf", b"0o7", b"1_0"]),
        "metrics.toml": mutations.of_bytes(
            [_METRICS["metrics.toml"]], [b"[a.b]\n", b"[[a]]\n", b"inf", b"'''", b"a.b = 1\n", b" = "]
        ),
    }
    return st.one_of([st.tuples(st.just(name), inputs) for name, inputs in of.items()])


# Requirements ------------------------------------------------------------------------------------

_LINES = (
    "numpy>=1.24\n# why\ntorch==2.2.0+cpu ; python_version < '3.13'  # note\nscikit-learn[extra]~=1.4\n",
    "a==1.0 --hash=sha256:00 \\\n  --hash=sha256:11\n",
    "b @ https://example.org/b-1.0-py3-none-any.whl\nc @ git+https://example.org/c.git@v1\n",
    "-r other.txt\n--index-url https://x\ngitreg\n./local\n${HOME}\n",
)


def _requirements(folder: Path) -> Judge:
    from gitreg import contents, datafiles, mlmodel, provenance, requirements

    file = folder / "requirements.txt"

    def judge(raw: bytes) -> object:
        file.write_bytes(raw)
        contents._lines(raw, file.name)
        text = raw.decode("utf-8", "replace")
        lines = mlmodel.requirements(text)[0]
        mlmodel.pins(lines)
        list(provenance.requirements(text.splitlines()))
        read = datafiles.read_text(file, file.name).splitlines()
        wrong = list(requirements.mistakes(read))
        for one in requirements.parsed(read):
            _ = one.line, one.is_code
        if not wrong:
            again = [one.line for one in requirements.parsed(read)]
            assert not list(requirements.mistakes(again)), "a requirement is not what it was, written again"
        return not wrong

    return judge


TARGETS = [
    Target("samples", _texts, _samples),
    Target("samples-npz", lambda: st.tuples(st.just("samples.npz"), _npz()), _samples),
    Target("metrics", _measures, _metrics),
    Target(
        "requirements",
        lambda: mutations.of_bytes(
            [one.encode() for one in _LINES], [b"; ", b" @ ", b"file:///x", b"[x]", b"==*", b"~="]
        ),
        _requirements,
    ),
]
