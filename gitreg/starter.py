"""Makes a registry of a folder (`gitreg init`), and answers what the workflows that it makes ask."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitreg import folders, git, neighbours, safewrite, store
from gitreg.errors import Refused
from gitreg.git import discovery, refs
from gitreg.manifest import REGISTRY_FILE, read_registry, schema_folder
from gitreg.names import prefix_mistake
from gitreg.packages import yaml_bytes

_TEMPLATES = Path(__file__).parent / "templates"
WORKFLOWS = ("pull-request", "merge", "tags")


@dataclass
class Made:
    """What was made.

    Attributes:
        top: of the repository; the root itself by default.
        made: paths relative to the registry's root, in order.
        kept: paths that were there already and were left alone.
        added: paths that were there already and got this registry's entries beside those of others.
    """

    root: Path
    top: Path | None = None
    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    def write(self, file: str, text: str | bytes) -> None:
        """Write a file, unless there is one."""
        top = self.top or self.root
        path = Path(os.path.normpath(self.root / file))
        if os.path.lexists(path):
            self.kept.append(file)
            return
        safewrite.create(top, path, text.encode() if isinstance(text, str) else text)
        self.made.append(file)

    def add(self, file: str, text: str, added: Callable[[str], str | None]) -> None:
        """Write a file; in one that is there, what another registry wrote stays.

        Args:
            added: the text that there is -> the same with what is missing; None where nothing is, or where it
                cannot be added.
        """
        path = Path(os.path.normpath(self.root / file))
        new = None
        if path.is_file() and not path.is_symlink():
            with suppress(UnicodeDecodeError):  # it cannot be added
                new = added(path.read_text("utf-8"))
        if new is None:
            self.write(file, text)
            return
        safewrite.replace(self.top or self.root, path, new.encode())
        self.added.append(file)


def init(folder: Path, name: str | None = None) -> Made:
    """Make a registry that passes `check` in a folder; in one that is there, add what is missing.

    Raises:
        Outside: Git or DVC refuses.
        Refused: other registries in the repository leave no prefix for the tags of this one.
    """
    if "${{" in os.fspath(folder.absolute()):
        raise Refused(f"{folder}: GitHub fills in what follows '${{{{' in workflows that name it")
    with folders.disk(folder.absolute()):
        folder.mkdir(parents=True, exist_ok=True)
        return _init(folder.resolve(), name)


def _init(root: Path, name: str | None) -> Made:
    discovery.refuse_planted(root)
    made = Made(root)
    top = git.top(root)
    prefix = _prefix(root, top) if top else ""
    if top is None:
        git.init(root)
        made.made.append(".git/")
    else:
        made.kept.append(".git/")
    top = made.top = top or root
    if (root / ".dvc").is_dir():
        made.kept.append(".dvc/")
    else:
        safewrite.refuse_links(root, ".dvc", ".dvcignore")
        store.init(root, subdirectory=top != root)
        made.made.append(".dvc/")
    text = template("registry.yaml").format(name=yaml_word(name or root.name))
    if prefix:
        line = "models: models/*/model.yaml\n"
        text = _filled(text, {line: f"{line}tags: {{prefix: {yaml_word(prefix)}}}\n"})
    made.write("registry.yaml", text)
    file = read_registry(root)
    for stage in file.stages:
        made.write(f"stages/{stage}.yaml", template("stage.yaml").format(stage=stage))
    for schema in sorted(schema_folder().glob("*.schema.json")):
        made.write(f"schemas/{schema.name}", schema.read_bytes())
    made.write("models/.gitkeep", "")
    _for_the_repository(made, top, file.prefix)
    made.write(".gitignore", "/dist\n__pycache__/\n*.pyc\n.venv/\n")
    return made


def _prefix(root: Path, top: Path) -> str:
    """The prefix of the tags of a registry that is made: its folder, where there are other registries.

    Raises:
        Refused: it needs one and can have none.
    """
    own = "" if root == top else root.relative_to(top).as_posix()
    found = neighbours.here(top, neighbours.tracked(top, own, untracked=True))
    if not found or (root / REGISTRY_FILE).exists():
        return ""
    why = prefix_mistake(own) if own else "it lies at the top of the repository"
    if why is None:
        return own
    bare = next((one for one in found if not one.prefix), None)
    if bare is None:
        return ""  # one registry may do without
    hint = f"`tags: {{prefix: {bare.folder}}}` in {bare.file}, or init in another folder"
    if not bare.folder or prefix_mistake(bare.folder):
        hint = "init in another folder"
    raise Refused(
        f"{bare.file} is a registry of this repository whose tags have no prefix, and those of a registry in "
        f"{own or 'its top'} can have none: {why}",
        hint,
    )


def _for_the_repository(made: Made, top: Path, prefix: str) -> None:
    """The files that GitHub and pre-commit look for, which they do at the repository's top alone.

    Args:
        prefix: of the registry's tags; with one it shares these files with other registries.
    """
    up = "" if top == made.root else Path(os.path.relpath(top, made.root)).as_posix() + "/"
    below = "" if top == made.root else made.root.relative_to(top).as_posix() + "/"
    for name in WORKFLOWS:
        text = workflow(name, branch(made.root), below, prefix)
        made.write(f"{up}.github/workflows/{_workflow_file(top, name, prefix, text)}", text)
    # A space or `#` would end a path there.
    word = re.sub(r"[\s#\\]", r"\\\g<0>", below)
    owners = re.sub(r"^# /(?!\.github)", lambda found: found[0] + word, template("CODEOWNERS"), flags=re.M)
    made.add(f"{up}.github/CODEOWNERS", owners, lambda old: _with_owners(old, owners, word, prefix))
    there = ["-C", below[:-1]] if below else []
    changes = {
        "entry: gitreg check": f"entry: {yaml_word(shlex.join(['gitreg', 'check', *there]))}",
        "files: ^(": f"files: ^{re.escape(below)}(",
    }
    if prefix:
        changes["id: gitreg-check\n"] = f"id: gitreg-check-{_slug(prefix)}\n"
        changes["name: gitreg check\n"] = f"name: gitreg check ({prefix})\n"
    hook = _filled(template("pre-commit-config.yaml"), changes)
    made.add(f"{up}.pre-commit-config.yaml", hook, lambda old: _with_hook(old, hook, prefix))


def _slug(prefix: str) -> str:
    return prefix.replace("/", "-")


def _workflow_file(top: Path, name: str, prefix: str, text: str) -> str:
    """The name of a workflow's file: after the folder of a registry that has a prefix."""
    if not prefix:
        return f"gitreg-{name}.yml"
    file = f"gitreg-{_slug(prefix)}-{name}.yml"
    there = top / ".github" / "workflows" / file
    where = re.search(r"^ *working-directory: .*$", text, re.MULTILINE)
    if there.is_file() and where and where[0] not in there.read_text("utf-8", "replace"):
        # `ml/x` and `ml-x` are two folders.
        file = f"gitreg-{_slug(prefix)}-{hashlib.sha256(prefix.encode()).hexdigest()[:8]}-{name}.yml"
    return file


def _with_owners(old: str, owners: str, below: str, prefix: str) -> str | None:
    """CODEOWNERS with the paths of one more registry; None where it has them."""
    if not prefix or f"/{below}registry.yaml" in old:
        return None
    lines = [line for line in owners.splitlines() if line.startswith(f"# /{below}")]
    return "\n".join([old.rstrip("\n"), "#", f"# The registry in {prefix}:", *lines, ""])


def _with_hook(old: str, hook: str, prefix: str) -> str | None:
    """pre-commit's configuration with one more hook at its end; None where it has it, or takes none."""
    from gitreg.documents import parse

    def repositories(text: str) -> list[Any]:
        document, problems = parse(text.encode(), ".pre-commit-config.yaml")
        data = document.data if isinstance(document.data, dict) and not problems else {}
        found = data.get("repos")
        return found if isinstance(found, list) else []

    name = f"gitreg-check-{_slug(prefix)}"
    last = re.findall(r"^([A-Za-z_]+):", old, re.MULTILINE)[-1:]
    indent = re.search(r"^( *)- +repo:", old, re.MULTILINE)
    if not prefix or re.search(rf"id: {re.escape(name)}$", old, re.M) or last != ["repos"] or not indent:
        return None
    block = hook.partition("\n")[2]
    own = len(block) - len(block.lstrip(" "))
    lines = [f"{indent[1]}{line[own:]}" if line else "" for line in block.splitlines()]
    new = "\n".join([old.rstrip("\n"), *lines, ""])
    (mine,) = repositories(hook)
    return new if repositories(new) == [*repositories(old), mine] else None


def branch(root: Path) -> str:
    """The branch whose files count, as far as can be told here."""
    return refs.default_branch(root, refs.default_remote(root))


def workflow(name: str, branch: str = "main", below: str = "", prefix: str = "") -> str:
    """A workflow for GitHub, of `WORKFLOWS`.

    Args:
        branch: what pull requests are merged into.
        below: where in its repository the registry lies; empty for the top.
        prefix: of the registry's tags; with one there are workflows of other registries beside this.
    """
    # What stands for other things in GitHub's patterns and may be in the name of a branch.
    word = re.sub(r"[+!]", lambda found: f"\\{found[0]}", branch)
    changes = {"working-directory: .": f"working-directory: {yaml_word(below[:-1] or '.')}"}
    if prefix:
        title = f"name: gitreg {name.replace('-', ' ')}\n"
        changes[title] = f"{title[:-1]} ({prefix})\n"
        changes |= {
            "pull-request": {"group: gitreg-": f"group: gitreg-{_slug(prefix)}-"},
            "tags": {'tags: ["**@**", "**#**"]': f'tags: ["{prefix}=**@**", "{prefix}=**#**"]'},
        }.get(name, {})
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
