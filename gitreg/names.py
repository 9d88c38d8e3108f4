"""Names, versions and references: what is valid, and how each is written and read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gitreg.errors import Usage

# GTO, DNS labels, Kubernetes and Triton all accept these; \Z because `$` lets a newline through.
NAME = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")
NAME_RULE = "lower-case letters, digits and '-', 2 to 63 characters, starting with a letter"
VERSION = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?\Z"
)


@dataclass(frozen=True)
class Reference:
    """What a user wrote to name a version: `churn`, `churn@1.2.0`, `churn@latest`, `churn#production`."""

    model: str
    version: str | None = None
    stage: str | None = None

    def __str__(self) -> str:
        if self.stage:
            return f"{self.model}#{self.stage}"
        return f"{self.model}@{self.version}" if self.version else self.model


def parse_reference(text: str) -> Reference:
    """Read a reference.

    Raises:
        Usage: `text` is not one; ordinals (`churn@3`) are refused, as URIs alone may use them.
    """
    model, at, version = text.partition("@")
    model, hash_sign, stage = model.partition("#") if not at else (model, "", "")
    if not NAME.match(model):
        raise Usage(f"{model!r} is not a model name: {NAME_RULE}")
    if at and version.isdigit():
        raise Usage(
            f"{text!r}: an ordinal does not name a version here", f"write a version, as {model}@1.0.0"
        )
    if at and version != "latest" and not VERSION.match(version):
        raise Usage(f"{text!r}: {version!r} is not a version", f"write SemVer, as {model}@1.0.0")
    if hash_sign and not NAME.match(stage):
        raise Usage(f"{text!r}: {stage!r} is not a stage name: {NAME_RULE}")
    return Reference(model, None if version == "latest" else version or None, stage or None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'float'?)` when something known is close, else the empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def kebab(class_name: str) -> str:
    """The model name that a class name suggests: `ChurnModel` is `churn-model`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
