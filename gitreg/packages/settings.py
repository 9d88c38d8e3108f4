"""Walks a ModelConfig message, and holds every value that it sets against the list in `fields`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gitreg.packages.fields import (
    ALLOWED,
    FOLDERS,
    MOST_ENTRIES,
    MOST_INSTANCES,
    MOST_VALUES,
    OWNED,
    REFUSED,
    WRITTEN,
    Around,
    Place,
    Setting,
)

Found = tuple[Place, str]


def judge_manifest(message: Any, said: Mapping[str, Any], around: Around) -> list[Found]:
    """What is wrong with a manifest's `triton` fragment, each with its place in it.

    Args:
        message: the fragment as a ModelConfig.
        said: the fragment itself, whose keys may be in either of JSON's spellings.
    """
    found: list[Found] = [
        ((key,), f"is set by `{OWNED[one.name]}` in the manifest")
        for one, key, _, _ in _present(message, said)
        if one.name in OWNED
    ]
    for setting in _settings(message, said, "", ()):
        mistake = _mistake(setting, around)
        if mistake and not _is_told(setting.place, found):
            found.append((setting.place, mistake))
    return found + _totals(message, found)


def judge_package(message: Any, around: Around) -> list[Found]:
    """What is wrong with a package's config.pbtxt, whoever made it."""
    found: list[Found] = []
    for setting in _settings(message, None, "", ()):
        rule = WRITTEN.get(setting.field)
        mistake = rule.judge(setting, around) if rule else _mistake(setting, around)
        if mistake and not _is_told(setting.place, found):
            found.append((setting.place, mistake))
    if not message.backend:
        found.append((("backend",), f"is missing; {around.backend!r} was expected"))
    return found + _totals(message, found)


def _is_told(place: Place, found: list[Found]) -> bool:
    """Whether something is wrong already with what holds a value."""
    return any(place[: len(above)] == above for above, _ in found)


def _mistake(setting: Setting, around: Around) -> str | None:
    for name, reason in REFUSED.items():
        if setting.field == name or setting.field.startswith(f"{name}."):
            return reason
    if setting.value is _TOO_MANY:
        return f"has more than {MOST_ENTRIES:,} entries"
    rule = ALLOWED.get(setting.field)
    if rule is not None:
        return rule.judge(setting, around)
    if any(name.startswith(f"{setting.field}.") for name in (*ALLOWED, *WRITTEN)):
        return None  # a message, whose own fields are decided
    return "is not a field that gitreg knows to name nothing outside of the package"


_TOO_MANY = object()


def _settings(message: Any, said: Mapping[str, Any] | None, above: str, place: Place) -> Iterator[Setting]:
    """Every value that is set in a message; what holds others comes before these."""
    for one, key, part, value in _present(message, said):
        name, here = f"{above}.{one.name}".lstrip("."), (*place, key)
        if said is not None and isinstance(part, (list, Mapping)) and len(part) > MOST_ENTRIES:
            yield Setting("", here, _TOO_MANY)
        elif one.message_type is not None and one.message_type.GetOptions().map_entry:
            yield from _entries(name, here, one, value, part)
        elif _is_repeated(one):
            for i, each in enumerate(value):
                yield from _one(name, (*here, i), one, each, None if part is None else part[i])
        else:
            yield from _one(name, here, one, value, part)


def _one(name: str, place: Place, field_: Any, value: Any, part: Any) -> Iterator[Setting]:
    yield Setting(name, place, value)
    if field_.message_type is not None:
        yield from _settings(value, part, name, place)


def _entries(name: str, place: Place, field_: Any, value: Any, part: Any) -> Iterator[Setting]:
    whole = field_.message_type.fields_by_name["key"].cpp_type != field_.CPPTYPE_STRING
    for key in value if part is None else part:
        entry = value[int(key) if whole else key]
        yield Setting(name, (*place, str(key)), entry)
        if field_.message_type.fields_by_name["value"].message_type is not None:
            yield from _settings(entry, None if part is None else part[key], name, (*place, str(key)))


def _present(message: Any, said: Mapping[str, Any] | None) -> Iterator[tuple[Any, str, Any, Any]]:
    """(field, key, what a manifest says or None, value) of what is set."""
    if said is None:
        yield from ((one, one.name, None, value) for one, value in message.ListFields())
        return
    names = {name: one for one in message.DESCRIPTOR.fields for name in (one.json_name, one.name)}
    for key, part in said.items():
        if part is not None and key in names:
            yield names[key], key, part, getattr(message, names[key].name)


def _is_repeated(field_: Any) -> bool:
    # Older protobuf has no such property, and newer will have no label.
    return bool(field_.is_repeated) if hasattr(field_, "is_repeated") else field_.label == 3


def _totals(message: Any, told: list[Found]) -> list[Found]:
    """What is too much only when it is put together."""
    found: list[Found] = []
    tops = {place[0] for place, _ in told}
    instances = sum(max(1, one.count) * max(1, len(one.gpus)) for one in message.instance_group)
    if instances > MOST_INSTANCES and "instance_group" not in tops:
        found.append((("instance_group",), f"{instances:,} instances; at most {MOST_INSTANCES} are allowed"))
    sized: list[tuple[Place, int]] = [
        (("model_warmup", i, "inputs", name), max(1, one.batch_size) * math.prod(each.dims))
        for i, one in enumerate(message.model_warmup)
        for name, each in one.inputs.items()
    ]
    sized += [
        (("sequence_batching", "state", i, "initial_state", j), math.prod(each.dims))
        for i, one in enumerate(message.sequence_batching.state)
        for j, each in enumerate(one.initial_state)
    ]
    return found + [
        (place, f"{count:,} values; at most {MOST_VALUES:,} are allowed")
        for place, count in sized
        if count > MOST_VALUES
    ]


def files_of(message: Any, said: Mapping[str, Any]) -> list[Found]:
    """The files that a manifest's fragment names, by their paths in the package, each with its place."""
    return [
        (setting.place, f"{FOLDERS[setting.field]}/{setting.value}")
        for setting in _settings(message, said, "", ())
        if setting.field in FOLDERS
    ]


def stray(files: frozenset[str], ordinal: int) -> list[str]:
    """Files of a Triton package that a server would load of itself, and that gitreg never puts there."""
    tops = {"config.pbtxt", str(ordinal), *FOLDERS.values()}
    code = re.compile(rf"{ordinal}/(libtriton_[^/]*|batchstrategy\.so|triton_python_backend_stub)\Z")
    return sorted(path for path in files if path.partition("/")[0] not in tops or code.match(path))
