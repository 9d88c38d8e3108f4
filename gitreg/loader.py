"""Package folder -> an object with `predict`."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import pickle
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from gitreg import trees
from gitreg.errors import NotSupported, Refused

if TYPE_CHECKING:
    from gitreg.model import Model

T = TypeVar("T")
_IMPORTING = threading.RLock()
# The packages whose modules are being imported, innermost last; guarded by the lock.
_ENTERED: list[_OwnModules] = []


def load_raw_model(path: str | os.PathLike[str]) -> Model:
    """Load the model of a raw package: the user's own class, ready to predict.

    The package's modules are its own: two packages (two versions of one model, say) whose modules have
    the same names can be loaded side by side, neither sees the other's code, and the caller's own
    imports see neither. Only the package's own code can pickle objects of its classes.

    Args:
        path: the package, or its version folder.

    Raises:
        Refused: there is no raw package at `path`, it has no such class, or it names files outside of itself.
        NotSupported: the package's type has no loader; the message names the type. It is a
            NotImplementedError.
    """
    from gitreg import references
    from gitreg.flavors import FLAVORS, is_loadable, where

    version = _version_folder(Path(path).absolute())
    kind = _type(version)
    defs = version / "defs"
    if not is_loadable(kind) or (kind in FLAVORS and not defs.is_dir()):
        raise NotSupported(f"no loader for the type '{kind}' ({version})", f"it can be loaded {where(kind)}")
    try:
        dotted = (defs / "model_class.txt").read_text().strip()
    except OSError as error:
        raise Refused(f"{defs / 'model_class.txt'}: {error.strerror}") from None
    module = dotted.rpartition(".")[0]
    if not all(part.isidentifier() for part in dotted.split(".")) or not module:
        raise Refused(f"{defs / 'model_class.txt'}: {dotted!r} is not a dotted path that ends in a class")
    artifact = _artifact(version)
    _refuse_links(version)
    if found := references.of_package(version, defs, artifact):
        raise Refused(
            f"{version}: {'; '.join(found)}", "everything that a model reads has to lie in its artifact"
        )
    return load_class(version, dotted, artifact)


def load_class(version: Path, dotted: str, artifact: str) -> Model:
    """Load a raw package whose record is known already: reading YAML takes longer than many models do.

    Args:
        version: its version folder.
        dotted: the class, as its `model_class.txt` says.
        artifact: what the class's `load` gets, relative to the version folder.

    Raises:
        Refused: there is no such class; or a loader of gitreg's own is told to read another file than
            those of the artifact.
    """
    module, _, name = dotted.rpartition(".")
    if module.startswith("gitreg_flavors."):
        _refuse_outside(version, artifact)
    own = _OwnModules(version / "defs")
    with own:
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            needs = version / "dependencies" / "requirements.txt"
            raise Refused(
                f"{version}: {dotted} cannot be imported: {error}", f"pip install -r {needs}"
            ) from error
        own.loading = True
        try:
            model: Model = cls.load(str(version / artifact))
        finally:
            own.loading = False
    return model


def _version_folder(path: Path) -> Path:
    if (path / "metadata" / "type.yaml").is_file():
        return path
    found = sorted(p for p in path.glob("[0-9]*") if (p / "metadata" / "type.yaml").is_file())
    if len(found) != 1:
        raise Refused(f"{path} is not a raw package: it has no version folder with metadata/type.yaml")
    return found[0]


def _type(version: Path) -> str:
    import yaml

    from gitreg.documents import own_yaml

    try:
        data = own_yaml((version / "metadata" / "type.yaml").read_bytes())
        return str(data["type"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise Refused(f"{version / 'metadata' / 'type.yaml'} does not name a type: {error}") from None


def _artifact(version: Path) -> str:
    """Where the artifact lies; packages of other makers have no record, and their artifact is `model/`."""
    from gitreg.builder import find_record

    record = find_record(version.parent)
    said = record.get("artifact") if record else {"path": "model"}
    place = said.get("path") if isinstance(said, Mapping) else None
    if not isinstance(place, str):
        raise Refused(f"{version}: the record names no artifact")
    if place != "model" and (not place.startswith("model/") or ".." in place.split("/")):
        raise Refused(f"{version}: the record names an artifact outside of the package: {place!r}")
    return place


def _refuse_outside(version: Path, artifact: str) -> None:
    """Raise Refused where an option of a loader of gitreg's own names a file outside of the artifact."""
    from gitreg import references

    if why := references.option_leads_out(version / "defs", version / artifact):
        raise Refused(f"{version}: {why}", "gitreg verify PACKAGE says what else is wrong with it")


def _refuse_links(version: Path) -> None:
    """Raise Refused where a link in a package leads out of it."""
    inside = os.path.realpath(version) + os.sep
    for at, below, names in trees.walk(version):
        for name in (*below, *names):
            path = os.path.join(at, name)
            if os.path.islink(path) and not os.path.realpath(path).startswith(inside):
                raise Refused(f"{path} is a link out of the package", "packages of gitreg's have no links")


def _stand_in(module: ModuleType, changes: Mapping[str, Any]) -> ModuleType:
    """A copy of a module with some of its functions replaced."""
    copy = ModuleType(module.__name__, module.__doc__)
    copy.__dict__.update({**vars(module), **changes})
    return copy


class _Loader(SourceFileLoader):
    """Runs a package's own sources, and never bytecode that lies beside them."""

    def __init__(self, fullname: str, path: str, own: _OwnModules) -> None:
        super().__init__(fullname, path)
        self.own = own

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        # Functions keep the builtins that their module had when they were defined.
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self.own.import_}
        super().exec_module(module)


class _OwnModules:
    """The modules of one package, kept apart from modules of the same names.

    While the object is entered, imports of the package's top-level names are served from its folder and
    kept in a table of its own. Its modules get an `__import__` that enters it again, so an import
    inside `predict` finds the package's own code however much later it runs.
    """

    def __init__(self, defs: Path) -> None:
        self.defs = str(defs)
        entries = [p for p in defs.iterdir() if p.name != "__pycache__"]
        self.tops = {p.name if p.is_dir() else p.name.partition(".")[0] for p in entries} - {"gitreg"}
        self.table: dict[str, ModuleType] = {}
        self.others: list[dict[str, ModuleType]] = []
        self.owner = 0
        self.loading = False
        # Both find modules by name, past `__import__`; the package's modules get their own of them.
        pickling = {name: self._entering(vars(pickle)[name]) for name in ("dump", "dumps", "load", "loads")}
        self.stand_ins = {
            importlib: _stand_in(importlib, {"import_module": self.import_module}),
            pickle: _stand_in(pickle, pickling),
        }
        source = (partial(_Loader, own=self), SOURCE_SUFFIXES)
        self.details: list[Any] = [source, (ExtensionFileLoader, EXTENSION_SUFFIXES)]

    def __enter__(self) -> None:
        _IMPORTING.acquire()
        self.others.append(self._take())
        sys.modules.update(self.table)
        sys.meta_path.insert(0, self)
        _ENTERED.append(self)
        self.owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        _ENTERED.pop()
        sys.meta_path.remove(self)
        self.table = self._take()
        sys.modules.update(self.others.pop())
        _IMPORTING.release()

    def _take(self) -> dict[str, ModuleType]:
        """Take the modules of the package's names out of `sys.modules`."""
        names = [name for name in sys.modules if name.partition(".")[0] in self.tops]
        return {name: sys.modules.pop(name) for name in names}

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        """Find a module in the package; the import system calls this."""
        if name.partition(".")[0] not in self.tops:
            return None
        for folder in path or [self.defs]:
            spec = FileFinder(folder, *self.details).find_spec(name)
            if spec is not None:
                return spec
        return None

    def import_(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` for the package's own modules."""
        package = str((globals or {}).get("__package__") or "")
        top = (package if level else name).partition(".")[0]
        if top not in self.tops:
            module = builtins.__import__(name, globals, locals, fromlist or (), level)
            return self.stand_ins.get(module, module)
        return self._within(lambda: builtins.__import__(name, globals, locals, fromlist or (), level))

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """`importlib.import_module` for the package's own modules."""
        top = (package or "" if name.startswith(".") else name).partition(".")[0]
        if top not in self.tops:
            return importlib.import_module(name, package)
        return self._within(lambda: importlib.import_module(name, package))

    def _entering(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def entered(*arguments: Any, **named: Any) -> Any:
            return self._within(lambda: function(*arguments, **named))

        return entered

    def _within(self, action: Callable[[], T]) -> T:
        if _ENTERED and _ENTERED[-1] is self:
            if self.owner == threading.get_ident():
                return action()  # an import within one of its own
            if self.loading:
                # `load` holds the lock and may be waiting for this very thread.
                with contextlib.suppress(ModuleNotFoundError):  # unless it has ended meanwhile
                    return action()
        with self:
            return action()
