"""Which imports a module makes, read off its syntax tree: what runs on import or in a function. No I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass


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


def imports(syntax: ast.Module, module: str, is_package: bool) -> list[Import]:
    """The imports of a module, in the order of its text.

    Args:
        module: its dotted name, for relative imports.
        is_package: whether it is a package's `__init__`.
    """
    finder = _Finder(module, is_package)
    finder.visit(syntax)
    return finder.found


class _Finder(ast.NodeVisitor):
    """Collects the imports that run when a module is imported or its functions are called."""

    def __init__(self, module: str, is_package: bool) -> None:
        self.package = module if is_package else module.rpartition(".")[0]
        self.found: list[Import] = []
        self.guards = 0

    def add(
        self,
        node: ast.AST,
        name: str | None,
        members: Iterable[str] = (),
        reason: str = "",
        attribute: bool = False,
    ) -> None:
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1
        self.found.append(Import(name, line, column, tuple(members), self.guards > 0, attribute, reason))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.absolute(node.module or "", node.level)
        if base is None:
            self.add(node, None, reason="a relative import that leaves its top-level package")
        else:
            self.add(node, base, [alias.name for alias in node.names if alias.name != "*"])

    def absolute(self, name: str, level: int) -> str | None:
        if level == 0:
            return name
        parts = self.package.split(".") if self.package else []
        if level > len(parts):
            return None
        kept = parts[: len(parts) - level + 1]
        return ".".join([*kept, *([name] if name else [])])

    def visit_If(self, node: ast.If) -> None:
        test, negated = node.test, False
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, negated = test.operand, True
        if _is_type_checking(test) or (_is_main_guard(test) and not negated):
            for child in node.body if negated else node.orelse:
                self.visit(child)
        else:
            self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        planned = any(_catches_import_error(handler) for handler in node.handlers)
        self.guards += planned
        for statement in node.body:
            self.visit(statement)
        self.guards -= planned
        for other in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(other)

    def visit_Assign(self, node: ast.Assign) -> None:
        """`__all__` names what a star import brings, and so may name submodules."""
        lists_names = any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        if lists_names and self.package and isinstance(node.value, (ast.List, ast.Tuple)):
            names = [_literal(element) for element in node.value.elts]
            self.add(node, self.package, [name for name in names if name.isidentifier()])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("import_module", "__import__") and node.args:
            self.dynamic(node, name)
        elif name == "files" and node.args and _literal(node.args[0]).replace(".", "_").isidentifier():
            # importlib.resources.files("package"): its data files are wanted.
            self.add(node, _literal(node.args[0]), attribute=True)
        self.generic_visit(node)

    def dynamic(self, node: ast.Call, function: str) -> None:
        first = node.args[0]
        if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
            self.add(node, None, reason=f"{function}() of a computed name cannot be followed")
            return
        dots = len(first.value) - len(first.value.lstrip("."))
        name = self.absolute(first.value[dots:], dots)
        if name is None:
            self.add(node, None, reason=f"{function}({first.value!r}) leaves its top-level package")
        else:
            self.add(node, name)


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


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
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
