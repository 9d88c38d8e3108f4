"""Which imports a module makes, read off its syntax tree: what runs on import or in a function. No I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Import:
    """One import as written.

    Attributes:
        name: absolute dotted name, or None when it cannot be known (`reason` says why).
        members: names taken from it, each maybe a submodule.
        guarded: inside `try` with a handler for ImportError; its absence is planned for.
        attribute: whether the last part may be an attribute and no module.
    """

    name: str | None
    line: int
    column: int
    members: tuple[str, ...] = ()
    guarded: bool = False
    attribute: bool = False
    reason: str = ""


# A module whose text has none of these calls nothing that imports.
CALLS = (b"import_module", b"__import__", b"files")
_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def imports(syntax: ast.Module, module: str, is_package: bool, calls: bool = True) -> list[Import]:
    """The imports of a module, in the order of its text.

    Args:
        module: its dotted name, for relative imports.
        is_package: whether it is a package's `__init__`.
        calls: whether expressions are looked into for calls that import; most of a tree is expressions.
    """
    finder = _Finder(module, is_package)
    # A stack of our own: expressions may be nested deeper than Python's allows.
    todo: list[tuple[ast.AST, bool]] = [(syntax, False)]
    while todo:
        node, guarded = todo.pop()
        below = finder.look(node, guarded)
        if not calls:
            below = [(child, planned) for child, planned in below if isinstance(child, _STATEMENTS)]
        todo.extend(reversed(below))
    return finder.found


class _Finder:
    """Collects the imports that run when a module is imported or its functions are called."""

    def __init__(self, module: str, is_package: bool) -> None:
        self.package = module if is_package else module.rpartition(".")[0]
        self.found: list[Import] = []
        self.importers = {"import_module", "__import__"}

    def look(self, node: ast.AST, guarded: bool) -> list[tuple[ast.AST, bool]]:
        """Note what a node imports; the nodes to look at next, and whether they are guarded."""
        if isinstance(node, ast.If):
            return [(child, guarded) for child in _running(node)]
        if isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
            return _try(node, guarded)
        if isinstance(node, (ast.With, ast.AsyncWith)):
            guarded = guarded or any(_suppresses_import_error(item.context_expr) for item in node.items)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                self.add(node, alias.name, guarded)
        elif isinstance(node, ast.ImportFrom):
            self.import_from(node, guarded)
        elif isinstance(node, ast.Assign):
            self.all_names(node, guarded)
        elif isinstance(node, ast.Call):
            self.call(node, guarded)
        return [(child, guarded) for child in ast.iter_child_nodes(node)]

    def add(
        self,
        node: ast.AST,
        name: str | None,
        guarded: bool,
        members: Iterable[str] = (),
        reason: str = "",
        attribute: bool = False,
    ) -> None:
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1
        self.found.append(Import(name, line, column, tuple(members), guarded, attribute, reason))

    def import_from(self, node: ast.ImportFrom, guarded: bool) -> None:
        """`from x import y`."""
        base = self.absolute(node.module or "", node.level)
        if base is None:
            self.add(node, None, guarded, reason="a relative import that leaves its top-level package")
            return
        self.add(node, base, guarded, [alias.name for alias in node.names if alias.name != "*"])
        if node.module == "importlib":
            self.importers |= {a.asname for a in node.names if a.asname and a.name == "import_module"}

    def absolute(self, name: str, level: int, package: str | None = None) -> str | None:
        """The full name of a relative import; None above the top-level package."""
        if level == 0:
            return name
        parts = (self.package if package is None else package).split(".")
        if level > len(parts) or not parts[0]:
            return None
        kept = parts[: len(parts) - level + 1]
        return ".".join([*kept, *([name] if name else [])])

    def all_names(self, node: ast.Assign, guarded: bool) -> None:
        """`__all__` names what a star import brings, and so may name submodules."""
        lists_names = any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        if lists_names and self.package and isinstance(node.value, (ast.List, ast.Tuple)):
            names = [_literal(element) for element in node.value.elts]
            self.add(node, self.package, guarded, [name for name in names if name.isidentifier()])

    def call(self, node: ast.Call, guarded: bool) -> None:
        """A call that imports by name."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        keywords = {k.arg: k.value for k in node.keywords}
        first = node.args[0] if node.args else keywords.get("name")
        if first is None:
            return
        if name in self.importers:
            second = node.args[1] if len(node.args) > 1 else keywords.get("package")
            self.dynamic(node, name, first, second, guarded)
        elif name == "files" and _literal(first).replace(".", "_").isidentifier():
            # importlib.resources.files("package"): its data files are wanted.
            self.add(node, _literal(first), guarded, attribute=True)

    def dynamic(
        self, node: ast.Call, function: str, first: ast.expr, second: ast.expr | None, guarded: bool
    ) -> None:
        """`import_module("a.b")`, `import_module(".b", "a")`, `__import__("a")`."""
        said = _literal(first)
        if not said:
            self.add(node, None, guarded, reason=f"{function}() of a computed name cannot be followed")
            return
        dots = len(said) - len(said.lstrip("."))
        # `__package__` and the like mean the package that the module is in.
        package = _literal(second) or None if second is not None else None
        name = self.absolute(said[dots:], dots, package)
        if name is None:
            self.add(node, None, guarded, reason=f"{function}({said!r}) leaves its top-level package")
        else:
            self.add(node, name, guarded)


def _running(node: ast.If) -> list[ast.AST]:
    """The branches of an `if` that may run where a package is loaded."""
    test, negated = node.test, False
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, negated = test.operand, True
    if _is_type_checking(test) or (_is_main_guard(test) and not negated):
        return [*(node.body if negated else node.orelse)]
    return [node.test, *node.body, *node.orelse]


def _try(node: Any, guarded: bool) -> list[tuple[ast.AST, bool]]:
    planned = guarded or any(_catches_import_error(handler.type) for handler in node.handlers)
    rest = [*node.handlers, *node.orelse, *node.finalbody]
    return [(child, planned) for child in node.body] + [(child, guarded) for child in rest]


def _suppresses_import_error(call: ast.expr) -> bool:
    """Whether a `with` item is `suppress(ImportError)`."""
    if not isinstance(call, ast.Call):
        return False
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    return name == "suppress" and any(_catches_import_error(argument) for argument in call.args)


def _literal(node: ast.expr) -> str:
    """The string that an expression plainly is, else the empty string."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_main_guard(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and isinstance(test.ops[0], ast.Eq)
    )


def _catches_import_error(caught: ast.expr | None) -> bool:
    """Whether `except <caught>` catches ImportError; a bare `except` catches all."""
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    known = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")
    return caught is None or any(getattr(n, "id", getattr(n, "attr", "")) in known for n in names)


def top_level_names(syntax: ast.Module) -> set[str]:
    """Names that a module may define, wherever outside of functions and classes they stand."""
    names: set[str] = set()
    todo: list[ast.AST] = [*syntax.body]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            todo.extend(ast.iter_child_nodes(node))
    return names
