"""Adds a model to a registry (`new`), which `starter.init` made. Never overwrites a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import doors, flavors, folders, formats, inference, origins, provenance, safewrite, versions
from gitreg.declared import CUSTOM_PYTHON
from gitreg.errors import InvalidFiles, Refused, Usage
from gitreg.manifest import read_manifest
from gitreg.names import mapped
from gitreg.origins.desk import Brought, Desk, absolute
from gitreg.origins.image import pinned
from gitreg.packages import yaml_bytes
from gitreg.registry import Registry
from gitreg.starter import init, template, yaml_word

if TYPE_CHECKING:
    from gitreg.model import ModelSchema

__all__ = ["Added", "NewModel", "init", "new"]


@dataclass
class NewModel:
    """What `new` is asked for, beyond the name and the source.

    Attributes:
        type: the manifest's type; by default what the source's content says.
        model_class: dotted path of the user's class.
        code: its import root; copied to `src` when it lies outside of the model's folder.
        samples: a file of sample data; the schema is inferred from it.
        version: None for the first one of the registry's scheme.
        title: the name people say, where it is no valid one.
        options, trust: for the loader of the type.
        image: the container image that it is served in; without an artifact, that it is.
        lineage: where it comes from, when that is known, and not to be looked for.
        template, given: the template that it is made from, and the values for its placeholders.
        told: is told how many bytes of how many have been brought from elsewhere.
        imported: whether the artifact of another registry is brought, or only named.
    """

    type: str | None = None
    model_class: str | None = None
    code: Path | None = None
    samples: Path | None = None
    requirements: tuple[str, ...] = ()
    description: str = ""
    version: str | None = None
    title: str | None = None
    custom_batching: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    trust: tuple[str, ...] = ()
    image: str | None = None
    template: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    told: Callable[[int, int], None] | None = None
    imported: bool = True
    lineage: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Added:
    """A model that was added.

    Attributes:
        format: what its artifact is; None without one.
        todo: what is left for its author, one line each.
    """

    folder: str
    type: str
    format: formats.Format | None
    made: list[str]
    schema: ModelSchema | None
    todo: list[str]


def new(registry: Registry, name: str, origin: str | None, asked: NewModel) -> Added:
    """Add a model: bring its artifact from where it is, infer its schema, write its manifest.

    Args:
        origin: where its artifact comes from; see `origins`. None where the template or the image is all.

    Raises:
        Refused: the name is taken or invalid, or there is nothing at `origin`. What was made until
            then is removed again.
        Outside: what is needed from elsewhere cannot be had.
    """
    name, title = mapped(name)
    folder = registry.root / "models" / name
    relative = folder.relative_to(registry.root).as_posix()
    taken = [m.file for m in registry.manifests() if m.name == name]
    if taken or (folder / "model.yaml").exists():
        raise Refused(
            f"there is a model '{name}' already: {(taken or [f'{relative}/model.yaml'])[0]}",
            "choose another name",
        )
    # Before anything is brought, which may take long: what is written at the end.
    safewrite.refuse_links(registry.root, folder / "model.yaml", folder / ".gitignore", doors.FILE)
    registry.store.refuse_links()
    asked = replace(asked, title=title)
    desk = Desk(
        registry,
        name,
        folder,
        asked.given,
        sourced=origin is not None,
        told=asked.told,
        imported=asked.imported,
    )
    with folders.disk(folder), desk.making():
        return _Adder(desk, asked).add(origin)


class _Adder:
    def __init__(self, desk: Desk, asked: NewModel) -> None:
        self.desk, self.asked = desk, asked
        self.registry, self.name, self.folder = desk.registry, desk.name, desk.folder
        self.todo: list[str] = []

    def add(self, origin: str | None) -> Added:
        brought = self.bring(origin)
        own = brought.fields.get("type") or (brought.format or formats.UNKNOWN).type
        kind = self.asked.type or (CUSTOM_PYTHON if self.asked.model_class else own)
        samples = self.samples(kind, brought)
        code, model_class = self.code(kind, brought)
        if brought.track and brought.place:
            self.desk.track(brought.place)
        learnt = self.learn(kind, brought, code, model_class, samples)
        manifest = self.manifest(kind, brought, code, model_class, samples, learnt)
        lineage = provenance.merged(
            self.trace(brought, manifest.get("requirements")), manifest.get("lineage", {})
        )
        self.write(_in_order({**manifest, "lineage": lineage or None}))
        if brought.place:
            self.doors(brought.place)
        return Added(
            self.folder.relative_to(self.registry.root).as_posix(),
            kind,
            brought.format,
            [p.relative_to(self.registry.root).as_posix() for p in self.desk.made],
            learnt.schema,
            self.todo + brought.todo,
        )

    def bring(self, origin: str | None) -> Brought:
        """What the source brings; on top of a template what the template says."""
        fields: dict[str, Any] = {}
        brought = Brought()
        if self.asked.template:
            brought = origins.kind_of(f"template:{self.asked.template}").bring(
                self.desk, f"template:{self.asked.template}"
            )
            fields = brought.fields
        elif self.asked.given:
            raise Usage("--set and --set-file fill the placeholders of a template", "--template NAME")
        if origin is not None:
            brought = origins.kind_of(origin).bring(self.desk, origin)
        if self.asked.image:
            fields = {**fields, "image": pinned(self.asked.image)}
            if origin is None and not self.asked.template:
                fields["type"] = "image"
        brought.fields = {**brought.fields, **fields}
        return brought

    def samples(self, kind: str, brought: Brought) -> Path | None:
        """The file of samples: the one that was named, or what the source itself knows."""
        if self.asked.samples:
            return self.desk.take(absolute(self.asked.samples), f"samples{self.asked.samples.suffix}")
        if not brought.samples or brought.format is None or kind != brought.format.type:
            return None
        place = self.desk.free("samples.json")
        safewrite.create(self.registry.root, place, (json.dumps(brought.samples) + "\n").encode())
        return place

    def doors(self, artifact: Path) -> None:
        """Tell DVC of the model, so that `dvc artifacts get` finds it."""
        root = self.registry.root
        text = doors.fixed(root, {self.name: artifact.relative_to(root).as_posix()})
        if text is not None:
            safewrite.replace(root, doors.FILE, text.encode("utf-8", "surrogateescape"))
            self.todo.append(f"commit {doors.FILE} too: it tells DVC of {self.name}")

    def write(self, manifest: dict[str, Any]) -> None:
        """Write model.yaml, a field a line.

        Raises:
            InvalidFiles: what was asked for is not valid in a manifest.
        """
        file = self.folder / "model.yaml"
        self.desk.note(file)
        head = "# yaml-language-server: $schema=../../schemas/model.schema.json\n"
        fields = b"".join(_field(key, value) for key, value in manifest.items())
        safewrite.create(self.registry.root, file, head.encode() + fields)
        problems = read_manifest(self.registry.root, file.relative_to(self.registry.root).as_posix()).problems
        if problems:
            raise InvalidFiles(problems, "nothing was made")

    def code(self, kind: str, brought: Brought) -> tuple[Path | None, str | None]:
        """The import root and the class; a first draft of both where the author has none yet."""
        flavor = flavors.FLAVORS.get(kind)
        takes = kind == CUSTOM_PYTHON or bool(flavor and flavor.takes_class and self.asked.model_class)
        if not takes or ("model_class" in brought.fields and not self.asked.model_class):
            return None, None
        if self.asked.model_class:
            root = absolute(self.asked.code) if self.asked.code else self.folder
            if self.asked.code and not root.is_relative_to(self.registry.root):
                samples = [absolute(self.asked.samples)] if self.asked.samples else []
                root = self.desk.take(root, "src", [*brought.taken, *samples])
            return root, self.asked.model_class
        cls = "".join(part.capitalize() for part in self.name.split("-"))
        module = f"{self.name.replace('-', '_')}_model"
        root, file = self.folder / "src", self.folder / "src" / f"{module}.py"
        if file.exists():
            raise Refused(f"{file} exists already", f"--class {module}.YourClass --code {root} uses it")
        self.desk.note(file if root.exists() else root)
        place = brought.place
        what = f"the file `{place.name}`" if place and place.is_file() else "the folder of the artifact"
        text = template("model_class.py.txt").format(title=cls, cls=cls, what=what)
        safewrite.create(self.registry.root, file, text.encode())
        self.todo.append(f"write save, load and predict in {file.relative_to(self.registry.root).as_posix()}")
        return root, f"{module}.{cls}"

    def learn(
        self, kind: str, brought: Brought, code: Path | None, model_class: str | None, samples: Path | None
    ) -> inference.Found:
        """The schema, and what else the artifact and its samples tell."""
        asked = self.asked
        if samples is None and (brought.artifact is None or "schema" in brought.fields):
            return inference.Found()
        own, listed = asked.model_class is not None, brought.fields.get("requirements")
        unknown = inference.Unknown(
            self.name,
            kind,
            brought.bytes,
            brought.place,
            code,
            model_class,
            samples,
            asked.custom_batching,
            own,
            asked.options,
            asked.trust,
            asked.requirements or tuple(listed if isinstance(listed, list) else ()),
        )
        learnt = inference.infer(self.registry, unknown)
        self.todo += learnt.todo
        return learnt

    def manifest(
        self,
        kind: str,
        brought: Brought,
        code: Path | None,
        model_class: str | None,
        samples: Path | None,
        learnt: inference.Found,
    ) -> dict[str, Any]:
        """What model.yaml says: what was asked for, what the source knows, what is left to its author."""
        asked, data = self.asked, {**brought.fields, "name": self.name, "type": kind}
        first = None if brought.follows else data.get("version") or versions.first(self.registry.file.scheme)
        data["version"] = asked.version or first
        data["title"] = asked.title or data.get("title")
        data["description"] = asked.description or data.get("description")
        if not data["description"]:
            data["description"] = f"Say in a sentence what {self.name} predicts."
            self.todo.append("describe the model in model.yaml")
        if model_class:
            data |= {"model_class": model_class, "code": self.desk.below(code) if code else "."}
        data["artifact"] = data.get("artifact") if brought.artifact is None else brought.artifact
        options = {**asked.options, **learnt.options}
        data |= {"options": options} if options else {}
        data |= {"trust": asked.trust[0]} if asked.trust else {}
        flavored = kind in flavors.FLAVORS
        if learnt.schema is not None or ((model_class or flavored) and "schema" not in data):
            data["schema"] = _schema_data(learnt.schema)
        if samples is not None:
            data["sample_data"] = self.desk.below(samples)
        if asked.requirements:
            data["requirements"] = list(asked.requirements)
        elif (model_class or learnt.requirements) and "requirements" not in data:
            data["requirements"] = learnt.requirements or ["numpy>=1.24"]
        if flavored and not learnt.batched:
            data["batching"] = {"max_batch_size": 0}
        if asked.custom_batching:
            data["batching"] = {"custom": True}
        return data

    def trace(self, brought: Brought, requirements: Any) -> dict[str, Any]:
        """Where the model came from, as far as it can be known."""
        if self.asked.lineage:
            return dict(self.asked.lineage)
        outside = [*brought.taken, *([brought.place] if brought.place else [])]
        if not outside:
            return {}
        code = absolute(self.asked.code) if self.asked.code else None
        training = code if code and not code.is_relative_to(self.registry.root) else None
        lines = tuple(requirements) if isinstance(requirements, list) else ()
        traced = provenance.trace(
            self.registry.root, provenance.Origin(outside[0], training, (), lines, brought.made_elsewhere)
        )
        return provenance.bring(traced, self.folder, self.desk.take)


# The fields of a manifest, as a reader wants them.
_ORDER = (
    *("name", "title", "version", "description", "owners", "tags", "type", "model_class", "code"),
    *("include_import_prefixes", "artifact", "options", "trust", "backend", "image", "schema"),
    *(
        "sample_data",
        "requirements",
        "batching",
        "triton",
        "params",
        "metrics",
        "serving",
        "lineage",
        "license",
    ),
    *("card", "release"),
)


def _in_order(data: dict[str, Any]) -> dict[str, Any]:
    order = {key: i for i, key in enumerate(_ORDER)}
    return {key: data[key] for key in sorted(data, key=lambda key: order[key]) if data[key] is not None}


def _field(key: str, value: Any) -> bytes:
    """One field of a manifest; YAML would put a mapping of plain values on one line."""
    if isinstance(value, (dict, list)):
        return yaml_bytes({key: value})
    return f"{key}: {yaml_word(value)}\n".encode()


def _schema_data(schema: ModelSchema | None) -> dict[str, Any]:
    placeholder = [{"name": "x", "data_type": "float", "shape": [1]}]

    def items(side: Sequence[Any]) -> list[dict[str, Any]]:
        return [
            {
                "name": i.name,
                "data_type": i.data_type.value,
                "shape": list(i.shape),
                **({"optional": True} if i.optional else {}),
            }
            for i in side
        ]

    inputs = items(schema.input_schema) if schema else placeholder
    outputs = (
        items(schema.output_schema) if schema and schema.output_schema else [{**placeholder[0], "name": "y"}]
    )
    return {"inputs": inputs, "outputs": outputs}
