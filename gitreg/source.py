"""Follows a model class's imports through its source tree and says which files a package needs.

Nothing is imported: modules are found on the import roots and read as syntax trees, so the user's code
does not run here. What stays open (a computed `import_module`, a name that is nowhere) becomes a
warning with its place; whether it matters is decided by the test in an isolated process.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from gitreg.errors import InvalidFiles, Problem, Refused
from gitreg.imports import CALLS, Import, imports, top_level_names
from gitreg.names import did_you_mean

# Carried by every package in a form of its own; see gitreg/model.py.
CARRIED = "gitreg"
LARGE_DATA_FILE = 50 << 20
_SUFFIXES = (".py", *EXTENSION_SUFFIXES)


@dataclass
class Bundle:
    """What a package needs of the source tree.

    Attributes:
        files: import path with slashes (`churn/model.py`, `churn/labels.json`) -> file on disk.
        warnings: imports that could not be followed.
        watched: every folder whose listing decided something; a change in one may change the bundle.
    """

    files: dict[str, Path] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)
    watched: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class Tree:
    """Where modules may come from.

    Attributes:
        roots: import roots, first match wins, as on `sys.path`.
        base: what places in problems are relative to.
        inside: the folder that no file may leave through a link; None for no limit.
        visible: files that may be bundled (those Git does not ignore), or None for all.
        hidden: files and folders never bundled as package data (the artifact).
    """

    roots: tuple[Path, ...]
    base: Path
    inside: Path | None = None
    visible: Collection[str] | None = None
    hidden: tuple[Path, ...] = ()

    def name(self, file: Path) -> str:
        """A file as problems name it: relative to the base."""
        try:
            return file.relative_to(self.base).as_posix()
        except ValueError:
            return file.as_posix()


def installed_roots() -> tuple[Path, ...]:
    """Folders that hold installed packages."""
    import site
    import sysconfig

    paths = {sysconfig.get_path(key) for key in ("purelib", "platlib")}
    paths |= set(getattr(site, "getsitepackages", list)())
    if site.ENABLE_USER_SITE:
        paths.add(site.getusersitepackages())
    return tuple(Path(p).resolve() for p in sorted(paths) if os.path.isdir(p))


def source_roots() -> tuple[Path, ...]:
    """The entries of `sys.path` that are a source tree: neither standard library nor site-packages."""
    import sysconfig

    kept: list[Path] = []
    library = {Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")}
    foreign = [*installed_roots(), *library]
    for entry in sys.path:
        root = Path(entry or os.getcwd()).resolve()
        if root.is_dir() and root not in kept and not any(root == f or f in root.parents for f in foreign):
            kept.append(root)
    return tuple(kept)


def bundle(model_class: str, tree: Tree, prefixes: Sequence[str] = (), found: Bundle | None = None) -> Bundle:
    """Find every module that `model_class` needs, and the data files beside them.

    Args:
        model_class: dotted path that ends in the class.
        tree: where modules are looked for.
        prefixes: when given, only modules under one of them are bundled (and, of installed packages,
            only those); the class's own module always is.
        found: an empty bundle to fill and return: where an error is raised, it has what was looked at.

    Raises:
        Refused: the class's module is not in the tree, or does not define the class.
        InvalidFiles: a module that is needed is not Python, or a link leaves the repository.
    """
    walk = _Walk(tree, tuple(p.rstrip(".") for p in prefixes), found or Bundle())
    module, _, name = model_class.rpartition(".")
    walk.start(module)
    if not any(module == one for one in walk.modules):
        raise Refused(
            f"model_class {model_class!r}: no module {module!r} under {walk.roots_text()}",
            "the manifest's `code` lists the import roots",
        )
    walk.follow()
    walk.expect(module, name)
    walk.add_data_files()
    if walk.broken:
        raise InvalidFiles(walk.broken)
    walk.bundle.warnings.sort()
    return walk.bundle


class _Walk:
    def __init__(self, tree: Tree, prefixes: tuple[str, ...], bundle: Bundle) -> None:
        self.tree, self.prefixes = tree, prefixes
        self.bundle = bundle
        self.modules: dict[str, Path | None] = {}  # None: a package without __init__.py
        self.trees: dict[str, ast.Module] = {}
        self.todo: list[str] = []
        self.listed: dict[Path, set[str]] = {}
        self.broken: list[Problem] = []
        self.class_module = ""
        self._installed: tuple[Path, ...] | None = None

    def roots_text(self) -> str:
        return " or ".join(f"'{self.tree.name(root)}'" for root in self.tree.roots) or "no import root"

    def start(self, module: str) -> None:
        self.class_module = module
        self.want(module)

    def follow(self) -> None:
        while self.todo:
            name = self.todo.pop()
            file = self.modules[name]
            if file is None or file.suffix != ".py":
                continue
            try:
                text = file.read_bytes()
                self.trees[name] = syntax = ast.parse(text, filename=str(file))
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                line, column = getattr(error, "lineno", 0) or 0, getattr(error, "offset", 0) or 0
                why = str(error.args[0]) if error.args else "too complex for Python's own parser"
                self.broken.append(Problem(self.tree.name(file), line, column, "", f"not Python: {why}"))
                continue
            is_package = file.name == "__init__.py"
            for wanted in imports(syntax, name, is_package, any(call in text for call in CALLS)):
                self.resolve(wanted, file)

    def resolve(self, wanted: Import, file: Path) -> None:
        """Bundle what an import reaches, or say why it cannot be followed."""
        place = (self.tree.name(file), wanted.line, wanted.column)
        if wanted.name is None:
            self.bundle.warnings.append(Problem(*place, "", f"{wanted.reason}", "warning"))
            return
        top = wanted.name.partition(".")[0]
        if top == CARRIED or top == "__future__":
            return
        if top in sys.stdlib_module_names:
            if self.find(top) is not None:
                message = (
                    f"'{top}' is the standard library's here, not the module of that name in the source tree"
                )
                self.bundle.warnings.append(Problem(*place, "", message, "warning"))
            return
        if self.find(top) is None:
            if not wanted.guarded and not _is_installed(top):
                message = f"'{wanted.name}' is neither in the source tree nor installed here"
                self.bundle.warnings.append(Problem(*place, "", message, "warning"))
            return
        if not self.allowed(wanted.name):
            if self.find(top) and not _is_installed(top):
                message = f"'{wanted.name}' is left out: include_import_prefixes does not name it"
                self.bundle.warnings.append(Problem(*place, "", message, "warning"))
            return
        found = self.want(wanted.name)
        if not found and not wanted.attribute and not wanted.guarded:
            message = f"'{wanted.name}' is not in the source tree, though '{top}' is"
            self.bundle.warnings.append(Problem(*place, "", message, "warning"))
        for name in wanted.members:
            self.want(f"{wanted.name}.{name}")

    def allowed(self, name: str) -> bool:
        if not self.prefixes or name == self.class_module:
            return True
        return any(name == p or name.startswith(p + ".") or p.startswith(name + ".") for p in self.prefixes)

    def want(self, name: str) -> bool:
        """Add a module with the packages above it; whether it is in the tree."""
        if name in self.modules:
            return True
        if self.find(name) is None:
            return False
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            self.add(".".join(parts[:depth]))
        return True

    def add(self, name: str) -> None:
        if name in self.modules:
            return
        found = self.find(name)
        assert found is not None
        file = None if found.is_dir() else found
        self.modules[name] = file
        self.todo.append(name)
        if file is not None:
            path = name.replace(".", "/")
            inner = "__init__" if file.name.startswith("__init__.") else path.rpartition("/")[2]
            folder = path if inner == "__init__" else path.rpartition("/")[0]
            suffix = file.name.partition(".")[2]
            self.take(f"{folder}/{inner}.{suffix}".lstrip("/"), file)
            if file.suffix != ".py":
                message = "a compiled module is bundled; the package works on this platform only"
                self.bundle.warnings.append(Problem(self.tree.name(file), 0, 0, "", message, "warning"))

    def find(self, name: str) -> Path | None:
        """The file of a module, or the first folder of a package without `__init__.py`."""
        file, folders = self.locate(name)
        return file or (folders[0] if folders else None)

    def locate(self, name: str) -> tuple[Path | None, list[Path]]:
        """Find a module the way Python does.

        Returns:
            Its file, or else the folders that make up the package without `__init__.py`.
        """
        places, file = list(self.search(name)), None
        for part in name.split("."):
            if file is not None and not file.name.startswith("__init__."):
                return None, []  # a module has no submodules
            file, places = self._step(places, part)
            if file is None and not places:
                return None, []
        return file, places

    def _step(self, places: list[Path], part: str) -> tuple[Path | None, list[Path]]:
        """One part of a dotted name: the file found and where its submodules are looked for."""
        namespaces: list[Path] = []
        for place in places:
            self.bundle.watched.add(place)
            names = self._names(place)
            if part in names and part.isidentifier() and (inside := place / part).is_dir():
                within = self._names(inside)
                for suffix in _SUFFIXES:
                    if f"__init__{suffix}" in within and (found := inside / f"__init__{suffix}").is_file():
                        return found, [inside]
                namespaces.append(inside)
            for suffix in _SUFFIXES:
                if f"{part}{suffix}" in names and (found := place / f"{part}{suffix}").is_file():
                    return found, []
        return None, namespaces

    def _names(self, folder: Path) -> set[str]:
        """What a folder holds, listed once."""
        if folder not in self.listed:
            try:
                self.listed[folder] = set(os.listdir(folder))
            except OSError:
                self.listed[folder] = set()
        return self.listed[folder]

    def search(self, name: str) -> Iterable[Path]:
        yield from self.tree.roots
        if any(name == p or name.startswith(p + ".") or p.startswith(name + ".") for p in self.prefixes):
            if self._installed is None:
                self._installed = installed_roots()
            yield from self._installed

    def take(self, path: str, file: Path) -> None:
        """Put one file into the bundle, if it may be read."""
        if self.tree.inside is not None and self._is_source(file):
            real = file.resolve()
            if not real.is_relative_to(self.tree.inside):
                message = "leaves the repository through a symbolic link"
                self.broken.append(Problem(self.tree.name(file), 0, 0, "", message))
                return
        self.bundle.files[path] = file

    def _is_source(self, file: Path) -> bool:
        return any(file.is_relative_to(root) for root in self.tree.roots)

    def expect(self, module: str, name: str) -> None:
        """Refuse a class name that its module plainly does not define."""
        syntax = self.trees.get(module)
        if syntax is None or self.broken:
            return
        names = top_level_names(syntax)
        if name not in names and "*" not in names and "__getattr__" not in names:
            file = self.tree.name(self.modules[module] or Path(module))
            classes = sorted(node.name for node in syntax.body if isinstance(node, ast.ClassDef))
            raise Refused(f"{file} does not define the class {name!r}{did_you_mean(name, classes)}")

    def add_data_files(self) -> None:
        """Take the files that are not Python from every bundled package's folder."""
        for name, file in sorted(self.modules.items()):
            if file is None:
                folders = self.locate(name)[1]
            else:
                folders = [file.parent] if file.name.startswith("__init__.") else []
            for folder in folders:
                for data in self.data_files(folder):
                    self.add_data_file(
                        f"{name.replace('.', '/')}/{data.relative_to(folder).as_posix()}", data
                    )

    def add_data_file(self, path: str, file: Path) -> None:
        """Take one data file; the first of a name wins."""
        if path in self.bundle.files:
            return
        size = file.stat().st_size
        if size > LARGE_DATA_FILE:
            message = f"a data file of {size >> 20} MiB is bundled as code; is it an artifact?"
            self.bundle.warnings.append(Problem(self.tree.name(file), 0, 0, "", message, "warning"))
        self.take(path, file)

    def data_files(self, folder: Path) -> Iterator[Path]:
        self.bundle.watched.add(folder)
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith(".") or entry.name == "__pycache__" or entry in self.tree.hidden:
                continue
            if entry.is_dir():
                if (
                    not entry.is_symlink()
                    and not any(entry.glob("*.py"))
                    and not (entry / "model.yaml").exists()
                ):
                    yield from self.data_files(entry)
            elif entry.is_file() and self._is_data(entry):
                yield entry

    def _is_data(self, file: Path) -> bool:
        if file.suffix in (".py", ".pyc", ".pyi", ".pyo", ".pyd", ".so", ".dvc") or file.name.endswith("~"):
            return False
        return self.tree.visible is None or self.tree.name(file) in self.tree.visible


def _is_installed(top: str) -> bool:
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError, AttributeError):
        return False
