"""CustomTritonPackager: a trained model -> a Triton package or a raw package, with no registry and no Git.

Its names and parameters are those of Uber Michelangelo's packager, so code written for it runs here.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitreg import builder, environment, folders, isolation, live, source
from gitreg.declared import Batching
from gitreg.errors import Refused
from gitreg.model import Model, ModelSchema, StorageType
from gitreg.names import kebab
from gitreg.packages import Parts
from gitreg.requirements import mistakes as requirement_mistakes
from gitreg.schema import sample_mistakes, schema_mistakes

if TYPE_CHECKING:
    import numpy as np

    Sample = Mapping[str, "np.ndarray[Any, Any]"]


# Triton's model name is a folder's name.
_TRITON_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z")


class CustomTritonPackager:
    """Packages models that extend `gitreg.Model`.

    Holds no state but its settings, and touches no global state, so it can be used in an
    orchestrator's tasks and in parallel processes and threads.

    Args:
        custom_batch_processing: False: `predict` sees single samples of exactly the schema's shape,
            and Triton batches around it. True: it gets a leading batch dimension.

    Attributes:
        pass_env: names of environment variables that models see when they are tested; most are hidden
            from them.
    """

    pass_env: Sequence[str] = ()

    def __init__(self, custom_batch_processing: bool = False) -> None:
        self.custom_batch_processing = custom_batch_processing

    def create_model_package(
        self,
        model_path: str | os.PathLike[str],
        model_class: str | type[Model],
        model_schema: ModelSchema,
        model_name: str | None = None,
        dest_model_path: str | os.PathLike[str] | None = None,
        model_revision: str | None = None,
        model_path_source_type: str = StorageType.LOCAL,
        include_import_prefixes: list[str] | None = None,
    ) -> str:
        """Make a package that a Triton server loads: `config.pbtxt` and the version folder `0`.

        Args:
            model_path: what the class's `load` takes: the folder (or single file) that `save` wrote.
            model_class: dotted import path that ends in the class (or the class itself); its module
                and all it imports from the source trees on `sys.path` are bundled.
            model_schema: inputs and outputs.
            model_name: Triton's name of the model; by default the class's name in kebab-case. The
                folder that is served must have this name.
            dest_model_path: receives the contents of `<model>/`; by default `<model>` in a fresh
                temporary directory.
            model_revision: recorded in `download.yaml`.
            model_path_source_type: StorageType.LOCAL.
            include_import_prefixes: bundle only modules under these dotted prefixes.

        Returns:
            The package's absolute path.

        Raises:
            ValueError: an argument is missing or wrong, or the model does not load from the package.
        """
        parts = self._parts(
            model_path, model_class, model_schema, model_path_source_type, include_import_prefixes
        )
        if model_name and not _TRITON_NAME.match(model_name):
            raise Refused(f"model_name {model_name!r}: letters, digits, '.', '_' and '-' are expected")
        parts = _replaced(parts, name=model_name or parts.name, revision=model_revision)
        return _package("triton", parts, dest_model_path, self.pass_env)

    def create_raw_model_package(
        self,
        model_path: str | os.PathLike[str],
        model_class: str | type[Model],
        model_schema: ModelSchema,
        sample_data: Sequence[Sample] | Sample,
        dest_model_path: str | os.PathLike[str] | None = None,
        model_path_source_type: str = StorageType.LOCAL,
        requirements: list[str] | str | os.PathLike[str] | None = None,
        include_import_prefixes: list[str] | None = None,
    ) -> str:
        """Make a package that any Python process loads with `load_raw_model`.

        Before it appears it was loaded from its own files alone, has answered every sample as the
        schema says, and was saved and loaded again.

        Args:
            sample_data: one sample or a list of them, input name to array; with custom batching each
                may have a leading batch dimension.
            requirements: requirement strings, or the path of a requirements.txt.

        The other arguments, the return value and the errors are those of `create_model_package`.
        """
        parts = self._parts(
            model_path, model_class, model_schema, model_path_source_type, include_import_prefixes
        )
        samples = [sample_data] if isinstance(sample_data, Mapping) else list(sample_data or ())
        mistakes = [] if samples else ["sample_data is required: at least one sample"]
        for i, sample in enumerate(samples):
            if not isinstance(sample, Mapping):
                mistakes.append(f"sample_data[{i}]: expected a dict of arrays, got {type(sample).__name__}")
                continue
            found = sample_mistakes(model_schema, sample, self.custom_batch_processing)
            mistakes += [f"sample_data[{i}]{f'.{name}' if name else ''}: {text}" for name, text in found]
        lines = _requirements(requirements)
        mistakes += [f"requirements: {mistake}" for _, mistake in requirement_mistakes(lines)]
        if mistakes:
            raise Refused(mistakes)
        parts = _replaced(parts, samples=tuple(dict(s) for s in samples), requirements=lines)
        return _package("raw", parts, dest_model_path, self.pass_env)

    def _parts(
        self,
        model_path: str | os.PathLike[str],
        model_class: str | type[Model],
        schema: ModelSchema,
        source_type: str,
        prefixes: list[str] | None,
    ) -> Parts:
        if not model_class:
            raise Refused("model_class is required")
        if not schema:
            raise Refused("model_schema is required")
        if not model_path:
            raise Refused("model_path is required")
        if source_type != StorageType.LOCAL:
            raise Refused(f"model_path_source_type is {source_type!r}; only StorageType.LOCAL is known here")
        if mistakes := schema_mistakes(schema):
            raise Refused(mistakes)
        dotted, roots = _locate(model_class)
        place = Path(model_path).absolute()
        tree = source.Tree(roots, Path.cwd(), hidden=(place,))
        bundle = source.bundle(dotted, tree, prefixes or ())
        return Parts(
            name=kebab(dotted.rpartition(".")[2]),
            artifact=builder.local_artifact(place),
            schema=schema,
            model_class=dotted,
            code={path: file.read_bytes() for path, file in bundle.files.items()},
            batching=Batching(custom=self.custom_batch_processing),
        )


def _locate(model_class: str | type[Model]) -> tuple[str, tuple[Path, ...]]:
    """The class's dotted path, and the import roots to find its modules on."""
    roots = source.source_roots()
    if isinstance(model_class, str):
        if not all(part.isidentifier() for part in model_class.split(".")) or "." not in model_class:
            raise Refused(
                f"model_class {model_class!r}: a dotted import path is expected, as churn_model.Churn"
            )
        return model_class, roots
    if not inspect.isclass(model_class):
        raise Refused(f"model_class: expected a dotted path or a class, got {type(model_class).__name__}")
    module = sys.modules.get(model_class.__module__)
    file = getattr(module, "__file__", None)
    if model_class.__module__ == "__main__" or file is None or "<locals>" in model_class.__qualname__:
        raise Refused(
            f"model_class {model_class.__qualname__}: it lives in no module that a package could import",
            "move the class into a module of its own, and import it from there",
        )
    # The module was imported from here, whatever sys.path says by now.
    depth = model_class.__module__.count(".") + (Path(file).name.startswith("__init__."))
    root = Path(file).resolve().parents[depth]
    return f"{model_class.__module__}.{model_class.__qualname__}", (root, *(r for r in roots if r != root))


def _requirements(said: list[str] | str | os.PathLike[str] | None) -> tuple[str, ...]:
    if said is None:
        return ()
    if isinstance(said, (str, os.PathLike)):
        try:
            return tuple(Path(said).read_text("utf-8").splitlines())
        except OSError as error:
            raise Refused(f"requirements: {said}: {error.strerror}") from None
    return tuple(said)


def _package(
    kind: str, parts: Parts, destination: str | os.PathLike[str] | None, passed: Sequence[str]
) -> str:
    conditions = isolation.Conditions(passed=environment.checked(passed))
    if destination:
        place = Path(destination).absolute()
        with live.beside(place, kind, folders.temporary) as beside:
            builder.package(parts, {kind: place}, beside, conditions)
        return str(place)
    with folders.temporary() as new:
        builder.package(parts, {kind: new / parts.name}, new, conditions)
        folder = Path(tempfile.mkdtemp(prefix="gitreg-"))  # the caller's, who removes it
        (new / parts.name).rename(folder / parts.name)
    return str(folder / parts.name)


def _replaced(parts: Parts, **changes: Any) -> Parts:
    from dataclasses import replace

    return replace(parts, **changes)
