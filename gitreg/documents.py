"""YAML text -> data with a place for every value, and JSON Schema errors in a person's words. No I/O.

Documents are hostile input. They are read event by event with an explicit stack, so nesting cannot
exhaust ours; duplicate keys, tags that build objects, many aliases and large files are refused. Plain
scalars follow YAML 1.2's core schema (`no` and `on` are words, not booleans), as editors and foreign
validators read them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gitreg import numerals
from gitreg.errors import Problem
from gitreg.names import did_you_mean

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_ALIASES = 20
MAX_VALUES = 100_000
_MOST_GROWN, _DEEPEST_GROWN = 3_000_000, 200

Path = tuple[str | int, ...]
Place = tuple[int, int]


@dataclass
class Document:
    """One YAML file as data.

    Attributes:
        file: its name, for problems.
        data: mappings, lists and scalars, as JSON knows them.
        values, keys: the (line, column), from 1, of the value and of the key at each path.
    """

    file: str
    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)

    def problem(self, path: Path, message: str, level: str = "error", key: bool = False) -> Problem:
        """A problem at a path, or at the nearest place above it that is in the file."""
        place = self.keys.get(path) if key else None
        above = path
        while place is None:
            place = self.values.get(above, None if above else (1, 1))
            above = above[:-1]
        line, column = place
        return Problem(self.file, line, column, dotted(path), message, level)


def dotted(path: Path) -> str:
    """`schema.inputs[0].data_type`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Broken(Exception):
    def __init__(self, mark: Any, message: str) -> None:
        super().__init__(message)
        self.place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        self.message = message


def parse(
    raw: bytes, file: str, most: int = MAX_BYTES, merging: bool = False
) -> tuple[Document, list[Problem]]:
    """Read one YAML document; its data is None and the problems say why when it cannot be read.

    Args:
        most: bytes; a longer document is refused. Other bounds grow with it.
        merging: leave YAML 1.1's merge keys (`<<`) in the data, as keys like others, and do not refuse them.
    """
    document = Document(file)
    try:
        if len(raw) > most:
            raise _Broken(None, f"{len(raw):,} bytes; a YAML file of a registry has at most {most:,}")
        try:
            conflict = re.search(rb"^<<<<<<< ", raw, re.MULTILINE)
            if conflict:
                line = raw.count(b"\n", 0, conflict.start()) + 1
                return document, [Problem(file, line, 1, "", "a merge conflict is left in this file")]
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _Broken(None, f"not UTF-8: byte {error.start} is {raw[error.start]:#04x}") from None
        _Reader(document, max(1, most // MAX_BYTES), merging).read(text)
    except _Broken as broken:
        document.data = None
        return document, [Problem(file, broken.place[0], broken.place[1], "", broken.message)]
    return document, []


class _Reader:
    """Builds a document from YAML's event stream."""

    def __init__(self, document: Document, scale: int, merging: bool) -> None:
        self.document, self.merging = document, merging
        self.most, self.most_aliases = MAX_VALUES * scale, MAX_ALIASES * scale
        self.anchors: dict[str, Any] = {}
        self.aliases = 0
        self.values = 0
        # One frame per open collection: (container, its path, pending key or _NO_KEY, its anchor).
        self.stack: list[list[Any]] = []

    def read(self, text: str) -> None:
        """Take every event of a text."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        documents = 0
        try:
            for event in yaml.parse(text, Loader=loader):
                if isinstance(event, yaml.ScalarEvent):
                    self.put(event, _scalar(event))
                elif isinstance(event, yaml.MappingStartEvent):
                    self.open(event, {})
                elif isinstance(event, yaml.SequenceStartEvent):
                    self.open(event, [])
                elif isinstance(event, yaml.CollectionEndEvent):
                    self.close()
                elif isinstance(event, yaml.AliasEvent):
                    self.alias(event)
                elif isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise _Broken(event.start_mark, "a second YAML document; one is expected")
        except yaml.MarkedYAMLError as error:
            where = error.problem_mark or error.context_mark
            what = " ".join(filter(None, [error.context, error.problem]))
            if "maximum nesting depth" in what:  # newer parsers look ahead, and have a limit of their own
                raise _Broken(where, f"nested more than {MAX_DEPTH} deep") from None
            raise _Broken(where, f"not YAML: {what}") from None
        except yaml.YAMLError as error:
            raise _Broken(None, f"not YAML: {str(error).splitlines()[0]}") from None

    def path(self) -> Path:
        if not self.stack:
            return ()
        container, above, key, _ = self.stack[-1]
        return (*above, len(container) if isinstance(container, list) else key)

    def expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1][0], dict) and self.stack[-1][2] is _NO_KEY

    def put(self, event: Any, value: Any) -> None:
        """A value, into the container that is open."""
        mark = event.start_mark
        self.values += 1
        if self.values > self.most:
            raise _Broken(mark, f"more than {self.most:,} values")
        if self.expects_key():
            self.key(mark, event.value if hasattr(event, "value") else value)
            return
        path = self.path()
        self.document.values[path] = (mark.line + 1, mark.column + 1)
        anchor = getattr(event, "anchor", None)
        if anchor and not isinstance(value, (dict, list)):
            self.anchors[anchor] = value
        if not self.stack:
            self.document.data = value
            return
        frame = self.stack[-1]
        if isinstance(frame[0], list):
            frame[0].append(value)
        else:
            frame[0][frame[2]] = value
            frame[2] = _NO_KEY

    def key(self, mark: Any, key: Any) -> None:
        """The key that the next value is for."""
        frame = self.stack[-1]
        if not isinstance(key, str):
            raise _Broken(mark, "a key must be a string")
        if key == "<<" and not self.merging:
            raise _Broken(mark, "merge keys ('<<') are not part of a registry's YAML")
        path = (*frame[1], key)
        if key in frame[0]:
            line = self.document.keys[path][0]
            raise _Broken(mark, f"{dotted(path)}: the key '{key}' stands twice (first in line {line})")
        self.document.keys[path] = (mark.line + 1, mark.column + 1)
        frame[2] = key

    def open(self, event: Any, container: Any) -> None:
        """A mapping or a sequence begins."""
        if event.tag and event.tag not in ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise _Broken(event.start_mark, f"the tag {event.tag!r} is refused")
        if len(self.stack) >= MAX_DEPTH:
            raise _Broken(event.start_mark, f"nested more than {MAX_DEPTH} deep")
        if self.expects_key():
            raise _Broken(event.start_mark, "a key must be a string")
        path = self.path()
        self.put(event, container)
        self.stack.append([container, path, _NO_KEY, event.anchor])

    def close(self) -> None:
        container, _, _, anchor = self.stack.pop()
        if anchor:
            self.anchors[anchor] = container

    def alias(self, event: Any) -> None:
        """A value that has an anchor stands here again; few may, lest a small text grows."""
        self.aliases += 1
        if self.aliases > self.most_aliases:
            raise _Broken(event.start_mark, f"more than {self.most_aliases} aliases")
        if event.anchor not in self.anchors:
            raise _Broken(event.start_mark, f"the alias '*{event.anchor}' names no finished anchor")
        value = self.anchors[event.anchor]
        self.values += _count(value, self.most)
        event.value = value
        self.put(event, value)


_NO_KEY = object()


def _count(value: Any, most: int) -> int:
    """Values below this one, until there are too many. Nesting is bounded, but growth is exponential."""
    total, todo = 0, [value]
    while todo and total <= most:
        one = todo.pop()
        total += 1
        if isinstance(one, Mapping):
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
    return total


_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], math.inf),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], -math.inf),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], math.nan),
}


def _scalar(event: Any) -> Any:
    text: str = event.value
    tag = event.tag
    if tag and tag not in ("!", "tag:yaml.org,2002:str"):
        raise _Broken(event.start_mark, f"the tag {tag!r} is refused")
    if tag or not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] in "0123456789+-.":
        if _INT.match(text):
            return int(_number(event), 0) if text[:2] in ("0o", "0x") else int(_number(event))
        if _FLOAT.match(text):
            return float(_number(event))
    return text


def _number(event: Any) -> str:
    text: str = event.value
    # Short ones are right: there are many, and this is asked for each.
    if (len(text) > 16 or "e" in text or "E" in text) and (said := numerals.mistake(text)):
        raise _Broken(event.start_mark, said)
    return text


def own_yaml(raw: bytes) -> Any:
    """Data of a YAML file that gitreg itself writes, of any size; a safe loader all the same.

    Raises:
        yaml.YAMLError: it is not YAML, or its aliases stand for too much.
    """
    import yaml

    if b"&" in raw and (mistake := overgrown(raw)):
        raise yaml.YAMLError(mistake)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(raw)
    try:
        return loader.get_single_data()
    except (ValueError, OverflowError, RecursionError) as error:  # of its dates, numbers and nesting
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def overgrown(raw: bytes) -> str | None:
    """Why YAML is too much to read: the values that its aliases stand for, each time, count as well."""
    import yaml

    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []
    total = 0
    try:
        for event in yaml.parse(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, before = open_.pop()
                if anchor:
                    sizes[anchor] = total - before
            elif isinstance(event, yaml.NodeEvent):
                total += sizes.get(str(event.anchor), 1) if isinstance(event, yaml.AliasEvent) else 1
                if isinstance(event, yaml.CollectionStartEvent):
                    open_.append((event.anchor, total))
            if total > _MOST_GROWN or len(open_) > _DEEPEST_GROWN:
                return f"more than {_MOST_GROWN:,} values, or nested too deep"
    except yaml.YAMLError:  # whoever reads it says where
        return None
    return None


def problems_of(document: Document, errors: Iterator[ValidationError]) -> list[Problem]:
    """JSON Schema's errors as problems: one per mistake, at the mistake, with did-you-mean."""
    found = {problem for error in errors for problem in _explain(document, error)}
    return sorted(found)


_JSON_NAMES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
}


def _explain(document: Document, error: ValidationError) -> Iterator[Problem]:
    path: Path = tuple(error.absolute_path)
    rule, value = str(error.validator), error.instance
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    expected: Any = error.validator_value
    title = str(schema.get("title", "value"))
    if "propertyNames" in error.absolute_schema_path:
        rest = f": {schema['description']}" if "description" in schema else ""
        yield document.problem((*path, str(value)), f"{_show(value)} is not {_a(title)}{rest}", key=True)
        return
    if rule == "additionalProperties" and isinstance(value, Mapping):
        known = [*schema.get("properties", ())]
        for extra in value:
            if extra not in known:
                guess = did_you_mean(extra, known) or _known(known)
                yield document.problem((*path, extra), f"unknown key '{extra}'{guess}", key=True)
    elif rule == "required":
        for name in expected:
            if isinstance(value, Mapping) and name not in value:
                yield document.problem(path, f"'{name}' is missing")
    elif rule == "anyOf" and error.context:
        yield from _branch(document, error)
    elif rule == "enum":
        guess = did_you_mean(str(value), map(str, expected)) or _known(expected)
        yield document.problem(path, f"{_show(value)} is not {_a(title)}{guess}")
    elif rule in ("pattern", "not"):
        rest = f": {schema['description']}" if "description" in schema else ""
        yield document.problem(path, f"{_show(value)} is not {_a(title)}{rest}")
    elif rule == "type":
        yield document.problem(
            path, _type_message(expected, value, title, str(schema.get("description", "")))
        )
    elif rule in ("minItems", "minProperties", "minLength") and not value:
        yield document.problem(path, "may not be empty")
    elif rule in ("maxLength", "maxItems") and isinstance(value, (str, list)):
        unit = "characters" if rule == "maxLength" else "entries"
        yield document.problem(path, f"has {len(value):,} {unit}; at most {expected:,} are allowed")
    else:
        message = error.message if len(error.message) < 200 else f"breaks the rule '{rule}' of the schema"
        yield document.problem(path, message)


def _branch(document: Document, error: ValidationError) -> Iterator[Problem]:
    """Of the alternatives, explain the one whose type the value has; name them all if none."""
    groups: dict[Any, list[ValidationError]] = {}
    for one in error.context or ():
        groups.setdefault(one.schema_path[0], []).append(one)
    fitting = [
        group for group in groups.values() if not any(e.validator == "type" and not e.path for e in group)
    ]
    if fitting:
        for one in fitting[0]:
            yield from _explain(document, one)
        return
    wanted = [str(e.validator_value) for group in groups.values() for e in group if e.validator == "type"]
    yield document.problem(tuple(error.absolute_path), _type_message(wanted, error.instance))


def _type_message(wanted: str | Sequence[str], value: Any, title: str = "", rule: str = "") -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    expected = " or ".join(_JSON_NAMES.get(str(name), str(name)) for name in names)
    message = f"expected {expected}, got {_show(value)}"
    if {"string"} == {*names} - {"null"} and isinstance(value, (int, float)):
        rule = rule if title != "value" else ""
        message += f" ({_a(title)} is {rule})" if rule else f' ("{value}", in quotes, is a string)'
    return message


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _known(names: Sequence[Any]) -> str:
    return f" (known: {', '.join(map(str, names))})" if 0 < len(names) <= 40 else ""
