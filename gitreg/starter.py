"""Makes a registry of a folder (`gitreg init`), and answers what the workflows that it makes ask."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gitreg import git, safewrite, store
from gitreg.git import discovery, refs
from gitreg.manifest import read_registry, schema_folder
from gitreg.packages import yaml_bytes

if TYPE_CHECKING:
    pass

_TEMPLATES = Path(__file__).parent / "templates"
WORKFLOWS = ("pull-request", "merge", "tags")


@dataclass
class Made:
    """What was made.

    Attributes:
        top: of the repository; the root itself by default.
        made: paths relative to the registry's root, in order.
        kept: paths that were there already and were left alone.
    """

    root: Path
    top: Path | None = None
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def write(self, file: str, text: str | bytes) -> None:
        """Write a file, unless there is one."""
        top = self.top or self.root
        path = Path(os.path.normpath(self.root / file))
        if os.path.lexists(path):
            self.kept.append(file)
            return
        safewrite.create(top, path, text.encode() if isinstance(text, str) else text)
        self.made.append(file)


def init(folder: Path, name: str | None = None) -> Made:
    """Make a registry that passes `check` in a folder; in one that is there, add what is missing.

    Raises:
        Outside: Git or DVC refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = folder.resolve()
    discovery.refuse_planted(root)
    made = Made(root)
    if git.top(root) is None:
        git.init(root)
        made.made.append(".git/")
    else:
        made.kept.append(".git/")
    top = made.top = git.top(root) or root
    if (root / ".dvc").is_dir():
        made.kept.append(".dvc/")
    else:
        safewrite.refuse_links(root, ".dvc", ".dvcignore")
        store.init(root, subdirectory=top != root)
        made.made.append(".dvc/")
    made.write("registry.yaml", template("registry.yaml").format(name=yaml_word(name or root.name)))
    for stage in read_registry(root).stages:
        made.write(f"stages/{stage}.yaml", template("stage.yaml").format(stage=stage))
    for schema in sorted(schema_folder().glob("*.schema.json")):
        made.write(f"schemas/{schema.name}", schema.read_bytes())
    made.write("models/.gitkeep", "")
    _for_the_repository(made, top)
    made.write(".gitignore", "/dist/\n__pycache__/\n*.pyc\n.venv/\n")
    return made


def _for_the_repository(made: Made, top: Path) -> None:
    """The files that GitHub and pre-commit look for, which they do at the repository's top alone."""
    up = "" if top == made.root else Path(os.path.relpath(top, made.root)).as_posix() + "/"
    below = "" if top == made.root else made.root.relative_to(top).as_posix() + "/"
    for name in WORKFLOWS:
        made.write(f"{up}.github/workflows/gitreg-{name}.yml", workflow(name, branch(made.root), below))
    made.write(
        f"{up}.github/CODEOWNERS",
        # A space or `#` would end a path there.
        re.sub(
            r"^# /(?!\.github)",
            lambda found: found[0] + re.sub(r"[\s#\\]", r"\\\g<0>", below),
            template("CODEOWNERS"),
            flags=re.M,
        ),
    )
    there = ["-C", below[:-1]] if below else []
    hook = _filled(
        template("pre-commit-config.yaml"),
        {
            "entry: gitreg check": f"entry: {yaml_word(shlex.join(['gitreg', 'check', *there]))}",
            "files: ^(": f"files: ^{re.escape(below)}(",
        },
    )
    made.write(f"{up}.pre-commit-config.yaml", hook)


def branch(root: Path) -> str:
    """The branch whose files count, as far as can be told here."""
    return refs.default_branch(root, refs.default_remote(root))


def workflow(name: str, branch: str = "main", below: str = "") -> str:
    """A workflow for GitHub, of `WORKFLOWS`.

    Args:
        branch: what pull requests are merged into.
        below: where in its repository the registry lies; empty for the top.
    """
    # What stands for other things in GitHub's patterns and may be in the name of a branch.
    word = re.sub(r"[+!]", lambda found: f"\\{found[0]}", branch)
    changes = {"working-directory: .": f"working-directory: {yaml_word(below[:-1] or '.')}"}
    if name == "merge":
        changes["branches: [main]"] = f"branches: [{yaml_word(word)}]"
    return _filled(template(f"gitreg-{name}.yml"), changes)


def template(name: str) -> str:
    """A file that others are made from."""
    return (_TEMPLATES / name).read_text("utf-8")


def _filled(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def yaml_word(text: str) -> str:
    """Text as YAML writes it in one line, in quotes where it needs them."""
    return yaml_bytes([text]).decode().strip()[1:-1]


# What workflows ask ------------------------------------------------------------------------------
