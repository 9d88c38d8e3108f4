"""One YAML file during its edits: the concerned bytes change, and no others. Text in, text out; no I/O.

The strict reader (documents.py) says what the file means; the positions of the same YAML events say where
to cut. Each edit is one splice of the text. In the end the result is read again: it holds the old data plus
the intended change, or the edit is refused. Comments, order, quotes, line ends and a BOM stay because nothing
is ever written out anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gitreg.documents import Document, dotted, parse
from gitreg.errors import InvalidFiles, Problem, Refused

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML 1.1 and libyaml take for one
_CONFLICT = re.compile(r"^(?:(?:<{7}|>{7}|\|{7})(?:[ \t].*)?|={7})\r?$", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)#")
_END_OF_ENTRY = re.compile(r"[ \t]*(,?)[ \t]*(?:#.*)?\Z")
_COLON = re.compile(r"[ \t]*:")
_TAG = re.compile(r"!\S*[ \t]+")
_NOT_PRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")

Names = tuple[str, ...]
Place = Callable[[list[str], str], int]


def last(names: list[str], key: str) -> int:
    """Below the entries that are there."""
    return len(names)


@dataclass
class _Node:
    """A value, or a key, and the text from `start` to `end` that it is written in, without comments around.

    Attributes:
        kind: "scalar", "alias", "map" or "list".
        style: the quote or `|` or `>` of a scalar; "flow" of a collection; else empty.
        text: of a scalar, after unquoting.
        parts: the items of a list; keys and values of a mapping by turns.
    """

    start: int
    end: int
    kind: str
    style: str = ""
    text: str = ""
    parts: list[_Node] = field(default_factory=list)

    def entries(self) -> list[tuple[_Node, _Node]]:
        return list(zip(self.parts[::2], self.parts[1::2], strict=True)) if self.kind == "map" else []

    def names(self) -> list[str]:
        return [key.text for key, _ in self.entries()]


def _tree(text: str) -> tuple[_Node | None, int]:
    """The root, or None, and where the document ends: at its `...` or with the text."""
    import yaml

    root, end = None, len(text)
    events: Iterator[Any] = iter(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            root = _node(next(events), events, text)
        elif isinstance(event, yaml.DocumentEndEvent) and event.explicit:
            end = _index(event.start_mark)
    return root, end


def _node(event: Any, events: Iterator[Any], text: str) -> _Node:
    """The node that begins with this event. It recurses: the strict reader has bounded the depth."""
    import yaml

    node = _Node(_index(event.start_mark), _index(event.end_mark), "alias")
    if isinstance(event, yaml.ScalarEvent):
        node.kind, node.style, node.text = "scalar", event.style or "", event.value
        if node.style in ("|", ">"):
            node.end = _end_of_block(event, text)
    elif isinstance(event, yaml.CollectionStartEvent):
        node.kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
        while not isinstance(last := next(events), yaml.CollectionEndEvent):
            node.parts.append(_node(last, events, text))
        # A block ends, to libyaml, where the next token begins: below the comments in between.
        node.style = "flow" if event.flow_style else ""
        node.end = _index(last.end_mark) if event.flow_style else node.parts[-1].end
    return node


def _end_of_block(event: Any, text: str) -> int:
    """Where the last line of a block scalar ends: blank lines count when they are part of the value."""
    start, end = _index(event.start_mark), _index(event.end_mark)
    if event.value.endswith("\n\n") or event.value == "\n":
        return end - (2 if text.endswith("\r\n", start, end) else 1)
    return start + len(text[start:end].rstrip(" \r\n"))


def _index(mark: Any) -> int:
    return int(mark.index)


class Sheet:
    """One file during its edits: the text, where everything stands in it, and the data it shall have."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text.lstrip("\ufeff")
        self.bom = text[: len(text) - len(self.text)]
        self.file = file
        self.document = _read(self.text, file)
        # A copy that shares nothing: what aliases name would change in all its places.
        self.data: dict[str, Any] = json.loads(json.dumps(self.document.data or {}))
        self.doing = ""
        found = _BREAK.search(self.text)
        self.newline = "\r\n" if found and found.group() == "\r\n" else "\n"
        self.root, self.end = _tree(self.text)
        self.word: Callable[..., str] = _quoted if file.endswith(".json") else _scalar

    def refuse(self, why: str) -> NoReturn:
        """Raise: a person has to do it."""
        raise Refused(f"{self.file}: {self.doing}: {why}", f"edit {self.file} by hand")

    def splice(self, start: int, end: int, new: str) -> None:
        """Put a text in place of another, and read the whole again."""
        import yaml

        self.text = self.text[:start] + new + self.text[end:]
        try:
            self.root, self.end = _tree(self.text)
        except yaml.YAMLError:
            self.refuse("the way this file is written does not allow it")

    def result(self) -> str:
        """The text, which says just what was asked for."""
        document, problems = parse(self.text.encode("utf-8", "surrogatepass"), self.file)
        if problems:
            self.refuse("the way this file is written does not allow it")
        if not _same(document.data or {}, self.data):
            self.refuse("other data of the file would change too")
        return self.bom + self.text

    def want(self, path: Names, value: Any, place: Place) -> None:
        """Set or, with None, remove what is at this path, unless it is so already."""
        home, name = self.data, path[-1]
        for part in path[:-1]:
            if home.get(part) is None:
                if value is None:
                    return
                home[part] = {}
            home = home[part]
            if not isinstance(home, dict):
                self.doing = f"cannot set '{dotted(path)}'"
                self.refuse(f"'{part}' is not a mapping")
        if value is None and name in home:
            self.doing = f"cannot remove '{dotted(path)}'"
            self.remove(path)
            del home[name]
        elif value is not None and not (name in home and _same(home[name], value)):
            self.doing = f"cannot set '{dotted(path)}'"
            self.set(path, value, place)
            home[name] = value

    def at(self, path: Names) -> tuple[_Node | None, _Node | None]:
        """The key and the value at a path; the root has no key."""
        key, node = None, self.root
        for part in path:
            found = [(k, v) for k, v in node.entries() if k.text == part] if node else []
            key, node = found[0] if found else (None, None)
        return key, node

    def set(self, path: Names, value: Any, place: Place) -> None:
        """Make the value at a path another, or a new one."""
        if not path:
            return self.begin(value)
        home, name = self.at(path[:-1])[1], path[-1]
        if home is None or not home.parts:
            return self.set(path[:-1], {name: value}, last)
        for key, node in home.entries():
            if key.text == name:
                return self.replace(home, key, node, value)
        index = place(home.names(), name)
        if home.style == "flow":
            self.add_in_flow(home, index, f"{self.word(name)}: {self.flow(value)}")
        else:
            self.add_line(home, index, name, value)

    def begin(self, entries: Mapping[str, Any]) -> None:
        """Write the first entries of a document that is empty, null or `{}`."""
        if self.word is _quoted and self.root:
            return self.splice(self.root.start, self.root.end, json.dumps(entries, indent=2))
        lines = self.below(entries, -2, 2)[len(self.newline) :]
        root = self.root
        if root is None or root.start == root.end:
            ended = not self.text[: self.end] or _BREAK.match(self.text[self.end - 1])
            return self.splice(self.end, self.end, lines + self.newline if ended else self.newline + lines)
        self.check_lost(root, root.start, root.end)
        start, end = self.line_start(root.start), self.line_end(root.end)
        head = f"{self.text[start : root.start].strip()} {self.text[root.end : end].strip()}".strip()
        self.splice(start, end, (head + self.newline if head else "") + lines)

    def replace(self, home: _Node, key: _Node, node: _Node, value: Any) -> None:
        """Write a value over one that is there, in the way in which it is written."""
        flat = not isinstance(value, (Mapping, list))
        if flat and node.kind == "scalar" and node.start < node.end and node.style not in ("|", ">"):
            self.check_anchor(node)
            tag = _TAG.match(self.text, node.start)
            return self.splice(tag.end() if tag else node.start, node.end, self.word(value, node.style))
        colon = self.colon(key)
        start = colon or key.end
        self.check_lost(node, start, node.end)
        if flat or home.style == "flow":
            return self.splice(start, node.end, f"{'' if colon else ':'} {self.flow(value)}")
        end = self.line_end(node.end)
        below = self.below(value, len(self.indent(home)), self.step(home))
        self.splice(start, end, self.text[node.end : end].rstrip() + below)

    def add_line(self, home: _Node, index: int, name: str, value: Any) -> None:
        """A new line of a block: before its first entry, or below the entry that goes before."""
        indent = self.indent(home)
        line = f"{indent}{self.word(name)}:{self.below(value, len(indent), self.step(home))}"
        if index:
            end = self.line_end(home.entries()[index - 1][1].end)
            self.splice(end, end, self.newline + line)
        else:
            start = self.line_start(home.parts[0].start)
            self.splice(start, start, line + self.newline)

    def add_in_flow(self, home: _Node, index: int, pair: str) -> None:
        """A new entry of `{...}`, in a line of its own if its neighbour is."""
        key, value = home.entries()[max(index - 1, 0)]
        indent, rest = self.alone(key, value)
        if not index:
            self.splice(
                key.start, key.start, f"{pair}, " if rest is None else f"{pair},{self.newline}{indent}"
            )
        elif rest is None:
            self.splice(value.end, value.end, f", {pair}")
        else:
            comma = "," if rest.group(1) else ""
            line = f"{'' if comma else ','}{rest.group()}{self.newline}{indent}{pair}{comma}"
            self.splice(value.end, value.end + len(rest.group()), line)

    def remove(self, path: Names) -> None:
        """Take an entry out, with its line."""
        owner, home = self.at(path[:-1])
        names = home.names() if home else []
        if home is None or path[-1] not in names:
            self.refuse("it stands here through an alias")
        index = names.index(path[-1])
        key, value = home.entries()[index]
        if len(names) == 1:
            self.remove_last(owner, home)
        elif home.style == "flow" and self.alone(key, value)[1] is None:
            after = home.parts[2 * index + 2 :]
            start = key.start if after else home.parts[2 * index - 1].end
            end = after[0].start if after else value.end
            self.check_comment(start, end)
            self.splice(start, end, "")
        else:
            self.indent(home)
            self.remove_lines(self.line_start(key.start), self.line_end(value.end))

    def remove_lines(self, start: int, end: int) -> None:
        """Remove whole lines, and keep a final newline present or missing."""
        last = _BREAK.match(self.text, end)
        self.splice(start if last else self.before_break(start), last.end() if last else end, "")

    def remove_last(self, owner: _Node | None, home: _Node) -> None:
        """Leave `{}` where the only entry of a mapping was, as a null is not a mapping to other tools."""
        if home.style == "flow":
            self.check_comment(home.start, home.end)
            return self.splice(self.text.index("{", home.start), home.end, "{}")
        self.indent(home)
        start, end = self.line_start(home.parts[0].start), self.line_end(home.end)
        if owner is None:
            return self.splice(start, end, "{}")
        colon = self.colon(owner) or owner.end
        self.splice(colon, end, " {}" + self.text[colon : self.before_break(start)])

    def alone(self, key: _Node, value: _Node) -> tuple[str, re.Match[str] | None]:
        """The indent of a flow mapping's entry, and what follows it, if nothing else is in its lines."""
        indent = self.text[self.line_start(key.start) : key.start]
        rest = _END_OF_ENTRY.match(self.text[value.end : self.line_end(value.end)])
        return indent, None if indent.strip(" \t") else rest

    def indent(self, home: _Node) -> str:
        """The spaces before the keys of a block; of a flow mapping, nothing."""
        if home.style == "flow":
            return ""
        first = home.parts[0].start
        found = self.text[self.line_start(first) : first]
        if found.strip(" "):
            self.refuse("its lines hold more than keys and values")
        return found

    def step(self, home: _Node) -> int:
        """How far a mapping in this mapping is indented; as in the file's first one if it has none yet."""
        root = self.root or home
        for key, value in (*home.entries(), *root.entries()):
            if value.kind == "map" and value.style != "flow":
                return len(self.indent(value)) - (key.start - self.line_start(key.start))
        return 2

    def below(self, value: Any, column: int, step: int) -> str:
        """What follows `key:`, of a key in this column: one line for each entry, or the value."""
        lines = value and (isinstance(value, Mapping) or _mappings(value))
        if not lines:
            return " " + self.flow(value)
        column += step
        pad = self.newline + " " * column
        if isinstance(value, list):
            return "".join(f"{pad}- {self.flow(one)}" for one in value)
        return "".join(f"{pad}{self.word(str(k))}:{self.below(v, column, step)}" for k, v in value.items())

    def flow(self, value: Any) -> str:
        """A value on one line."""
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{self.word(str(k))}: {self.flow(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.flow, value)) + "]"
        return self.word(value)

    def colon(self, key: _Node) -> int | None:
        """Where the colon of this key ends; None if no colon follows it in its line."""
        found = _COLON.match(self.text, key.end)
        return found.end() if found else None

    def check_anchor(self, node: _Node) -> None:
        """Refuse to lose what other places may name."""
        if node.kind == "alias" or re.match(r"(![^\s,\[\]{}]*\s+)?&", self.text[node.start : node.end]):
            self.refuse("its value is an alias, or has an anchor")

    def check_lost(self, node: _Node, start: int, end: int) -> None:
        """Refuse to lose an anchor or a comment."""
        self.check_anchor(node)
        self.check_comment(start, end)

    def check_comment(self, start: int, end: int) -> None:
        """Refuse to lose a comment."""
        if _COMMENT.search(self.text[start:end]):
            self.refuse("a comment would be lost")

    def line_start(self, index: int) -> int:
        """Where the line of a place begins."""
        return max((m.end() for m in _BREAK.finditer(self.text, 0, index)), default=0)

    def line_end(self, index: int) -> int:
        """Where it ends, before its break."""
        found = _BREAK.search(self.text, index)
        return found.start() if found else len(self.text)

    def before_break(self, start: int) -> int:
        """Where the line above the one that starts here ends."""
        return max((m.start() for m in _BREAK.finditer(self.text, 0, start)), default=0)


def _read(text: str, file: str) -> Document:
    conflict = _CONFLICT.search(text)
    if conflict:
        line = len(_BREAK.findall(text, 0, conflict.start())) + 1
        raise InvalidFiles([Problem(file, line, 1, "", "a merge conflict is left in this file")])
    document, problems = parse(text.encode("utf-8", "surrogatepass"), file)
    if not problems and not isinstance(document.data, (dict, type(None))):
        problems = [document.problem((), "expected a mapping")]
    if problems:
        raise InvalidFiles(problems)
    return document


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values; NaN is itself."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _quoted(value: Any, style: str = "") -> str:
    """A scalar as JSON."""
    return json.dumps(value, ensure_ascii=False)


def _scalar(value: Any, style: str = "") -> str:
    """A scalar as YAML, in the style of the one it replaces; in quotes if it needs them."""
    if not isinstance(value, str):
        return json.dumps(value)
    if not style and _plain(value):
        return value
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    quoted = json.dumps(value, ensure_ascii=False)
    return _NOT_PRINTED.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)


def _plain(value: str) -> bool:
    """Whether this reads as itself without quotes: here, in YAML 1.1, in a block and between braces."""
    import yaml

    if not value.isprintable() or "?" in value:  # PyYAML's own parser takes ? for a key between braces
        return False
    loader: Any = yaml.SafeLoader("")
    if loader.resolve(yaml.ScalarNode, value, (True, False)) != "tag:yaml.org,2002:str":
        return False
    return all(
        parse(text.encode("utf-8", "surrogatepass"), "")[0].data == {value: value}
        for text in (f"{value}: {value}", f"{{{value}: {value}}}")
    )
