"""Models of well-known formats: added, built, verified, and asked, from their raw packages and on Triton."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient import http

from gitreg import Registry, load_raw_model, server, verifier
from gitreg.schema import read_sample, rows
from tests.support import HAS_TRITON_WHEEL, Workshop, make_registry

Answers = dict[str, "np.ndarray[Any, Any]"]


def shop_with(place: Path, models: Mapping[str, Sequence[str | Path]]) -> Workshop:
    """A registry to which models were added by `gitreg new NAME ARGUMENTS`, built into `dist/`."""
    make_registry(place)
    shop = Workshop(place)
    for name, arguments in models.items():
        done = shop.gitreg("new", name, *arguments, "--description", "A test.")
        assert done.returncode == 0, f"{name}: {done.stderr}"
    shop.commit("models")
    done = shop.gitreg("build", *models, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return shop


def declared(shop: Workshop, name: str) -> str:
    """A model's schema in a line."""
    manifest = next(m for m in Registry(shop.root).manifests() if m.name == name)
    assert manifest.schema
    sides = manifest.schema.input_schema, manifest.schema.output_schema
    return " -> ".join(", ".join(f"{i.name} {i.describe()}" for i in side) for side in sides)


def is_verified(shop: Workshop, name: str) -> None:
    """Whether both packages of a model are sound, load, and answer their samples."""
    for kind in ("raw", "triton"):
        found = verifier.verify(shop.root / "dist" / kind / name)
        assert found.loaded and found.problems == [] and found.samples, found


def samples_of(shop: Workshop, name: str) -> list[Answers]:
    """A model's sample data, as its schema reads it."""
    registry = Registry(shop.root)
    manifest = registry.read(registry.manifest_file(name)).manifest
    assert manifest and manifest.schema and manifest.sample_data
    plain = json.loads((shop.root / manifest.sample_data).read_text())
    return [read_sample(manifest.schema, one, False)[0] for one in plain]


def raw_answers(shop: Workshop, name: str) -> list[Answers]:
    """What `load_raw_model` answers to each sample."""
    model = load_raw_model(shop.root / "dist" / "raw" / name)
    return [model.predict(sample) for sample in samples_of(shop, name)]


@contextlib.contextmanager
def triton(shop: Workshop) -> Iterator[Any]:
    """A real server over all Triton packages of a workshop; a client of it."""
    assert HAS_TRITON_WHEEL
    ports = server.free_ports("127.0.0.1", 0, 0, 0)
    log = shop.root.parent / "triton.log"
    with server.serve(server.find(), shop.root / "dist" / "triton", ports, log):
        with http.InferenceServerClient(f"127.0.0.1:{ports.http}", network_timeout=60) as client:
            yield client


def triton_answers(client: Any, shop: Workshop, name: str) -> list[Answers]:
    """What Triton answers to each sample, a request each."""
    registry = Registry(shop.root)
    manifest = registry.read(registry.manifest_file(name)).manifest
    assert manifest and manifest.schema
    found = []
    for sample in samples_of(shop, name):
        sent = rows(manifest.schema, sample, True) if manifest.batching.max_batch_size else sample
        tensors = []
        for item, array in sent.items():
            kind = {"object": "BYTES"}.get(array.dtype.name) or http.np_to_triton_dtype(array.dtype)
            tensors.append(http.InferInput(item, list(array.shape), kind))
            tensors[-1].set_data_from_numpy(array)
        answer = client.infer(name, tensors)
        got = {item.name: answer.as_numpy(item.name) for item in manifest.schema.output_schema}
        found.append({n: a[0] for n, a in got.items()} if manifest.batching.max_batch_size else got)
    return found


def same(one: Sequence[Answers], other: Sequence[Answers]) -> None:
    """Whether two ways to ask gave the same answers."""
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            left, right = (_text(x[name]) for x in (a, b))
            assert left.shape == right.shape, name
            if left.dtype.kind == "f":
                np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
            else:
                assert (left == right).all(), name


def _text(array: Any) -> Any:
    """Strings as bytes, on whichever side they come."""
    if array.dtype.kind != "O":
        return array
    flat = [e.encode() if isinstance(e, str) else e for e in array.ravel().tolist()]
    return np.array(flat, dtype=object).reshape(array.shape)
