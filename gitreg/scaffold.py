"""Makes what was not there: a registry (`init`), and a model in it (`new`). Never overwrites a file."""

from __future__ import annotations

import fcntl
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, flavors, folders, git, source, store
from gitreg.datafiles import plain_samples
from gitreg.declared import CUSTOM_PYTHON, Batching
from gitreg.errors import GitregError, InvalidFiles, Refused
from gitreg.manifest import contain, read_manifest, read_registry, schema_folder
from gitreg.model import DataType
from gitreg.names import NAME, NAME_RULE
from gitreg.packages import Parts, yaml_bytes
from gitreg.registry import Registry
from gitreg.schema import array_of, infer_schema

if TYPE_CHECKING:
    from gitreg.model import ModelSchema

_TEMPLATES = Path(__file__).parent / "templates"
# In a model's folder while `new` makes it; lists what it has made so far.
_MARKER = ".gitreg-new"


@dataclass
class Made:
    """What was made.

    Attributes:
        made: paths relative to the registry's root, in order.
        kept: paths that were there already and were left alone.
    """

    root: Path
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def write(self, file: str, text: str | bytes) -> None:
        """Write a file, unless there is one."""
        path = self.root / file
        if path.exists() or path.is_symlink():
            self.kept.append(file)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.made.append(file)


def init(folder: Path, name: str | None = None) -> Made:
    """Make a registry that passes `check` in a folder; in one that is there, add what is missing.

    Raises:
        Outside: Git or DVC refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = folder.resolve()
    made = Made(root)
    if git.top(root) is None:
        git.init(root)
        made.made.append(".git/")
    else:
        made.kept.append(".git/")
    if (root / ".dvc").is_dir():
        made.kept.append(".dvc/")
    else:
        store.init(root, subdirectory=git.top(root) != root)
        made.made.append(".dvc/")
    made.write("registry.yaml", _template("registry.yaml").format(name=_yaml_word(name or root.name)))
    for stage in read_registry(root).stages:
        made.write(f"stages/{stage}.yaml", _template("stage.yaml").format(stage=stage))
    for schema in sorted(schema_folder().glob("*.schema.json")):
        made.write(f"schemas/{schema.name}", schema.read_bytes())
    made.write("models/.gitkeep", "")
    made.write(".github/workflows/gitreg.yml", _template("workflow.yml"))
    made.write(".github/CODEOWNERS", _template("CODEOWNERS"))
    made.write(".pre-commit-config.yaml", _template("pre-commit-config.yaml"))
    made.write(".gitignore", "/dist/\n__pycache__/\n*.pyc\n.venv/\n")
    return made


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _yaml_word(text: str) -> str:
    return yaml_bytes([text]).decode().strip()[1:-1]


@dataclass
class NewModel:
    """What `new` is asked for, beyond the name and the source.

    Attributes:
        type: the manifest's type; by default what the source's content says.
        model_class: dotted path of the user's class.
        code: its import root; copied to `src` when it lies outside of the model's folder.
        samples: a file of sample data; the schema is inferred from it.
    """

    type: str | None = None
    model_class: str | None = None
    code: Path | None = None
    samples: Path | None = None
    requirements: tuple[str, ...] = ()
    description: str = ""
    version: str = "1.0.0"
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
    format: flavors.Format
    made: list[str]
    schema: ModelSchema | None
    todo: list[str]


def detect(path: Path) -> flavors.Format:
    """What a file or folder is, by content. Nothing is loaded."""
    if path.is_dir():
        names = folders.tree_files(path)
        found = flavors.detect_folder(names)
        if found is flavors.UNKNOWN and len(names) == 1:
            return detect(path / names[0])
        return found
    with open(path, "rb") as stream:
        head = stream.read(4096)
    members: Sequence[str] = ()
    if head[:2] == b"PK":
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.namelist()[:10_000]
        except (zipfile.BadZipFile, OSError):
            members = ()
    return flavors.detect_file(head, members)


def new(registry: Registry, name: str, origin: Path, asked: NewModel) -> Added:
    """Add a model: take its artifact, track it with DVC, infer its schema, write its manifest.

    Args:
        origin: a file or folder; it is copied into the model's folder unless it lies there already,
            and is never moved or changed.

    Raises:
        Refused: the name is taken or invalid, or there is nothing at `origin`. What was made until
            then is removed again.
    """
    if not NAME.match(name):
        raise Refused(f"{name!r} is not a model name: {NAME_RULE}")
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
        found = detect(origin)
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
        return Added(
            self.folder.relative_to(self.registry.root).as_posix(),
            kind,
            found,
            [p.relative_to(self.registry.root).as_posix() for p in self.made],
            schema,
            self.todo,
        )

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
        file.write_text(_template("model_class.py.txt").format(title=cls, cls=cls, what=what))
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

        data: dict[str, Any] = {"name": self.name, "version": self.asked.version}
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
    return f"{key}: {_yaml_word(value)}\n".encode()


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
