"""The rooms of the house and the one way imports go: DOOR -> WORK -> HAND -> DISK -> RULE -> WORD."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gitreg

HOUSE = Path(gitreg.__file__).parent
ORDER = ("DOOR", "WORK", "HAND", "DISK", "RULE", "WORD")
ROOMS = {
    "DOOR": "__init__ __main__ cli",
    "WORK": "registry repository worktree workbench builder gather fragment references checker packager loader verifier starter scaffold origins updater inference detection scanning snapshot planner jobs rules doors review effects uncommitted outlook touched locked layout audit pins overtaken rendering needs applier promoter bumper resolver warden doctor fsck clones places load shelf loaded puller provenance demands site known reproducer evaluator converter heldout metricsfile readable catalog contents indexer records searcher cleaning outputs neighbours ownership virtualenvs installers piprunner live policies",
    "HAND": "manifest datafiles git store source isolation memo ledger server forge caches dvcsettings pipelines index",
    "DISK": "inside folders keeping safewrite file_search treefiles ports trees",
    "RULE": "documents dvcconfig schema imports packages globs reach numerals npz zips formats protobufs opcodes beside endings flavors mlmodel stagefile history plan compatibility gates patterns clauses edits sheet inputs required sections requirements query fields values comparison graph columns measures environment tasks elements tritonlog entries bounds dvckeys",
    "WORD": "names versions model declared desired recorded tagobjects errors reports version addresses redaction catalogued plaindata printed marking tagspace",
    "CARRIED": "isolated",
}
ROOM = {name: room for room, names in ROOMS.items() for name in names.split()}
FILES = sorted(file for file in HOUSE.rglob("*.py") if "templates" not in file.parts)
SYNTAX = {file: ast.parse(file.read_bytes()) for file in FILES}


def owner(file: Path) -> str:
    """`cli` of gitreg/cli/output.py, `store` of gitreg/store.py."""
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported(syntax: ast.Module) -> Iterator[str]:
    """Dotted names of all imports, those in functions and under TYPE_CHECKING included."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module
            whole = node.module == "gitreg"
            yield from (f"gitreg.{alias.name}" for alias in node.names) if whole else [node.module]


def test_every_module_has_a_room() -> None:
    assert {owner(file) for file in FILES} - set(ROOM) == set()


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(HOUSE).as_posix())
def test_imports_go_down_and_never_up(file: Path) -> None:
    me, room = owner(file), ROOM[owner(file)]
    for name in imported(SYNTAX[file]):
        parts = name.split(".")
        if parts[0] != "gitreg" or room == "CARRIED":
            continue
        other = parts[1] if len(parts) > 1 and parts[1] in ROOM else "__init__"
        if ROOM[other] == "CARRIED" or other == me:
            continue
        step = ORDER.index(ROOM[other]) - ORDER.index(room)
        assert step > 0 or (step == 0 and room != "HAND"), f"{room} {me} imports {ROOM[other]} {other}"


def test_what_packages_carry_needs_nothing_but_numpy_and_triton() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "triton_python_backend_utils"}
    for file in [HOUSE / "model.py", *(HOUSE / "isolated").glob("*.py")]:
        # The child's `import gitreg` is the package's own copy of model.py.
        extra = {"gitreg"} if file.name == "child.py" else set()
        assert {name.partition(".")[0] for name in imported(SYNTAX[file])} <= allowed | extra, file.name


def test_flavors_need_nothing_but_numpy_and_their_framework_and_that_late() -> None:
    folders = (HOUSE / "isolated" / name for name in ("flavors", "converters"))
    for file in [file for folder in folders for file in folder.glob("*.py")]:
        early = [node for node in SYNTAX[file].body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {name.partition(".")[0] for name in imported(ast.Module(early, []))}
        assert names <= {*sys.stdlib_module_names, "numpy", "gitreg"}, file.name
        whole = {name for name in imported(SYNTAX[file]) if name.partition(".")[0] == "gitreg"}
        assert whole <= ({"gitreg.Model"} if file.name == "__init__.py" else set()), file.name


def test_rules_do_no_input_or_output() -> None:
    touching = {
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "iterdir",
        "glob",
        "stat",
        "exists",
        "is_file",
    }
    for file in (f for f in FILES if ROOM[owner(f)] in ("RULE", "WORD")):
        assert not {"os", "io", "shutil", "subprocess", "sqlite3", "socket"} & set(imported(SYNTAX[file])), (
            file
        )
        own = [n for n in ast.walk(SYNTAX[file]) if isinstance(n, ast.FunctionDef) and n.name == "own_file"]
        allowed = {id(inner) for function in own for inner in ast.walk(function)}
        for node in (n for n in ast.walk(SYNTAX[file]) if isinstance(n, ast.Call) and id(n) not in allowed):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            builtin = isinstance(node.func, ast.Name) and called == "open"
            assert not builtin and called not in touching, f"{file.name}:{node.lineno}"


def test_one_place_starts_git() -> None:
    """It says which repository is meant; Git itself would find one that a pull request made."""
    for file in FILES:
        for node in (n for n in ast.walk(SYNTAX[file]) if isinstance(n, (ast.List, ast.Tuple))):
            if node.elts and isinstance(node.elts[0], ast.Constant) and node.elts[0].value == "git":
                words = ast.unparse(node)
                said = "safe.bareRepository" in words or "_SAFE" in words or "start" in words
                # What GitPython is given, `client` makes anew.
                given = file.stem in ("refs", "transactions")
                assert owner(file) == "git" and (said or given), f"{file.name}:{node.lineno}"


def test_only_the_command_line_prints() -> None:
    for file in (f for f in FILES if owner(f) != "cli"):
        for node in (n for n in ast.walk(SYNTAX[file]) if isinstance(n, ast.Call)):
            assert ast.unparse(node.func) not in ("print", "click.echo", "sys.stdout.write"), (
                f"{file.name}:{node.lineno}"
            )


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(HOUSE).as_posix())
def test_no_file_has_450_lines(file: Path) -> None:
    assert len(file.read_text().splitlines()) < 450


def test_what_is_public_says_what_it_is_for() -> None:
    """Setters go without, and what packages carry: each byte of it is in their digests."""
    silent = [
        f"{file.name}: {node.name}"
        for file in FILES
        if owner(file) != "isolated"
        for home in (SYNTAX[file], *(n for n in SYNTAX[file].body if isinstance(n, ast.ClassDef)))
        if not getattr(home, "name", "").startswith("_")
        for node in home.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not any(ast.unparse(one).endswith((".setter", "overload")) for one in node.decorator_list)
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_command_line_starts_without_what_is_slow_to_import() -> None:
    code = "import gitreg.cli, sys; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"dvc", "git", "numpy", "jsonschema", "yaml", "rich", "google", "packaging"} & set(
        loaded.split()
    )


def test_a_framework_is_imported_by_nobody_but_who_uses_it() -> None:
    code = "import gitreg.loader, gitreg.flavors, gitreg.registry, gitreg.converter, gitreg.packages.native, sys;"
    code += "print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    frameworks = {"onnxruntime", "sklearn", "skops", "xgboost", "lightgbm", "torch", "mlflow", "tensorflow"}
    more = {"keras", "transformers", "onnx", "skl2onnx", "onnxmltools", "pandas", "scipy"}
    assert not (frameworks | more) & set(loaded.split())


def test_every_public_name_resolves_and_no_other() -> None:
    assert sorted(gitreg.__all__) == sorted(dir(gitreg)) == sorted({*gitreg.__all__})
    for name in gitreg.__all__:
        assert getattr(gitreg, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = gitreg.nothing


def test_one_file_prints() -> None:
    """What it prints is harmless, whoever wrote it: see `gitreg.printed`."""
    prints = {"echo", "secho", "echo_via_pager", "print"}
    found = set()
    for file, syntax in SYNTAX.items():
        for node in ast.walk(syntax):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "attr", getattr(called, "id", ""))
            of = ast.unparse(called.value) if isinstance(called, ast.Attribute) else ""
            if (name in prints and of not in ("console",)) or (
                name == "write" and of in ("sys.stdout", "sys.stderr")
            ):
                found.add(file.relative_to(HOUSE).as_posix())
    assert {name for name in found if not name.startswith("isolated/")} == {"cli/output.py"}


def test_several_messages_are_given_apart() -> None:
    """An error of joined lines would be printed as one, with its line breaks spelled out."""
    for file, syntax in SYNTAX.items():
        for node in ast.walk(syntax):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                assert not ast.unparse(node.exc.args[0]).startswith("'\\n'.join("), f"{file}:{node.lineno}"
