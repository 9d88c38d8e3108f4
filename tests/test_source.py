"""Bundling: which files a model class needs, read off the source tree without running it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gitreg.errors import InvalidFiles, Refused
from gitreg.source import Bundle, Tree, bundle

CLASS = "\nclass App: ...\n"
Follow = Callable[..., Bundle]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def follow(tmp_path: Path) -> Follow:
    """Write files and bundle `app.App` (or another class) from them."""

    def follow(
        files: dict[str, str],
        model_class: str = "app.App",
        prefixes: Sequence[str] = (),
        roots: Sequence[str] = ("",),
        hidden: Sequence[str] = (),
        visible: set[str] | None = None,
    ) -> Bundle:
        write(tmp_path, files)
        tree = Tree(
            tuple(tmp_path / root if root else tmp_path for root in roots),
            base=tmp_path,
            inside=tmp_path.resolve(),
            visible=visible,
            hidden=tuple(tmp_path / h for h in hidden),
        )
        return bundle(model_class, tree, prefixes)

    return follow


def told(found: Bundle) -> list[str]:
    return [str(warning) for warning in found.warnings]


# What is followed: the modules of the tree, the code of `app`, the modules that are bundled with it.
FOLLOWED: dict[str, tuple[list[str], str, list[str]]] = {
    "import": (["util.py"], "import util", ["util.py"]),
    "imports of imports": (["util.py:import deep", "deep.py"], "import util", ["deep.py", "util.py"]),
    "import with a package's __init__": (
        ["a/__init__.py", "a/b/__init__.py", "a/b/c.py", "a/other.py"],
        "import a.b.c",
        ["a/__init__.py", "a/b/__init__.py", "a/b/c.py"],
    ),
    "what a parent's __init__ imports": (
        ["a/__init__.py:from . import base", "a/base.py", "a/b.py"],
        "import a.b",
        ["a/__init__.py", "a/b.py", "a/base.py"],
    ),
    "import a.b as c": (["a/__init__.py", "a/b.py"], "import a.b as c", ["a/__init__.py", "a/b.py"]),
    "from a import submodule": (
        ["a/__init__.py", "a/b.py", "a/c.py"],
        "from a import b, NAME",
        ["a/__init__.py", "a/b.py"],
    ),
    "a package without __init__": (["a/b.py", "a/c.py"], "from a import b", ["a/b.py"]),
    "deep packages without __init__": (["a/b/c.py"], "import a.b.c", ["a/b/c.py"]),
    "in a function": (["util.py"], "def f():\n    import util", ["util.py"]),
    "in a method": (["util.py"], "class A:\n    def f(self):\n        from util import x", ["util.py"]),
    "under a condition": (["util.py"], "import os\nif os.name:\n    import util", ["util.py"]),
    "under TYPE_CHECKING": (
        ["util.py", "other.py"],
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import util\nelse:\n    import other",
        ["other.py"],
    ),
    "under typing.TYPE_CHECKING": (
        ["util.py"],
        "import typing\nif typing.TYPE_CHECKING:\n    import util",
        [],
    ),
    "under not TYPE_CHECKING": (
        ["util.py", "other.py"],
        "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import util\nelse:\n    import other",
        ["util.py"],
    ),
    "as a main program": (
        ["util.py", "other.py"],
        'if __name__ == "__main__":\n    import util\nelse:\n    import other',
        ["other.py"],
    ),
    "import_module": (["util.py"], "import importlib\nimportlib.import_module('util')", ["util.py"]),
    "import_module by a keyword": (
        ["util.py"],
        "import importlib\nimportlib.import_module(name='util')",
        ["util.py"],
    ),
    "import_module under another name": (
        ["util.py"],
        "from importlib import import_module as load\nload('util')",
        ["util.py"],
    ),
    "__import__": (["a/__init__.py", "a/b.py"], "__import__('a.b')", ["a/__init__.py", "a/b.py"]),
    "star import with __all__": (
        ["a/__init__.py:__all__ = ['b', 'name']\nname = 1", "a/b.py", "a/c.py"],
        "from a import *",
        ["a/__init__.py", "a/b.py"],
    ),
    "circles": (["a.py:import b", "b.py:import a, app"], "import a", ["a.py", "b.py"]),
    "a guarded import that is there": (
        ["util.py"],
        "try:\n    import util\nexcept ImportError:\n    pass",
        ["util.py"],
    ),
    "standard library and installed packages": ([], "import json, os.path, numpy as np, yaml", []),
    "a comment or a string": (["util.py"], "# import util\ns = 'import util'", []),
}


@pytest.mark.parametrize(("modules", "code", "bundled"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_imports_are_followed(follow: Follow, modules: list[str], code: str, bundled: list[str]) -> None:
    files = {name: text for name, _, text in (module.partition(":") for module in modules)}
    found = follow({**files, "app.py": code + CLASS})
    assert sorted(set(found.files) - {"app.py"}) == bundled
    assert told(found) == []


RELATIVE: dict[str, tuple[str, list[str]]] = {
    "from . import b": ("from . import b", ["b"]),
    "from .b import x": ("from .b import x", ["b"]),
    "from .. import c": ("from .. import c", ["../c"]),
    "from ..d.e import x": ("from ..d.e import x", ["../d/__init__", "../d/e"]),
    "import_module('.b', __package__)": (
        "from importlib import import_module\nimport_module('.b', __package__)",
        ["b"],
    ),
    "import_module with a package": (
        "from importlib import import_module\nimport_module('.e', 'top.d')",
        ["../d/__init__", "../d/e"],
    ),
}


@pytest.mark.parametrize(("code", "bundled"), RELATIVE.values(), ids=RELATIVE.keys())
def test_relative_imports_are_followed(follow: Follow, code: str, bundled: list[str]) -> None:
    modules = ["top/__init__", "top/c", "top/d/__init__", "top/d/e", "top/sub/__init__", "top/sub/b"]
    files = {f"{name}.py": "" for name in modules}
    found = follow({**files, "top/sub/app.py": code + CLASS}, "top.sub.app.App")
    always = {"top/__init__.py", "top/sub/__init__.py", "top/sub/app.py"}
    expected = {f"top/{b[3:]}.py" if b.startswith("../") else f"top/sub/{b}.py" for b in bundled}
    assert set(found.files) - always == expected
    assert told(found) == []


WARNED = {
    "import nowhere_at_all": "app.py:1:1: warning: 'nowhere_at_all' is neither in the source tree nor installed here",
    "def f():\n    from nowhere.at import all": (
        "app.py:2:5: warning: 'nowhere.at' is neither in the source tree nor installed here"
    ),
    "import a.missing": "app.py:1:1: warning: 'a.missing' is not in the source tree, though 'a' is",
    "import importlib\nx = 'a'\n\nm = importlib.import_module(x)": (
        "app.py:4:5: warning: import_module() of a computed name cannot be followed"
    ),
    "__import__(f'a{1}')": "app.py:1:1: warning: __import__() of a computed name cannot be followed",
    "from . import b": "app.py:1:1: warning: a relative import that leaves its top-level package",
    "from importlib import import_module\nimport_module('nowhere')": (
        "app.py:2:1: warning: 'nowhere' is neither in the source tree nor installed here"
    ),
}


@pytest.mark.parametrize(("code", "warning"), WARNED.items())
def test_what_cannot_be_followed_is_a_warning_with_its_place(follow: Follow, code: str, warning: str) -> None:
    assert told(follow({"app.py": code + CLASS, "a/__init__.py": ""})) == [warning]


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    import nowhere\nexcept ImportError:\n    nowhere = None",
        "try:\n    import nowhere\nexcept (AttributeError, ModuleNotFoundError):\n    pass",
        "try:\n    import a.missing\nexcept Exception:\n    pass",
        "try:\n    def f():\n        import nowhere\nexcept:\n    pass",
        "from contextlib import suppress\nwith suppress(ImportError):\n    import nowhere",
    ],
)
def test_a_guarded_import_is_not_a_warning(follow: Follow, code: str) -> None:
    assert told(follow({"app.py": code + CLASS, "a/__init__.py": ""})) == []


def test_a_handler_for_something_else_is_no_guard(follow: Follow) -> None:
    found = follow({"app.py": "try:\n    import nowhere\nexcept ValueError:\n    import nowhere_too" + CLASS})
    assert [w.line for w in found.warnings] == [2, 4]


def test_the_source_tree_wins_over_the_environment(follow: Follow) -> None:
    found = follow({"app.py": "import pluggy" + CLASS, "pluggy.py": ""})
    assert (sorted(found.files), told(found)) == (["app.py", "pluggy.py"], [])


def test_the_standard_library_wins_over_the_source_tree_with_a_warning(follow: Follow) -> None:
    found = follow({"app.py": "import os, calendar" + CLASS, "calendar.py": ""})
    assert sorted(found.files) == ["app.py"]
    assert told(found) == [
        "app.py:1:1: warning: 'calendar' is the standard library's here, not the module of that name in the source tree"
    ]


def test_a_module_named_as_the_standard_librarys_is_fine_in_a_package(follow: Follow) -> None:
    files = {"pack/__init__.py": "", "pack/app.py": "from . import json\nfrom .os import x" + CLASS}
    found = follow({**files, "pack/json.py": "", "pack/os.py": ""}, "pack.app.App")
    assert sorted(found.files) == ["pack/__init__.py", "pack/app.py", "pack/json.py", "pack/os.py"]
    assert told(found) == []


def test_gitreg_itself_is_never_bundled(follow: Follow) -> None:
    found = follow({"app.py": "from gitreg import Model" + CLASS, "gitreg/__init__.py": ""})
    assert (sorted(found.files), told(found)) == (["app.py"], [])


def test_the_first_import_root_wins(follow: Follow, tmp_path: Path) -> None:
    files = {
        "one/util.py": "",
        "two/util.py": "",
        "two/more.py": "",
        "one/app.py": "import util, more" + CLASS,
    }
    found = follow(files, roots=("one", "two"))
    assert {n: f.relative_to(tmp_path).as_posix() for n, f in found.files.items()} == {
        "app.py": "one/app.py",
        "util.py": "one/util.py",
        "more.py": "two/more.py",
    }


def test_a_namespace_package_may_lie_on_several_roots(follow: Follow) -> None:
    files = {"one/ns/app.py": "from ns import b" + CLASS, "two/ns/b.py": "", "two/ns/b.json": "{}"}
    assert {"ns/app.py", "ns/b.py"} <= set(follow(files, "ns.app.App", roots=("one", "two")).files)


def test_data_files_of_a_namespace_package_come_from_every_root(follow: Follow) -> None:
    files = {"one/ns/app.py": "from ns import b" + CLASS, "two/ns/b.py": "", "two/ns/b.json": "{}"}
    assert "ns/b.json" in follow(files, "ns.app.App", roots=("one", "two")).files


def test_a_regular_package_hides_what_later_roots_hold(follow: Follow) -> None:
    files = {"one/pack/__init__.py": "", "one/app.py": "import pack.b" + CLASS, "two/pack/b.py": ""}
    found = follow(files, roots=("one", "two"))
    assert "pack/b.py" not in found.files  # python would not find it either
    assert told(found) == ["one/app.py:1:1: warning: 'pack.b' is not in the source tree, though 'pack' is"]


def test_data_files_of_bundled_packages_are_bundled(follow: Follow) -> None:
    found = follow(
        {
            "pack/__init__.py": "",
            "pack/app.py": CLASS,
            "pack/labels.json": "[]",
            "pack/data/deep/words.txt": "",
            "pack/py.typed": "",
            "pack/unused.py": "",
            "pack/app.pyi": "",
            "pack/model.bin.dvc": "",
            "pack/.secret": "",
            "pack/.hidden/file": "",
            "pack/__pycache__/app.pyc": "",
            "pack/notes.txt~": "",
            "pack/unused_package/__init__.py": "",
            "pack/unused_package/large.csv": "",
            "pack/weights/model.bin": "",
            "pack/one.bin": "",
            "beside.json": "",
            "other/__init__.py": "",
            "other/other.json": "",
        },
        "pack.app.App",
        hidden=["pack/weights", "pack/one.bin"],
    )
    assert sorted(found.files) == [
        "pack/__init__.py",
        "pack/app.py",
        "pack/data/deep/words.txt",
        "pack/labels.json",
        "pack/py.typed",
    ]


def test_data_files_that_git_ignores_are_left_out(follow: Follow) -> None:
    files = {"pack/__init__.py": CLASS, "pack/kept.json": "", "pack/ignored.json": ""}
    found = follow(files, "pack.App", visible={"pack/__init__.py", "pack/kept.json"})
    assert sorted(found.files) == ["pack/__init__.py", "pack/kept.json"]


def test_data_that_is_asked_for_by_importlib_resources_is_bundled(follow: Follow) -> None:
    code = "from importlib import resources\nresources.files('data.words')" + CLASS
    assert sorted(follow({"app.py": code, "data/words/list.txt": ""}).files) == [
        "app.py",
        "data/words/list.txt",
    ]


def test_prefixes_limit_what_is_bundled(follow: Follow) -> None:
    code = "import core.a, extra" + CLASS
    found = follow(
        {"app.py": code, "core/__init__.py": "", "core/a.py": "", "extra.py": ""}, prefixes=["core."]
    )
    assert sorted(found.files) == ["app.py", "core/__init__.py", "core/a.py"]
    assert told(found) == [
        "app.py:1:1: warning: 'extra' is left out: include_import_prefixes does not name it"
    ]


def test_a_prefix_is_a_whole_name(follow: Follow) -> None:
    found = follow({"app.py": "import corex" + CLASS, "corex.py": ""}, prefixes=["core"])
    assert sorted(found.files) == ["app.py"]


def test_a_prefix_that_names_an_installed_package_bundles_it(follow: Follow) -> None:
    found = follow({"app.py": "import iniconfig, pluggy" + CLASS}, prefixes=["app", "iniconfig"])
    assert {"app.py", "iniconfig/__init__.py", "iniconfig/exceptions.py"} <= set(found.files)
    assert not any(name.startswith("pluggy") for name in found.files)
    assert [w for w in told(found) if w.startswith("app.py")] == []


@pytest.mark.parametrize("link", ["util.py", "pack", "pack/data.json"])
def test_a_link_that_leaves_the_repository_is_refused(
    follow: Follow, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, link: str
) -> None:
    away = tmp_path_factory.mktemp("away")
    write(away, {"util.py": "", "pack/__init__.py": "", "pack/data.json": ""})
    if link == "pack/data.json":
        write(tmp_path, {"pack/__init__.py": ""})
    (tmp_path / link).symlink_to(away / link)
    with pytest.raises(InvalidFiles) as caught:
        follow({"app.py": f"import {link.partition('/')[0].partition('.')[0]}" + CLASS})
    assert str(caught.value).splitlines()[0].endswith(": leaves the repository through a symbolic link")


def test_a_link_inside_the_repository_is_followed(follow: Follow, tmp_path: Path) -> None:
    write(tmp_path, {"shared/util.py": "import deep", "deep.py": ""})
    (tmp_path / "util.py").symlink_to("shared/util.py")
    assert sorted(follow({"app.py": "import util" + CLASS}).files) == ["app.py", "deep.py", "util.py"]


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("x = (\n", "util.py:1:5"),
        ("ok = 1\nif x\n    y\n", "util.py:2:5"),
        ("def f():\nreturn 1\n", "util.py:2:1"),
    ],
)
def test_a_syntax_error_is_refused_with_its_place(follow: Follow, code: str, place: str) -> None:
    with pytest.raises(InvalidFiles) as caught:
        follow({"app.py": "import util" + CLASS, "util.py": code})
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{place}: not Python: ")


def test_all_syntax_errors_are_told_at_once(follow: Follow) -> None:
    with pytest.raises(InvalidFiles) as caught:
        follow({"app.py": "import one, two" + CLASS, "one.py": "(", "two.py": "\0"})
    assert sorted(p.file for p in caught.value.problems) == ["one.py", "two.py"]


def test_code_in_another_encoding_is_read_as_python_reads_it(follow: Follow, tmp_path: Path) -> None:
    (tmp_path / "util.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe9'\nimport deep\n")
    assert "deep.py" in follow({"app.py": "import util" + CLASS, "deep.py": ""}).files


def test_a_very_long_expression_is_followed(follow: Follow) -> None:
    long = "x = " + " + ".join(["'a'"] * 900)
    assert "util.py" in follow({"app.py": f"{long}\nimport util" + CLASS, "util.py": ""}).files


def test_an_expression_too_deep_to_parse_is_refused(follow: Follow) -> None:
    with pytest.raises(InvalidFiles, match=r"util\.py: "):
        follow({"app.py": "import util" + CLASS, "util.py": "x = " + "-" * 50_000 + "1"})


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the syntax of Python 3.11")
def test_an_import_in_an_exception_group_is_guarded(follow: Follow) -> None:
    code = "try:\n    import util, nowhere\nexcept* ImportError:\n    pass" + CLASS
    found = follow({"app.py": code, "util.py": ""})
    assert (sorted(found.files), told(found)) == (["app.py", "util.py"], [])


@pytest.mark.parametrize(
    "code",
    [
        "class App: ...",
        "from impl import App",
        "from impl import Other as App",
        "from impl import *",
        "import impl\nApp = impl.App",
        "App: type = object",
        "try:\n    from impl import App\nexcept ImportError:\n    App = None",
        "def __getattr__(name): ...",
    ],
)
def test_the_class_may_be_defined_or_re_exported(follow: Follow, code: str) -> None:
    found = follow({"pack/__init__.py": code, "impl.py": CLASS}, "pack.App")
    assert "pack/__init__.py" in found.files
    assert ("impl.py" in found.files) == ("impl" in code)


@pytest.mark.parametrize(
    "code", ["class Ap: ...", "class Ap:\n    class App: ...", "class Ap: ...\ndef f():\n    App = 1"]
)
def test_a_class_that_is_missing_is_refused_with_did_you_mean(follow: Follow, code: str) -> None:
    with pytest.raises(Refused) as caught:
        follow({"src/app.py": code}, roots=("src",))
    assert str(caught.value) == "src/app.py does not define the class 'App' (did you mean 'Ap'?)"


def test_a_module_that_is_missing_is_refused_with_where_it_was_looked_for(follow: Follow) -> None:
    with pytest.raises(Refused) as caught:
        follow({"one/x.py": "", "two/y.py": ""}, roots=("one", "two"))
    assert str(caught.value) == "model_class 'app.App': no module 'app' under 'one' or 'two'"


def test_an_installed_class_is_not_taken_for_the_trees_own(follow: Follow) -> None:
    with pytest.raises(Refused, match="no module 'pluggy' under"):
        follow({}, "pluggy.PluginManager")


def test_what_decided_the_bundle_is_watched(follow: Follow, tmp_path: Path) -> None:
    found = follow({"a/b/app.py": "import util" + CLASS, "util.py": "", "a/b/data.json": ""}, "a.b.app.App")
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b"} <= found.watched


def test_the_users_code_does_not_run(follow: Follow, tmp_path: Path) -> None:
    follow({"app.py": f"open({str(tmp_path / 'ran')!r}, 'w')" + CLASS})
    assert not (tmp_path / "ran").exists()
