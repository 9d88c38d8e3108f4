"""Templates: manifests with placeholders, what is given for these, and the manifest that comes of it. Pure.

A value is put into the parsed document, never into text that is parsed afterwards: whatever is given stays
one value, and can bring no key, no alias and no comment of its own.

- A string that is `${name}` and nothing else becomes the value, with its type.
- `${name}` within a longer string becomes text; `$${` is `${` itself.
- A field whose whole value was not given, and needs not be, is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitreg.documents import Document, Path
from gitreg.errors import Problem, Refused
from gitreg.names import did_you_mean

_USE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_INT = re.compile(r"[-+]?[0-9]{1,400}\Z", re.ASCII)
# What a model gets when it is made, and so does not come of a template.
OWN = ("name", "version", "title", "release", "placeholders", "template")
ABSENT = object()


class Unfilled(str):
    """Stands for a value that is not known before somebody gives it."""


# What is given -----------------------------------------------------------------------------------


def values_of(placeholders: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The value of every placeholder, by its type; those that need not be given are absent.

    Args:
        given: name -> text.

    Raises:
        Refused: with every mistake: unknown names, values that do not fit, what is missing.
    """
    mistakes, found = [], {}
    for name, text in given.items():
        if name not in placeholders:
            known = ", ".join(placeholders) or "none"
            guess = did_you_mean(name, placeholders) or f" (known: {known})"
            mistakes.append(f"{name}: there is no such placeholder{guess}")
            continue
        try:
            found[name] = _typed(placeholders[name], text)
        except ValueError as error:
            mistakes.append(f"{name}: {error}")
    for name, one in placeholders.items():
        if name in given:
            continue
        if "default" in one:
            found[name] = one["default"]
        elif one.get("required", True):
            mistakes.append(f"{name}: is missing; {_wanted(one)} is expected{_said(one)}")
    if mistakes:
        raise Refused(mistakes, "--set NAME=VALUE, or --set-file NAME=FILE")
    return {name: found[name] for name in placeholders if name in found}


def _typed(one: Mapping[str, Any], text: str) -> Any:
    """A text as a value of a placeholder's type. Raises ValueError where it is none."""
    kind = one["type"]
    if kind == "str":
        return text
    if kind == "enum":
        return _chosen(one, text)
    try:
        value = text if kind == "bool" else json.loads(text, parse_constant=_no_number)
        if kind == "bool":
            return {"true": True, "false": False}[text.strip().lower()]
        if kind == "int" and _INT.match(text.strip()):
            return int(text)
        if kind == "float" and isinstance(value, (int, float)) and math.isfinite(float(value)):
            return float(value)
        if kind == "json":
            return value
    except (ValueError, KeyError, OverflowError, RecursionError):
        pass
    raise ValueError(f"{text!r} is not {_wanted(one)}")


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _chosen(one: Mapping[str, Any], text: str) -> Any:
    known = {_text(value): value for value in one.get("values", ())}
    if text not in known:
        raise ValueError(f"{text!r} is not {_wanted(one)}{did_you_mean(text, known)}")
    return known[text]


def _wanted(one: Mapping[str, Any]) -> str:
    if one["type"] == "enum":
        return f"one of {', '.join(_text(value) for value in one.get('values', ()))}"
    names = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
    return names.get(one["type"], "JSON")


def _said(one: Mapping[str, Any]) -> str:
    return f" ({one['description']})" if one.get("description") else ""


# What comes of it --------------------------------------------------------------------------------


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """A template's data with values in their places; what has none is left out."""
    if isinstance(template, Mapping):
        inside = {key: filled(value, values) for key, value in template.items()}
        return {key: value for key, value in inside.items() if value is not ABSENT}
    if isinstance(template, list):
        return [value for value in (filled(one, values) for one in template) if value is not ABSENT]
    if not isinstance(template, str):
        return template
    whole = _USE.fullmatch(template)
    if whole and whole[1] is not None:
        return values.get(whole[1], ABSENT)
    unknown = any(isinstance(values.get(m[1]), Unfilled) for m in _USE.finditer(template) if m[1])
    text = _USE.sub(lambda m: "${" if m[1] is None else _text(values.get(m[1], "")), template)
    return Unfilled(text) if unknown else text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def sketch(placeholders: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """What a model would be: defaults where there are any, `Unfilled` for what must be given."""
    values = {n: one.get("default", Unfilled(n)) for n, one in placeholders.items()}
    made: dict[str, Any] = filled(template, values)
    return {"artifact": "artifact", **made, "name": "from-a-template"}


def is_unfilled(value: Any) -> bool:
    """Whether something in a value is not known yet."""
    if isinstance(value, Mapping):
        return any(map(is_unfilled, value.values()))
    return any(map(is_unfilled, value)) if isinstance(value, list) else isinstance(value, Unfilled)


# What may be wrong with a template ----------------------------------------------------------------


def mistakes(document: Document) -> Iterator[Problem]:
    """What is wrong with the placeholders of a template and with their use."""
    said, body = document.data.get("placeholders", {}), document.data.get("template", {})
    for name, one in said.items():
        yield from _wrong(document, ("placeholders", name), one)
    used = set()
    for path, name in _uses(body, ("template",)):
        used.add(name)
        if name not in said:
            message = f"there is no placeholder {name!r}{did_you_mean(name, said)}"
            yield document.problem(path, message)
    for name in said:
        if name not in used:
            yield document.problem(("placeholders", name), "is used nowhere", "warning", key=True)
    for key in OWN:
        if key in body:
            message = "comes with the model that is made, and not of a template"
            yield document.problem(("template", key), message, key=True)


def _wrong(document: Document, path: Path, one: Mapping[str, Any]) -> Iterator[Problem]:
    if one["type"] == "enum" and "values" not in one:
        yield document.problem(path, "'values' is missing, of which an enum is one")
    elif one["type"] != "enum" and "values" in one:
        yield document.problem((*path, "values"), "only an enum has values", key=True)
    elif "default" in one and not _fits(one, one["default"]):
        message = f"{json.dumps(one['default'])} is not {_wanted(one)}"
        yield document.problem((*path, "default"), message)


def _fits(one: Mapping[str, Any], value: Any) -> bool:
    kind, number = one["type"], isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "enum":
        return any(value == known and type(value) is type(known) for known in one["values"])
    if kind == "int":
        return number and isinstance(value, int)
    if kind == "float":
        return number and math.isfinite(value)
    return kind == "json" or isinstance(value, {"str": str, "bool": bool}[kind])


def _uses(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    entries: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        entries = [*value.items()]
    elif isinstance(value, list):
        entries = [*enumerate(value)]
    elif isinstance(value, str):
        yield from ((path, found[1]) for found in _USE.finditer(value) if found[1] is not None)
    for key, inside in entries:
        yield from _uses(inside, (*path, key))


def body_of(document: Document, data: Mapping[str, Any]) -> Document:
    """What a template's body would be as a manifest of its own, with the places of the template."""
    values = {path[1:]: place for path, place in document.values.items() if path[:1] == ("template",)}
    keys = {path[1:]: place for path, place in document.keys.items() if path[:1] == ("template",)}
    return Document(document.file, data, values, keys)
