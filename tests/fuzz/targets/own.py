"""The files and words of gitreg's own: manifests, registry.yaml, stage files, tags, references, filters."""

from __future__ import annotations

import re
import subprocess
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gitreg.errors import GitregError, InvalidFiles, Outside
from tests.fuzz import mutations
from tests.fuzz.harness import Judge, Target
from tests.fuzz.targets import seeds


def _manifest(folder: Path) -> Judge:
    from gitreg import edits, fragment
    from gitreg.contents import _part
    from gitreg.manifest import judged, manifest_of, places
    from gitreg.sections import Sections

    file = "models/adder/model.yaml"
    (folder / "models" / "adder").mkdir(parents=True)

    def judge(raw: bytes) -> object:
        document, problems = judged(raw, file, "model")
        places(document)
        read = manifest_of(document, problems, folder)
        _ = read.named, [str(problem) for problem in read.problems]
        if read.manifest is not None:
            fragment.judge(folder, read.manifest, document)
        quick = Sections(_part).read(raw)
        if quick and quick[1]:
            assert quick[0] == document.data, "two readings of one manifest"
        with suppress(GitregError):
            edits.set_version(raw.decode("utf-8", "surrogateescape"), file, "1.2.3")
        return read.manifest is not None

    return judge


def _registry(folder: Path) -> Judge:
    from datetime import datetime, timezone

    from gitreg import gates, neighbours
    from gitreg.comparison import directions
    from gitreg.gates import Candidate, Promotion, Stay
    from gitreg.manifest import judged, registry_of

    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    old = Candidate("adder", "1.0.0", {"accuracy": 0.9, "loss": 1}, None, "onnx", lambda: None)
    new = Candidate("adder", "1.1.0", {"accuracy": 0.95, "loss": 10**63}, None, None, lambda: "no")
    promotion = Promotion("production", now, new, old, False, (Stay("staging", now, None),), ())

    def judge(raw: bytes) -> object:
        neighbours.said(raw, "ml/registry")
        neighbours.prefix_in(raw, "ml/registry")
        file = registry_of(*judged(raw, "registry.yaml", "registry"), "")
        directions(file.stages)
        for policy in file.stages.values():
            gates.describe(policy)
            gates.judge(policy, promotion)
        return True

    return judge


def _stage(folder: Path) -> Judge:
    from gitreg import edits, stagefile
    from gitreg.manifest import judged

    def judge(raw: bytes) -> object:
        quick = stagefile.entries(raw)
        document, problems = judged(raw, "stages/production.yaml", "stage")
        if quick is not None:
            assert not problems, problems
            assert {name: said[0] for name, said in quick.items()} == document.data
        with suppress(GitregError):
            edits.set_entries(raw.decode("utf-8", "surrogateescape"), "stages/production.yaml", _CHANGES)
        return not problems

    return judge


_CHANGES = {"adder": "2.0.0", "churn": None, "zeta": "1.0.0"}
_STAGES = [
    b"adder: 1.0.0\nchurn: 1.2.0-rc.1  # why\n\n# a comment\nzeta: latest\n",
    b'{"adder": "1.0.0", "churn": "latest"}',
    b"adder: '1.0.0'\n",
]


# Tags -------------------------------------------------------------------------------------------

_NAMES = (
    "churn@v1.2.0", "churn#production#4", "churn#production!#5", "churn@v1.2.0!#6", "churn@deprecated#7",
    "ml/registry=churn@v1.0.0-rc.1", "a@v", "churn@1.0.0", "churn@v1.0.0-rc.lock", "v1.0.0",
)  # fmt: skip


def _tag(folder: Path) -> Judge:
    from gitreg.indexer import grouped
    from gitreg.names import parse_tag, prefix_mistake
    from gitreg.tagspace import Space, prefix_of

    spaces = Space(), Space("ml/registry"), Space("ml/registry", "ml/registry")

    def judge(name: str) -> object:
        prefix_of(name)
        prefix_mistake(name)
        for space in spaces:
            found = space.parse(name)
            assert found is None or (str(found) == name and space.concerns(name))
            grouped(b"0123 " + name.encode("utf-8", "surrogateescape") + b"\n", space)
            space.guarded(f"refs/gitreg/models/{name}")
        return parse_tag(name)

    return judge


_HEAD = (
    b"object %s\ntype commit\ntag %n\ntagger Ada <ada@example.org> 1700000000 +0100\n\nRegister churn\n\n"
    b"Gitreg-Digest: sha256:00\nGitreg-Artifact: md5:00\nGitreg-Ordinal: 1\nGitreg-Manifest: models/churn/model.yaml\n",
    b"object %s\ntype commit\ntag %n\ntagger <> 0\n\n",
    b"object %s\ntype commit\ntag %n\n\nno tagger\n",
    b"object %s\ntype commit\ntag churn@v1.0.0\ntagger x <y> 99999999999999999999 +9999\n\n\xff\n",
)  # fmt: skip
_TAGS = 20


def _tag_objects(folder: Path) -> Judge:
    """A repository whose tag objects are as nobody's Git writes them: for every reader, and the page's."""
    from gitreg.catalog import Catalog
    from gitreg.git import refs
    from gitreg.history import by_model

    root = folder / "registry"
    commit = repository(root, {"models/churn/model.yaml": seeds.manifests()[0].replace(b"adder", b"churn")})

    def judge(tags: list[tuple[str, bytes]]) -> object:
        lines = []
        for name, body in tags:
            raw = body.replace(b"%s", commit.encode()).replace(b"%n", name.encode())
            lines.append(f"{write_object(root, b'tag', raw)} refs/tags/{name}\n")
        (root / ".git" / "packed-refs").write_text(
            "".join(sorted(lines, key=lambda line: line.split(" ")[1]))
        )
        reader = Catalog(root)
        versions = reader.versions()
        for one in reader.models():
            reader.history(one.name)
        for version in versions:
            reader.lineage(f"{version.model}@{version.version}")
        with suppress(Outside):
            by_model(*refs.tags(root))
        return bool(versions)

    return judge


def repository(root: Path, files: Mapping[str, bytes]) -> str:
    """A repository with one commit of a registry with some files; the commit's id."""
    root.mkdir(parents=True)
    for name, data in {"registry.yaml": b"registry: fuzzed\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "gc.auto=0"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True)
    return said.stdout.strip()


def write_object(root: Path, kind: bytes, body: bytes) -> str:
    """Write a loose object as it is, whether or not Git would; its id."""
    import hashlib

    raw = kind + b" %d\0" % len(body) + body
    oid = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    file = root / ".git" / "objects" / oid[:2] / oid[2:]
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(zlib.compress(raw, 1))
    return oid


def _some_tags() -> st.SearchStrategy[Any]:
    names = st.sampled_from([name for name in _NAMES if re.fullmatch(r"[\w@#!/=.-]+", name)])
    bodies = mutations.of_bytes(_HEAD, [b"tagger ", b"-1", b"abc", b"Gitreg-Ordinal: ", b"<", b">", b"+0000"])
    pairs = st.tuples(names, bodies)
    return st.lists(pairs, min_size=1, max_size=_TAGS, unique_by=lambda pair: pair[0])


# References, addresses, filters ------------------------------------------------------------------

_REFERENCES = (
    "churn", "churn@1.2.0", "churn@latest", "churn#production", "churn@3", "models:/churn/1.2.0", "models:/churn/3",
    "models:/churn/production", "models:/churn@production", "m_0123456", "v_0123456789", "https://example.org/r.git",
    "git@example.org:r.git#subdirectory=ml/registry", "ssh://git@h:22/r", "file:///a%20b", "s3://bucket/a/b?x=1",
    "remote://here/a", "stage:train:out", "runs:/abc/model", "x@sha256:" + "0" * 64, "Churn_Model",
)  # fmt: skip


def _reference(folder: Path) -> Judge:
    from gitreg import addresses, names, redaction
    from gitreg.origins import kind_of, subscription

    def judge(text: str) -> object:
        addresses.url_mistake(text)
        addresses.registry_mistake(text)
        addresses.is_data(text)
        redaction.cleaned(text)
        redaction.holds_secret(text)
        names.input_name(text)
        names.kebab(text)
        for read in (addresses.address_of, names.mapped, names.parse_uri, kind_of, subscription._parsed):
            with suppress(GitregError):
                found = read(text)
                if isinstance(found, addresses.Address):
                    _ = found.key, found.folder, found.shown
        found = names.parse_reference(text)
        assert names.parse_reference(str(found)) == found
        return True

    return judge


_FILTERS = (
    "metrics.accuracy > 0.9 AND stage = 'production'", "name LIKE 'ch%' OR NOT (owner IN ('a', 'b'))",
    "tags.`a b` != \"x\"", "version >= '1.2.0' AND created < '2026-01-01'", "params.rate IS NOT NULL",
    "deprecated = TRUE", "size <= 1e9", "requirement ILIKE '%numpy%'", "ordinal = 3", "lineage.run.id == 'x'",
)  # fmt: skip
_ROWS: list[dict[str, Any]] = [
    {"name": "churn", "version": "1.2.0", "ordinal": 3, "size": 7, "stage": ["production"], "deprecated": False,
     "created": 1700000000, "metrics.accuracy": 0.95, "tags.a b": "x", "params.rate": 10**63, "owner": ["a"]},
    {"name": "other", "version": "1.0.0-rc.1", "metrics.accuracy": float("nan"), "params.rate": [1, {"a": None}],
     "tags.a b": None, "requirement": [], "created": 0, "size": 1e308},
]  # fmt: skip


def _filter(folder: Path) -> Judge:
    from gitreg import query
    from gitreg.searcher import Asked, _after

    def judge(text: str) -> object:
        with suppress(GitregError):
            query.sorted_rows(_ROWS, query.parse_order(text))
        with suppress(GitregError):
            _after(Asked(token=text or "x"), 2)
        found = query.parse(text)
        for row in _ROWS:
            found.test(row)
        return True

    return judge


def _template(folder: Path) -> Judge:
    from gitreg import patterns
    from gitreg.manifest import drafted, judged, manifest_of

    def judge(pair: tuple[bytes, dict[str, str]]) -> object:
        raw, given = pair
        document, problems = judged(raw, "models/a/model.yaml", "model")
        if problems or document.data.get("type") != "template":
            raise InvalidFiles(problems)
        read = manifest_of(document, problems, folder)
        problems = [*patterns.mistakes(document)]
        if problems or read.manifest is None:
            raise InvalidFiles(problems)
        sketch = patterns.sketch(read.manifest.placeholders, read.manifest.template)
        drafted(folder, patterns.body_of(document, sketch))
        values = patterns.values_of(read.manifest.placeholders, given)
        patterns.filled(read.manifest.template, values)
        return True

    return judge


def _templates() -> st.SearchStrategy[Any]:
    texts = st.sampled_from(
        ["1", "0.5", "eu", "true", "[[[[", "[" * 5000, "1e999", "9" * 500, "NaN", "x", ""]
    )
    given = st.dictionaries(st.sampled_from(["width", "rate", "region", "note", "extra", "live"]), texts)
    return st.tuples(mutations.of_yaml(seeds.good("models/template/model.yaml")), given)


_REGISTRIES = [
    *seeds.good("registry.yaml"),
    b"registry: acme\nmodels: models/*/model.yaml\nstages: {a: , b: {from: [a]}}\n",
]

TARGETS = [
    Target("manifest", lambda: mutations.of_yaml(seeds.manifests()), _manifest),
    Target("registry", lambda: mutations.of_yaml(_REGISTRIES), _registry),
    Target("stage", lambda: mutations.of_yaml(_STAGES, [b"latest", b": ", b" # "]), _stage),
    Target("tag-name", lambda: mutations.of_text(_NAMES), _tag),
    Target("tag-object", _some_tags, _tag_objects, len),
    Target("reference", lambda: mutations.of_text(_REFERENCES), _reference),
    Target("filter", lambda: mutations.of_text(_FILTERS), _filter),
    Target("template", _templates, _template),
]
