"""Adds a model to a registry (`new`), which `starter.init` made. Never overwrites a file."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, detection, doors, folders, formats, source, versions
from gitreg.datafiles import plain_samples
from gitreg.declared import CUSTOM_PYTHON, Batching
from gitreg.errors import GitregError, InvalidFiles, Refused
from gitreg.manifest import contain, read_manifest
from gitreg.model import DataType
from gitreg.names import mapped
from gitreg.packages import Parts, yaml_bytes
from gitreg.registry import Registry
from gitreg.schema import array_of, infer_schema
from gitreg.starter import init, template, yaml_word

if TYPE_CHECKING:
    from gitreg.model import ModelSchema

__all__ = ["Added", "NewModel", "init", "new"]

# In a model's folder while `new` makes it; lists what it has made so far.
_MARKER = ".gitreg-new"


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


@dataclass
class Added:
    """A model that was added.

    Attributes:
        format: what its artifact is.
        todo: what is left for its author, one line each.
    """

    folder: str
    type: str
    format: formats.Format
    made: list[str]
    schema: ModelSchema | None
    todo: list[str]


def new(registry: Registry, name: str, origin: Path, asked: NewModel) -> Added:
    """Add a model: take its artifact, track it with DVC, infer its schema, write its manifest.

    Args:
        origin: a file or folder; it is copied into the model's folder unless it lies there already,
            and is never moved or changed.

    Raises:
        Refused: the name is taken or invalid, or there is nothing at `origin`. What was made until
            then is removed again.
    """
    name, title = mapped(name)
    if not os.path.lexists(origin):
        raise Refused(f"{origin} does not exist")
    folder = registry.root / "models" / name
    relative = folder.relative_to(registry.root).as_posix()
    taken = [m.file for m in registry.models() if m.name == name]
    if taken or (folder / "model.yaml").exists():
        raise Refused(
            f"there is a model '{name}' already: {(taken or [f'{relative}/model.yaml'])[0]}",
            "choose another name",
        )
    version = asked.version or versions.first(registry.file.scheme)
    asked = replace(asked, version=version, title=title)
    return _Adder(registry, name, folder, asked).add(_absolute(origin))


class _Adder:
    def __init__(self, registry: Registry, name: str, folder: Path, asked: NewModel) -> None:
        self.registry, self.name, self.folder, self.asked = registry, name, folder, asked
        self.origin = folder
        self.made: list[Path] = []
        self.todo: list[str] = []

    def add(self, origin: Path) -> Added:
        """Add the model, or leave nothing of it; also when this is killed, once `new` runs again."""
        was_there = self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        marker = self.folder / _MARKER
        try:
            with open(marker, "a+") as self.marker:
                try:
                    fcntl.flock(self.marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise Refused(f"another gitreg new {self.name} is running") from None
                self.sweep()
                try:
                    return self._add(origin)
                except BaseException:
                    self.remove(self.made)
                    raise
                finally:
                    marker.unlink()
        finally:
            if not was_there and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def note(self, path: Path) -> None:
        """Write down that a path is about to be made, so that it can be removed again."""
        self.made.append(path)
        self.marker.write(f"{path.relative_to(self.folder).as_posix()}\n")
        self.marker.flush()

    def sweep(self) -> None:
        """Remove what a killed `new` of this model made, unless it was as good as done."""
        if (self.folder / "model.yaml").exists():
            return
        self.marker.seek(0)
        left = [self.folder / line for line in self.marker.read().splitlines()]
        self.remove([path for path in left if _below(path, [self.folder]) and ".." not in path.parts])
        self.marker.truncate(0)

    @staticmethod
    def remove(paths: Sequence[Path]) -> None:
        """Remove files and folders that this made."""
        for path in reversed(paths):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _add(self, origin: Path) -> Added:
        self.origin = origin
        found = detection.detect(origin)
        kind = self.asked.type or (CUSTOM_PYTHON if self.asked.model_class else found.type)
        artifact = self.take(origin, origin.name if origin.is_file() else "artifacts")
        samples = (
            self.take(_absolute(self.asked.samples), f"samples{self.asked.samples.suffix}")
            if self.asked.samples
            else None
        )
        code, model_class = self.code(kind, artifact)
        self.track(artifact)
        schema = self.infer(samples, artifact, code, model_class)
        manifest = self.manifest(kind, artifact, code, model_class, samples, schema)
        self.write(manifest)
        self.doors(artifact)
        return Added(
            self.folder.relative_to(self.registry.root).as_posix(),
            kind,
            found,
            [p.relative_to(self.registry.root).as_posix() for p in self.made],
            schema,
            self.todo,
        )

    def doors(self, artifact: Path) -> None:
        """Tell DVC of the model, so that `dvc artifacts get` finds it."""
        root = self.registry.root
        text = doors.fixed(root, {self.name: artifact.relative_to(root).as_posix()})
        if text is not None:
            folders.replace(root / doors.FILE, text.encode("utf-8", "surrogateescape"))
            self.todo.append(f"commit {doors.FILE} too: it tells DVC of {self.name}")

    def write(self, manifest: dict[str, Any]) -> None:
        """Write model.yaml, a field a line.

        Raises:
            InvalidFiles: what was asked for is not valid in a manifest.
        """
        file = self.folder / "model.yaml"
        self.note(file)
        head = "# yaml-language-server: $schema=../../schemas/model.schema.json\n"
        file.write_bytes(head.encode() + b"".join(_field(key, value) for key, value in manifest.items()))
        problems = read_manifest(self.registry.root, file.relative_to(self.registry.root).as_posix()).problems
        if problems:
            raise InvalidFiles(problems, "nothing was made")

    def take(self, origin: Path, name: str, but: Sequence[Path] = ()) -> Path:
        """Bring a file or folder into the model's folder, without the files that come on their own."""
        if origin.is_relative_to(self.folder):
            refused = contain(self.registry.root, "", origin.relative_to(self.registry.root).as_posix())[1]
            if refused:
                raise Refused(refused)
            return origin
        target = self.folder / name
        if os.path.lexists(target):
            raise Refused(f"{target} exists already", "move it away, or name it as the source")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.note(target)
        if origin.is_dir():
            files = [f for f in folders.tree_files(origin) if not _below(origin / f, but)]
            if not files:
                raise Refused(f"{origin} is an empty folder")
            for file in files:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(origin / file, target / file)
        else:
            shutil.copyfile(origin, target)
        return target

    def code(self, kind: str, artifact: Path) -> tuple[Path | None, str | None]:
        """The import root and the class; a first draft of both where the author has none yet."""
        if kind != CUSTOM_PYTHON:
            return None, None
        if self.asked.model_class:
            root = _absolute(self.asked.code) if self.asked.code else self.folder
            if self.asked.code and not root.is_relative_to(self.registry.root):
                others = [self.origin, *([_absolute(self.asked.samples)] if self.asked.samples else [])]
                root = self.take(root, "src", others)
            return root, self.asked.model_class
        cls = "".join(part.capitalize() for part in self.name.split("-"))
        module = f"{self.name.replace('-', '_')}_model"
        root, file = self.folder / "src", self.folder / "src" / f"{module}.py"
        if file.exists():
            raise Refused(f"{file} exists already", f"--class {module}.YourClass --code {root} uses it")
        self.note(file if root.exists() else root)
        root.mkdir(parents=True, exist_ok=True)
        what = f"the file `{artifact.name}`" if artifact.is_file() else "the folder of the artifact"
        file.write_text(template("model_class.py.txt").format(title=cls, cls=cls, what=what))
        self.todo.append(f"write save, load and predict in {file.relative_to(self.registry.root).as_posix()}")
        return root, f"{module}.{cls}"

    def track(self, artifact: Path) -> None:
        pointer = artifact.with_name(artifact.name + ".dvc")
        if pointer.exists():
            return
        ignore = self.folder / ".gitignore"
        for file in [pointer] if ignore.exists() else [pointer, ignore]:
            self.note(file)
        self.registry.store.add(artifact)

    def infer(
        self, samples: Path | None, artifact: Path, code: Path | None, model_class: str | None
    ) -> ModelSchema | None:
        """The schema of the sample inputs, and of what the model answers to them."""
        if samples is None:
            self.todo.append("declare sample_data: a list of {input name: array}")
            if model_class:
                self.todo.append("declare the schema in model.yaml; what is there is a placeholder")
            return None
        plain = plain_samples(samples, samples.name)
        schema = infer_schema(plain)
        whole = [item.name for item in schema.input_schema if item.data_type is DataType.LONG]
        if whole and samples.suffix != ".npz":
            self.todo.append(f"{', '.join(whole)}: whole numbers are taken for long; 1.0 makes them float")
        if not model_class or code is None or self.asked.model_class is None:
            self.todo.append("declare schema.outputs; what is there is a placeholder")
            return schema
        answers = self.ask(plain, schema, artifact, code, model_class)
        return replace(schema, output_schema=infer_schema(answers).input_schema)

    def ask(
        self, plain: list[Any], schema: ModelSchema, artifact: Path, code: Path, model_class: str
    ) -> list[Any]:
        """The model's answers to its samples, from an isolated process that expects nothing of them."""
        tree = source.Tree((code,), self.registry.root, self.registry.root, hidden=(artifact,))
        files = source.bundle(model_class, tree).files
        items = {item.name: item for item in schema.input_schema}
        samples = tuple({name: array_of(items[name], value) for name, value in one.items()} for one in plain)
        parts = Parts(
            name=self.name,
            artifact=builder.local_artifact(artifact),
            schema=replace(schema, output_schema=[]),
            model_class=model_class,
            code={path: file.read_bytes() for path, file in files.items()},
            samples=samples,
            batching=Batching(custom=self.asked.custom_batching),
        )
        try:
            with self.registry.scratch() as place:
                answers = builder.free_answers(parts, place / "raw")
        except GitregError as error:
            raise Refused(
                f"the outputs cannot be inferred: {error.message}",
                "--samples without --class leaves them to you",
            ) from error
        if self.asked.custom_batching:
            return [{name: array[0] for name, array in answer.items()} for answer in answers]
        return answers

    def manifest(
        self,
        kind: str,
        artifact: Path,
        code: Path | None,
        model_class: str | None,
        samples: Path | None,
        schema: ModelSchema | None,
    ) -> dict[str, Any]:
        def below(path: Path) -> str:
            return Path(os.path.relpath(path, self.folder)).as_posix()

        data: dict[str, Any] = {"name": self.name}
        data |= {"title": self.asked.title} if self.asked.title else {}
        data["version"] = self.asked.version
        data["description"] = self.asked.description or f"Say in a sentence what {self.name} predicts."
        if not self.asked.description:
            self.todo.append("describe the model in model.yaml")
        data["type"] = kind
        if model_class:
            data |= {"model_class": model_class, "code": below(code) if code else "."}
        data["artifact"] = below(artifact)
        if schema is not None or model_class:
            data["schema"] = _schema_data(schema)
        if samples is not None:
            data["sample_data"] = below(samples)
        if self.asked.requirements or model_class:
            data["requirements"] = list(self.asked.requirements) or ["numpy>=1.24"]
        if self.asked.custom_batching:
            data["batching"] = {"custom": True}
        return data


def _absolute(path: Path) -> Path:
    """Without `..`, so that what lies below a folder can be told by its parts."""
    return Path(os.path.abspath(path))


def _below(file: Path, places: Sequence[Path]) -> bool:
    return any(file == place or place in file.parents for place in places)


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
