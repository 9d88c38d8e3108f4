"""The documentation says what there is: commands, options, fields, links and code in it are real."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from gitreg.cli import gitreg

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
COMMANDS = (DOCS / "commands.md").read_text("utf-8")
DECLARE = (DOCS / "declare.md").read_text("utf-8")
# Every command has these; commands.md describes them once.
SHARED = {"-C", "--json", "-h", "--help"}

Block = tuple[str, str, int]


def leaves(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name: `hook install`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


LEAVES = dict(leaves(gitreg))


def named(page: Path) -> str:
    """docs/build.md"""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """(language, text, line) of every fenced block."""
    text = page.read_text("utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match[1], match[2], text.count("\n", 0, match.start()) + 1


def shell_lines(page: Path, inline: bool = True) -> Iterator[tuple[list[str], str]]:
    """The words of every documented call of gitreg, and where it stands."""
    for language, text, line in blocks(page):
        for offset, written in enumerate(text.splitlines(), 1):
            if language == "console" and written.startswith("$ "):
                yield from calls(written[2:], f"{named(page)}:{line + offset}")
    for written in re.findall(r"`(gitreg [^`\n]+)`", page.read_text("utf-8")) if inline else ():
        yield from calls(written, f"{named(page)}: {written}")


def calls(written: str, place: str) -> Iterator[tuple[list[str], str]]:
    lexer = shlex.shlex(written, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;"):
            if words[:1] == ["gitreg"]:
                yield words[1:], place
            words = []
        else:
            words.append(word)


def options(command: click.Command) -> set[str]:
    declared = {name for p in command.params if isinstance(p, click.Option) for name in p.opts}
    return declared | {name for p in command.params for name in p.secondary_opts} | {"-h", "--help"}


def section(command: str) -> str:
    """What commands.md says of one command."""
    match = re.search(rf"^## gitreg {command}$(.*?)(?=^## |\Z)", COMMANDS, re.MULTILINE | re.DOTALL)
    assert match, f"docs/commands.md has no section '## gitreg {command}'"
    return match[1]


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_every_command_is_documented_with_every_option_and_no_other(name: str) -> None:
    documented = set(
        re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", " ".join(re.findall(r"`([^`]*)`", section(name))))
    )
    assert options(LEAVES[name]) - SHARED <= documented
    assert documented <= options(LEAVES[name])


def test_every_documented_command_exists_and_the_shared_options_are_described() -> None:
    groups = {name for name, command in gitreg.commands.items() if isinstance(command, click.Group)}
    assert {*re.findall(r"^## gitreg (\S.*)$", COMMANDS, re.MULTILINE)} == {*LEAVES} | groups
    assert all(f"`{option}" in COMMANDS for option in SHARED)
    assert all(options(command) >= SHARED for command in LEAVES.values())


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_gitreg_line_uses_commands_and_options_that_exist(page: Path) -> None:
    for words, place in shell_lines(page):
        while words[:1] == ["-C"]:
            words = words[2:]
        if not words or words[0] in ("--help", "-h", "--version", "..."):
            continue
        assert words[0] in gitreg.commands, place
        command = LEAVES.get(" ".join(words[:2])) or gitreg.commands[words[0]]
        for word in words[1:]:
            option = word.partition("=")[0]
            assert not re.match(r"--?[a-zA-Z]", option) or option in options(command), f"{place}: {option}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_console_line_is_understood_by_click(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are parsed as the command line would parse them, and not run."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)  # it need not exist
    monkeypatch.setattr("os.chdir", lambda folder: None)
    monkeypatch.setenv("GITREG_ENV", "current")  # `--env` sets it, and no other test is to run by it
    for words, place in shell_lines(page, inline=False):
        try:
            command = gitreg.commands.get(words[0])
            if command:
                command.make_context(words[0], words[1:])
        except click.exceptions.Exit:
            pass  # --help
        except click.UsageError as error:
            pytest.fail(f"{place}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_python_block_compiles(page: Path) -> None:
    for language, text, line in blocks(page):
        if language == "python":
            compile("\n" * line + text, named(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_json_and_yaml_block_can_be_read(page: Path) -> None:
    import yaml

    for language, text, _ in blocks(page):
        if language == "json":
            json.loads(text)
        elif language == "yaml":
            yaml.safe_load(text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_resolves(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists() and linked.is_relative_to(ROOT), f"{named(page)}: {target}"
        assert not anchor or anchor in anchors(linked), f"{named(page)}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_listed_and_numbered_once() -> None:
    records = sorted(path.name for path in (DOCS / "adr").glob("*.md"))
    listed = re.findall(r"\]\(adr/([^)]+)\)", (DOCS / "README.md").read_text("utf-8"))
    assert listed == records
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))


def test_every_guide_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    assert [
        page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"]({page.name})" not in index
    ] == []


def fields(schema: Any) -> Iterator[str]:
    """Every property name in a JSON Schema, however deep."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "properties" and isinstance(value, dict):
                yield from value
                yield from fields(list(value.values()))
            else:
                yield from fields(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from fields(value)


def test_every_field_of_a_manifest_is_described() -> None:
    schema = json.loads((ROOT / "schemas" / "model.schema.json").read_text("utf-8"))
    words = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`\n]+)`", DECLARE))))
    assert set(fields(schema)) - words == set()
    values = {*schema["properties"]["type"]["enum"], *schema["$defs"]["data_type"]["enum"]}
    assert values - words == set()


def test_every_field_of_registry_yaml_is_described() -> None:
    schema = json.loads((ROOT / "schemas" / "registry.schema.json").read_text("utf-8"))
    words = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`\n]+)`", DECLARE))))
    top = set(schema["properties"]) | set(fields(schema["properties"]))
    assert top - words == set()


def test_the_public_names_of_the_package_are_described() -> None:
    import gitreg as package

    text = (DOCS / "python.md").read_text("utf-8")
    assert [name for name in package.__all__ if name not in text and name != "__version__"] == []
