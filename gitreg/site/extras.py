"""What pages show beside what the index has: model cards and samples, from the versions' own commits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitreg import documents
from gitreg.catalog import Catalog
from gitreg.catalogued import ModelVersion
from gitreg.declared import RegistryFile
from gitreg.errors import InvalidFiles
from gitreg.git import plain
from gitreg.git.clones import obtain
from gitreg.manifest import REGISTRY_FILE, judged, registry_of
from gitreg.site.texts import text

_MOST_BYTES = 256 << 10
_SHOWN, _MOST_FIELDS, _MOST_CHARACTERS = 3, 20, 300


@dataclass(frozen=True)
class Asked:
    """A version's samples.

    Attributes:
        shown: {"file", "count", "rows"}: of the first ones, (input, value as text) each; or "why" there
            are none. Empty where the manifest names none.
        first: the first one as it is.
    """

    shown: Mapping[str, Any] = field(default_factory=dict)
    first: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Samples:
    """Samples of versions, by the ids of their tags."""

    found: Mapping[str, Asked] = field(default_factory=dict)

    def of(self, one: ModelVersion) -> Asked:
        """Those of a version; none where it has none."""
        return self.found.get(one.id, Asked())


class Extras:
    """Reads files of the commits that versions are tagged at.

    Args:
        catalog: of the registry.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._parsed: dict[tuple[str, str], Asked] = {}

    def registry(self) -> RegistryFile | None:
        """registry.yaml as it lies here, else as HEAD has it; None where it is broken, or there is none."""
        place, file = self.catalog.place, self.catalog.root / REGISTRY_FILE
        if file.is_file():
            raw: bytes | None = file.read_bytes()
        else:
            found = next(plain.objects(self.catalog.root, [f"HEAD:{place.prefix}{REGISTRY_FILE}"]))
            raw = found.data if found else None
        try:
            return registry_of(*judged(raw or b"", REGISTRY_FILE, "registry"))
        except InvalidFiles:
            return None

    def samples(self, versions: Sequence[ModelVersion]) -> Samples:
        """The first samples of versions."""
        files = [(one, str(one.content["sample_data_file"])) for one in versions if _names_samples(one)]
        blobs = self._blobs([(one.commit, file) for one, file in files], {k for k, _ in self._parsed})
        found: dict[str, Asked] = {}
        for one, file in files:
            oid, size, raw = blobs.get((one.commit, file), ("", 0, None))
            if (oid, file) not in self._parsed:
                self._parsed[oid, file] = _asked(file, size, raw)
            found[one.id] = self._parsed[oid, file]
        return Samples(found)

    def card(self, one: ModelVersion) -> str | None:
        """The model card's Markdown; None where there is none."""
        if not one.card:
            return None
        raw = self._blobs([(one.commit, one.card)], set()).get((one.commit, one.card), ("", 0, None))[2]
        return raw.decode("utf-8", "replace") if raw is not None else None

    def cards(self, versions: Sequence[ModelVersion]) -> dict[str, str]:
        """Model cards by versions' ids."""
        asked = [(one, one.card) for one in versions if one.card]
        blobs = self._blobs([(one.commit, card) for one, card in asked], set())
        found = {}
        for one, card in asked:
            raw = blobs.get((one.commit, card), ("", 0, None))[2]
            if raw is not None:
                found[one.id] = raw.decode("utf-8", "replace")
        return found

    def _blobs(
        self, asked: Sequence[tuple[str, str]], known: set[str]
    ) -> dict[tuple[str, str], tuple[str, int, bytes | None]]:
        """(commit, path) -> id, bytes, content; no content of a large one, or of one that is known."""
        if not asked:
            return {}
        place, root = self.catalog.place, self.catalog.root
        pairs = list(dict.fromkeys(asked))
        if self.catalog.bare:
            paths = [(commit, f"{place.prefix}{path}") for commit, path in pairs]
            obtain(root, plain.blobs(root, paths), {commit for commit, _ in pairs})
        names = [f"{commit}:{place.prefix}{path}" for commit, path in pairs]
        sizes = {pair: said for pair, said in zip(pairs, plain.sizes(root, names), strict=True) if said}
        new = sorted({oid for oid, size in sizes.values() if size <= _MOST_BYTES and oid not in known})
        read = {said.oid: said.data for said in plain.objects(root, new) if said} if new else {}
        return {pair: (oid, size, read.get(oid)) for pair, (oid, size) in sizes.items()}


def _names_samples(one: ModelVersion) -> bool:
    return isinstance(one.content.get("sample_data_file"), str)


def _asked(file: str, size: int, raw: bytes | None) -> Asked:
    try:
        return _read(file, size, raw)
    except RecursionError:
        return Asked({"file": text(file), "why": "nested too deep"})


def _read(file: str, size: int, raw: bytes | None) -> Asked:
    shown: dict[str, Any] = {"file": text(file)}
    if raw is None:
        return Asked({**shown, "why": f"{size:,} bytes" if size else "its commit does not have the file"})
    if file.endswith(".npz"):
        return Asked({**shown, "why": f"NumPy arrays, {size:,} bytes"})
    data = _parsed(file, raw)
    samples = [data] if isinstance(data, dict) else data
    if not isinstance(samples, list) or not all(isinstance(one, dict) for one in samples[:_SHOWN]):
        return Asked({**shown, "why": "it cannot be read"})
    rows = [
        [[text(name, 200), text(_short(value), _MOST_CHARACTERS)] for name, value in fields]
        for fields in (list(one.items())[:_MOST_FIELDS] for one in samples[:_SHOWN])
    ]
    return Asked({**shown, "count": len(samples), "rows": rows}, samples[0] if samples else None)


def _parsed(file: str, raw: bytes) -> Any:
    try:
        if file.endswith((".yaml", ".yml")):
            return documents.parse(raw, file)[0].data
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
