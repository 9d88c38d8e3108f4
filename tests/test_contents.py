"""Manifests that are read in parts say just what they say as a whole; and nothing that is wrong gets by."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gitreg.contents import _Reader
from gitreg.manifest import judged, manifest_of

ROOT = Path(__file__).resolve().parent.parent
RICH = b"""\
# yaml-language-server: $schema=../../schemas/model.schema.json

name: churn
version: 1.2.0
description: >
  Probability that a customer
  leaves: within 30 days.
owners: ["@risk-team"]
# what the bill says
tags: {domain: billing,
  tier: gold}
release:
  description: 'it''s
    new'
  tags: {a: 1}
type: custom-python
model_class: churn_model.Churn
code:
- src
- ../shared
artifact: artifacts
schema:
  inputs:
    - {name: x, data_type: float, shape: [4]}
    - {name: y, data_type: int, shape: [1], optional: true}
  outputs:
    - {name: p, data_type: float, shape: [1]}
sample_data: samples.json
requirements:
- numpy>=1.24
- "scipy"
batching: {custom: false, max_batch_size: 256}
params: {rate: 0.1, deep: {er: [1, 2]}, flag: yes, word: "a: b"}
metrics: &m {auc: 0.9}
lineage:
  code: {repo: "https://x/..", commit: 0f3c1d2}
  environment: {dockerfile: Dockerfile}
license: Apache-2.0
card: README.md
"""
MANIFESTS = [
    RICH,
    "# Für die Rechnung\n---\n".encode() + RICH,
    *(file.read_bytes() for file in sorted(ROOT.glob("models/*/model.yaml"))),
]
MANIFESTS += [file.read_bytes() for file in sorted(ROOT.glob("tests/samples/**/model.yaml"))]
# What somebody could write into a manifest so that a part of it reads otherwise than the whole.
LINES = [
    b"---", b"...", b"%YAML 1.2", b"- item", b"#", b"", b"}", b"]", b"'", b'"', b"|", b"  x: 1", b"\tx: 1", b"name: other",
    b"<<: {a: 1}", b"? x", b": y", b"metrics: *m", b"metrics: &m {a: 1}", b"a b: 1", b"description: |", b"description: 'a",
    b'license: "a', b"tags: {", b"x" * 50, b"name : x", b'"name": x', b"name:", b"name:\tx", b"- ", b"-x: 1", b"<<<<<<< HEAD",
    b"type: onnx", b"artifact: ../../../etc", b"artifact: {path: a, url: b}", b"code: .git", b"!tag: x", b"\xef\xbb\xbfname: x",
    b"\xff", b"card: /etc/passwd", b"\r", b"version: 1", b"schema: {inputs: [], outputs: []}", b"null: 1", b"owners: x",
]  # fmt: skip


def mutated(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.split(b"\n")
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines) + 1)
        deed = chance.random()
        if deed < 0.5:
            lines.insert(at, chance.choice(LINES))
        elif deed < 0.65 and at < len(lines):
            del lines[at]
        elif deed < 0.8 and at < len(lines):
            lines.insert(chance.randrange(len(lines)), lines[at])
        elif at < len(lines):
            line = bytearray(lines[at])
            line.insert(chance.randint(0, len(line)), chance.choice(b" \t{}[]'\":#&*-?|>%@`,\r\x85"))
            lines[at] = bytes(line)
    return b"\n".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_parts_say_what_the_whole_says(seed: int) -> None:
    chance = random.Random(seed)
    reader = _Reader(ROOT, "", False)
    quick = 0
    for _ in range(700):
        raw = mutated(chance.choice(MANIFESTS), chance)
        document, problems = judged(raw, "models/a/model.yaml", "model")
        if not problems:
            problems = manifest_of(document, [], None).problems
        data = document.data if isinstance(document.data, dict) else {}
        said, told = reader._data(raw, "models/a/model.yaml")
        assert bool(told) is bool(problems), (raw, problems, told)
        assert said == data and list(said) == list(data), raw
        parts = reader.sections.read(raw)
        quick += parts is not None
        if parts is not None:
            assert parts[0] == data, raw
    assert quick > 60


def test_most_manifests_are_read_in_parts() -> None:
    reader = _Reader(ROOT, "", False)
    found = [reader.sections.read(raw) for raw in MANIFESTS]
    assert found[0] and found[0][1] is False  # `../shared` asks for a whole reading
    assert sum(one is not None for one in found) > len(found) / 2
