"""The .dvc file of what was brought from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


def import_file(outs: Any, origin: Mapping[str, Any]) -> bytes:
    """A .dvc file that says from where its output was brought: of a URL as DVC itself writes it.

    Args:
        outs: as DVC writes them for a file of one's own.
        origin: the entry of `deps`, as DVC has it.
    """
    import yaml

    if "repo" in origin:
        # DVC pushes nothing that it imports from a repository to a remote of ours, so for DVC this is a
        # file like any other; `meta` is the place that it leaves to others.
        meta = {"import": dict(origin)}
        return yaml.safe_dump({"outs": outs, "meta": meta}, sort_keys=False, allow_unicode=True).encode()
    from dvc.stage import Stage
    from dvc.stage.utils import compute_md5

    said = {"frozen": True, "deps": [dict(origin)], "outs": outs}
    names = {name: getattr(Stage, name) for name in dir(Stage) if name.startswith("PARAM_")}
    md5 = compute_md5(SimpleNamespace(dumpd=lambda: {**said}, **names))
    return yaml.safe_dump({"md5": md5, **said}, sort_keys=False, allow_unicode=True).encode()
