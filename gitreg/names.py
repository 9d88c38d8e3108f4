"""Names, references, URIs and tags: what is valid, and how each is written and read.

A tag is GTO's: `churn@v1.2.0` registers, `churn#production#4` assigns, `churn#production!#5` unassigns,
`churn@v1.2.0!#6` deregisters, `churn@deprecated#7` deprecates. See
https://github.com/iterative/gto/blob/main/gto/constants.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gitreg.errors import Refused, Usage

# GTO, DNS labels, Kubernetes and Triton all accept these; \Z because `$` lets a newline through.
NAME = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")
NAME_RULE = "lower-case letters, digits and '-', 2 to 63 characters, starting with a letter"
# Of the models that there are, so many are listed in a hint.
_SHOWN = 20
# Numbers and pre-releases are bounded: a version is part of the name of a file.
_NUMBER = "(?:0|[1-9][0-9]{0,14})"
_WORD = "(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_PRE = rf"-(?![0-9a-zA-Z.-]{{41}}){_WORD}(?:\.{_WORD})*"
# Git has no tag whose name ends in `.lock`, and where case is not told apart `.LOCK` is the lock of another:
# https://git-scm.com/docs/git-check-ref-format
_PRE += r"(?<!\.[lL][oO][cC][kK])"
VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:{_PRE})?\Z")


# The first digits of the id of the tag that registered a version, or a model's first one: never in a name.
ID = re.compile(r"[mv]_[0-9a-f]{7,40}\Z")
_URI = "models:/"


@dataclass(frozen=True)
class Reference:
    """What a user wrote to name a version.

    Attributes:
        model: the model's name; empty for an id.
        version: None for the latest.
        stage: the version that is in this stage.
        ordinal: the version that was registered as this one (URIs only).
        id: `m_...` of a model, `v_...` of a version.
    """

    model: str
    version: str | None = None
    stage: str | None = None
    ordinal: int | None = None
    id: str | None = None

    def __str__(self) -> str:
        if self.id:
            return self.id
        if self.stage:
            return f"{self.model}#{self.stage}"
        if self.ordinal is not None:
            return f"{_URI}{self.model}/{self.ordinal}"
        return f"{self.model}@{self.version}" if self.version else self.model


def parse_reference(text: str) -> Reference:
    """Read a reference: `churn`, `churn@1.2.0`, `churn@latest`, `churn#production`, an id, or a URI.

    Raises:
        Usage: `text` is not one; ordinals (`churn@3`) are refused, as URIs alone may use them.
    """
    if text.startswith("models:"):
        return parse_uri(text)
    if ID.match(text):
        return Reference("", id=text)
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


def parse_uri(text: str) -> Reference:
    """Read MLflow's way to name a version: `models:/churn/1.2.0`, `/3`, `/production`, `/latest`, `@alias`.

    Raises:
        Usage: `text` is not one.
    """
    model, slash, rest = text.removeprefix(_URI).partition("/")
    model, at, alias = model.partition("@")
    if text.startswith(_URI) and NAME.match(model) and bool(slash) != bool(at):
        if (rest or alias) == "latest":
            return Reference(model)
        if NAME.match(rest or alias):
            return Reference(model, stage=rest or alias)
        if VERSION.match(rest):
            return Reference(model, rest)
        if re.match(r"[1-9][0-9]{0,8}\Z", rest, re.ASCII):
            return Reference(model, ordinal=int(rest))
    raise Usage(
        f"{text!r} is not the URI of a version",
        "models:/churn/1.2.0, models:/churn/3, models:/churn/production or models:/churn/latest",
    )


_TAG = re.compile(
    rf"(?P<model>{NAME.pattern[:-2]})"
    rf"(?:@v(?P<version>{VERSION.pattern[:-2]})(?P<deregister>!)?|#(?P<stage>{NAME.pattern[:-2]})(?P<unassign>!)?"
    r"|@(?P<deprecated>deprecated))(?:#(?P<counter>[1-9][0-9]{0,17}))?\Z",
    re.ASCII,
)
# Whatever could be meant for a registry: GTO would read it, or stumble over it.
_LIKE_A_TAG = re.compile(r"[^@#]*[@#]")

Kind = Literal["register", "deregister", "assign", "unassign", "deprecate"]


class TagName(NamedTuple):
    """What a tag's name says.

    Attributes:
        kind: what the tag does.
        counter: GTO's; None where the name has none, as in most registrations.
        prefix: the folder of the registry, where several share a repository; empty in other names.
    """

    model: str
    kind: Kind
    version: str | None = None
    stage: str | None = None
    counter: int | None = None
    prefix: str = ""

    @property
    def artifact(self) -> str:
        """What GTO calls the model, as tags write it: `ml/registry=churn`."""
        return f"{self.prefix}={self.model}" if self.prefix else self.model

    def __str__(self) -> str:
        what = {
            "register": f"@v{self.version}",
            "deregister": f"@v{self.version}!",
            "assign": f"#{self.stage}",
            "unassign": f"#{self.stage}!",
            "deprecate": "@deprecated",
        }[self.kind]
        return f"{self.artifact}{what}" + ("" if self.counter is None else f"#{self.counter}")


def parse_tag(text: str, folder: str = "") -> TagName | None:
    """Read a tag's name; None when it is not one of a registry.

    Args:
        folder: of the registry in its repository: a prefix that a name may have. Any other is refused.
    """
    if folder and text.startswith(f"{folder}="):
        says = parse_tag(text[len(folder) + 1 :])
        return says._replace(prefix=folder) if says else None
    found = _TAG.match(text)
    if not found:
        return None
    model, version, deregister, stage, unassign, _, counter = found.groups()
    kind: Kind = "deprecate"
    if version:
        kind = "deregister" if deregister else "register"
    elif stage:
        kind = "unassign" if unassign else "assign"
    return TagName(model, kind, version, stage, int(counter) if counter else None)


def is_like_a_tag(text: str) -> bool:
    """Whether a tag's name uses the signs of registry tags, right or wrong."""
    return bool(_LIKE_A_TAG.match(text))


# GTO's `dirname`; what Git refuses in the name of a reference is refused besides.
_PREFIX = re.compile(r"[A-Za-z0-9_./-]+\Z", re.ASCII)


def prefix_mistake(folder: str) -> str | None:
    """Why the folder of a registry cannot be the prefix of its tags; None where it can."""
    parts = folder.split("/")
    if not _PREFIX.match(folder):
        return "GTO reads letters, digits, '-', '_', '.' and '/' in a prefix"
    if folder.startswith("-"):
        return "a name that begins with '-' is an option to Git and GTO"
    odd = any(not part or part.startswith(".") or part.lower().endswith(".lock") for part in parts)
    if odd or ".." in folder:
        return "no part of a reference in Git is empty, begins with '.', ends with '.lock' or has '..' in it"
    return None


_FOREIGN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")


def mapped(text: str) -> tuple[str, str | None]:
    """A model's name for a name of another registry's, and that name where it is another.

    MLflow and ModelArts have upper case and `_`, up to 64 characters: `Churn_Model` is `churn-model`.

    Raises:
        Refused: there is none.
    """
    if NAME.match(text):
        return text, None
    name = text.lower().replace("_", "-").strip("-")
    if not _FOREIGN.match(text) or not NAME.match(name):
        raise Refused(f"{text!r} is not a model name: {NAME_RULE}")
    return name, text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'float'?)` when something known is close, else the empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def models_here(known: Iterable[str]) -> str:
    """`models here: churn, fraud`, for a hint; of many the first, and how many there are."""
    names = sorted({*known})
    more = f", ... ({len(names):,} in all: gitreg list)" if len(names) > _SHOWN else ""
    return f"models here: {', '.join(names[:_SHOWN]) or 'none yet'}{more}"


def input_name(column: str) -> str:
    """What the input for a column of any name is called: `age (years)` is `age__years_`.

    Ready-made classes name their inputs so: `isolated/flavors`.
    """
    name = re.sub(r"[^A-Za-z0-9_./-]", "_", column)
    return name if re.match("[A-Za-z_]", name) else f"_{name}"


def kebab(class_name: str) -> str:
    """The model name that a class name suggests: `ChurnModel` is `churn-model`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", class_name)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def is_of_git(path: str) -> bool:
    """Returns whether a path leads into a folder `.git`, also where cases are not told apart.

    Git brings none. Whatever else brings one makes a repository, with settings that name commands.
    """
    return ".git" in path.casefold().split("/")
