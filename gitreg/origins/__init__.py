"""Where a new model comes from: `gitreg new NAME --from SOURCE`. One module per kind of source.

    SOURCE -> kind_of -> bring(desk, SOURCE) -> Brought: where the artifact is, and what the manifest says

Each module has `matches(text)`, whether a SOURCE is of its kind, and `bring(desk, text)`.
"""

from __future__ import annotations

from types import ModuleType

from gitreg.origins import files, image, mlflow, modelarts, stage, subscription, template, url

# The first that matches; what matches nothing else is a file or folder.
KINDS: dict[str, ModuleType] = {
    "stage": stage,
    "image": image,
    "template": template,
    "mlflow": mlflow,
    "subscription": subscription,
    "url": url,
    "modelarts": modelarts,
    "files": files,
}


def kind_of(text: str) -> ModuleType:
    """The module for a SOURCE."""
    return next(kind for kind in KINDS.values() if kind.matches(text))
