"""Seeds: the files of tests/samples, and what the templates of the test-suite make."""

from __future__ import annotations

from pathlib import Path

from tests.support import ADDER_MANIFEST

_SAMPLES = Path(__file__).parents[2] / "samples"


def of_samples(pattern: str) -> list[bytes]:
    """The content of the samples' files that a pattern names, good and bad ones."""
    found = [path.read_bytes() for path in sorted(_SAMPLES.glob(pattern)) if path.is_file()]
    return [raw for raw in found if len(raw) < 20_000]


def good(pattern: str) -> list[bytes]:
    """Those of the good samples."""
    return [path.read_bytes() for path in sorted(_SAMPLES.glob(f"good-*/{pattern}")) if path.is_file()]


def manifests() -> list[bytes]:
    """Good manifests, one for each kind of model."""
    import yaml

    return [yaml.safe_dump(ADDER_MANIFEST, sort_keys=False).encode(), *good("models/**/model.yaml")]


ADDED = b"""outs:
- md5: 0123456789abcdef0123456789abcdef.dir
  size: 12
  nfiles: 2
  hash: md5
  path: artifacts
"""
IMPORTED = b"""frozen: true
wdir: ..
deps:
- path: s3://bucket/artifacts
  etag: abc
  version_id: "7"
outs:
- md5: 0123456789abcdef0123456789abcdef
  remote: here
  path: adder/artifacts
  cache: true
meta:
  import: {repo: {url: "https://example.org/r.git", rev: adder@v1.0.0}, path: x}
desc: an import
"""
PIPELINE = b"""vars: [{a: 1}]
params: [params.yaml]
metrics: [metrics.json]
plots: [{a.csv: {x: a}}]
datasets: [{name: d, type: dvc, url: "https://example.org/r.git", path: p, rev: v1}]
artifacts:
  adder:
    path: models/adder/artifacts
    type: model
stages:
  base: &b
    cmd: cp a b
    outs: [b]
  clean:
    <<: *b
    deps: [data/numbers.csv]
  many:
    foreach: [1, 2]
    do: {cmd: "echo ${item}", wdir: out, outs: ["f${item}"]}
  train:
    cmd: [python train.py, echo done]
    wdir: models/adder
    deps: [../../clean.csv, train.py]
    params: [seed, {params.yaml: [a, b]}]
    outs: [artifacts, {more: {cache: false, persist: true}}]
    metrics: [{metrics.json: {cache: false}}]
    plots: [p.csv]
"""
LOCK = b"""schema: '2.0'
stages:
  clean:
    cmd: cp data/numbers.csv clean.csv
    deps:
    - {path: data/numbers.csv, hash: md5, md5: 0123456789abcdef0123456789abcdef, size: 4}
    outs:
    - {path: clean.csv, hash: md5, md5: 0123456789abcdef0123456789abcdef, size: 4}
  many@1: {cmd: echo 1, outs: [{path: f1, md5: 0123456789abcdef0123456789abcdef}]}
  train:
    cmd: [python train.py, echo done]
    deps:
    - {path: ../../clean.csv, md5: 0123456789abcdef0123456789abcdef}
    params: {params.yaml: {a: 1, b: {c: [1]}}}
    outs:
    - {path: artifacts, hash: md5, md5: 0123456789abcdef0123456789abcdef.dir, size: 1, nfiles: 1, isexec: true}
    - {path: metrics.json, md5: 0123456789abcdef0123456789abcdef, size: 2}
datasets: [{name: d, type: dvc, url: "https://example.org/r.git", path: p, lock: {rev_lock: abc}}]
"""
CONFIG = b"""[core]
    remote = here
    analytics = false
['remote "here"']
    url = ../../remote
['remote "s3"']
    url = s3://bucket/models
    endpointurl = http://localhost:9000
    version_aware = true
[cache]
    dir = ../cache
    type = "reflink,copy"
"""
