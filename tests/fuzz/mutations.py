"""Inputs that are nearly right: seeds whose bytes are flipped, cut and spliced, and data with hostile parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
Path = tuple[str | int, ...]


def _nested(depth: int, leaf: Any, wrap: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        leaf = wrap(leaf)
    return leaf


# What stands where something else is expected.
VALUES: Sequence[Any] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, -(2**63) - 1, 10**63, 0.5, -0.0, 1e-320, 1e308,
    float("nan"), float("inf"), float("-inf"),
    "", "x", " ", "\0", "\n", "\u2028", "\ufeff", "\x1b[31m", "\ud800", "é", "💥", "a" * 5000, "١٢٣",
    "..", "../..", "/", "/etc/passwd", "~", ".git/config", "a/../b", "a\\b", "C:x", "-x", "--", "=", "@", "#", "!",
    "null", "true", "1", "1.0.0", "v1", "1e5", "1e999", "9" * 400, "0x1F", "2024-01-01", "<<", "*a", "&a", "${x}", "${",
    "$${", "%s", "{}", "[", "{", "churn", "churn@1.0.0", "models:/x/1", "http://[", "https://a:b@c/d", "s3://", "s3://a/b",
    "git@x:y", "ext::sh -c x", "file:///etc", "remote://a/b", "a==1", "a @ https://x/y.whl", "-r x", "**/*", "[!]",
    [], [None], [1], ["x"], ["x", "x"], [[]], [{}], {}, {"": 1}, {"x": None}, {"path": 1}, {"name": []}, {"md5": {}},
    [1, "x", None, {}, []], list(range(200)), {str(i): i for i in range(200)},
    _nested(30, 1, lambda v: [v]), _nested(30, 1, lambda v: {"a": v}),
    _nested(300, 1, lambda v: [v]), _nested(300, 1, lambda v: {"a": v}), _nested(900, 1, lambda v: [v]),
)  # fmt: skip
KEYS = (
    "",
    "x",
    "name",
    "path",
    "type",
    "outs",
    "deps",
    "<<",
    "__class__",
    "a.b",
    "a b",
    "\0",
    "\ud800",
    "k" * 300,
    "0",
)
TOKENS: Sequence[bytes] = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n", b"\t", b" ", b"  ", b": ", b"- ", b"? ", b"#", b"&a ", b"*a", b"!!",
    b"!!python/object:os.system ", b"<<: ", b"---\n", b"...\n", b"|\n", b">\n", b"%YAML 1.1\n", b"{", b"}", b"[", b"]", b"[[[[[[",
    b'"', b"'", b"`", b"\\", b",", b"null", b"NaN", b"Infinity", b"-", b"1e999", b"9" * 400, b"0x", b".", b"..", b"\xc2\x85",
    b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa5", b"<<<<<<< HEAD\n", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f", b"\x80", b"\x7f", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n",
    b"AND", b" OR ", b"NOT ", b"(" * 80, b")", b"!=", b"LIKE '%", b"IS NULL", b"\\u0000", b"\\ud800", b"[" * 100_000,
)  # fmt: skip
_MOST = 1 << 17


def of_bytes(seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """Seeds with a few flips, cuts, insertions and pieces of others."""
    known, words = [*dict.fromkeys(seeds)], [*TOKENS, *tokens]

    @st.composite
    def mutated(draw: Draw) -> bytes:
        data = bytearray(draw(st.sampled_from(known)))
        for _ in range(draw(st.integers(0, 5))):
            at = draw(st.integers(0, max(0, len(data))))
            deed = draw(st.integers(0, 7))
            if deed == 0 and data:
                data[min(at, len(data) - 1)] ^= 1 << draw(st.integers(0, 7))
            elif deed == 1:
                del data[at : at + draw(st.integers(1, 64))]
            elif deed == 2:
                del data[at:]
            elif deed == 3:
                data[at:at] = draw(st.sampled_from(words))
            elif deed == 4:
                word = draw(st.sampled_from(words))
                data[at : at + len(word)] = word
            elif deed == 5:
                other = draw(st.sampled_from(known))
                start = draw(st.integers(0, max(0, len(other))))
                data[at:at] = other[start : start + draw(st.integers(1, 512))]
            elif deed == 6:
                data[at:at] = bytes(data[at : at + draw(st.integers(1, 64))]) * draw(st.integers(1, 40))
            else:
                data[at:at] = draw(st.binary(max_size=8))
            del data[_MOST:]
        return bytes(data)

    return mutated()


def of_text(seeds: Sequence[str], tokens: Sequence[str] = ()) -> st.SearchStrategy[str]:
    """Like `of_bytes`, as a text."""
    raw = of_bytes([seed.encode() for seed in seeds], [token.encode() for token in tokens])
    return raw.map(lambda data: data.decode("utf-8", "surrogateescape"))


def of_data(seeds: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Seeds of which a few parts are replaced, left out, doubled, renamed or exchanged."""
    known = [(seed, [*_paths(seed)]) for seed in seeds]
    parts = [_at(seed, path) for seed, paths in known for path in paths]

    @st.composite
    def mutated(draw: Draw) -> Any:
        data, paths = draw(st.sampled_from(known))
        for _ in range(draw(st.integers(0, 4))):
            if data is _GONE:
                break
            path = draw(st.sampled_from(paths))
            deed = draw(st.integers(0, 6))
            if deed <= 2:
                data = _changed(data, path, lambda _: draw(st.sampled_from(VALUES)))
            elif deed == 3:
                data = _changed(data, path, lambda _: draw(st.sampled_from(parts)))
            elif deed == 4:
                data = _changed(data, path, lambda old: _with_more(draw, old))
            elif deed == 5:
                data = _changed(data, path, lambda old: draw(st.sampled_from(([old], {"x": old}, str(old)))))
            else:
                data = _changed(data, path, lambda _: _GONE)
        return None if data is _GONE else data

    return mutated()


def of_yaml(seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """YAML files: mutated as bytes, and as data that is written again, as JSON or as YAML."""
    data = of_data([_loaded(seed) for seed in seeds])
    return st.one_of(of_bytes(seeds, tokens), data.map(json_text), data.map(_yaml_text))


def of_json(seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """JSON files, as `of_yaml`."""
    return st.one_of(of_bytes(seeds, tokens), of_data([json.loads(seed) for seed in seeds]).map(json_text))


def json_text(data: Any) -> bytes:
    """Data as JSON, with all that JSON cannot hold."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _yaml_text(data: Any) -> bytes:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    try:
        text: str = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, UnicodeError, RecursionError):
        return json_text(data)
    return text.encode("utf-8", "surrogatepass")


def _loaded(seed: bytes) -> Any:
    import yaml

    return yaml.load(seed, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


_GONE = object()


def _paths(data: Any, above: Path = ()) -> Iterator[Path]:
    yield above
    inside: Sequence[tuple[Any, Any]] = ()
    if isinstance(data, Mapping):
        inside = [*data.items()]
    elif isinstance(data, list):
        inside = [*enumerate(data)]
    for key, value in inside:
        yield from _paths(value, (*above, key))


def _at(data: Any, path: Path) -> Any:
    for key in path:
        data = data[key]
    return data


def _changed(data: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """Data with a change at a path, as far as that is still there; nothing is changed in place."""
    if not path:
        return change(data)
    key, rest = path[0], path[1:]
    if isinstance(data, dict) and key in data:
        inside = _changed(data[key], rest, change)
        return {k: (inside if k == key else v) for k, v in data.items() if k != key or inside is not _GONE}
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        inside = _changed(data[key], rest, change)
        return [*data[:key], *(() if inside is _GONE else (inside,)), *data[key + 1 :]]
    return data


def _with_more(draw: Draw, old: Any) -> Any:
    """A mapping with one more key, or with another; a list of twice the same."""
    if isinstance(old, dict):
        return {**old, draw(st.sampled_from(KEYS)): draw(st.sampled_from(VALUES))}
    return [*old, *old, draw(st.sampled_from(VALUES))] if isinstance(old, list) else [old, old]
