"""Where a version comes from and where it went, as a graph: a tree for the terminal, DOT, Mermaid. Pure.

Every text in it is somebody else's, and is escaped for where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitreg.catalogued import ModelVersion

_MOST_TEXT = 200


@dataclass(frozen=True)
class Node:
    """One thing that a version comes from, or is in.

    Attributes:
        id: unique in its graph.
        kind: "version", "code", "data", "artifact", "environment", "run", "model", "template", "commit"
            or "stage".
        label: what it is called.
        details: more of it, by name.
    """

    id: str
    kind: str
    label: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """`source` is, or is a part of, what `target` was made from; `label` says how."""

    source: str
    target: str
    label: str


@dataclass(frozen=True)
class Graph:
    """A version's lineage.

    Attributes:
        version: what it is of; the node `version`.
    """

    version: ModelVersion
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def tree(self) -> Iterator[tuple[int, str]]:
        """(depth, line) of each line: what it comes from, then where it went."""
        nodes = {node.id: node for node in self.nodes}
        yield 0, _line(nodes["version"])
        for edge in self.edges:
            if edge.target == "version":
                yield 1, f"{edge.label} {_line(nodes[edge.source])}"
                yield from ((2, f"{key}: {value}") for key, value in nodes[edge.source].details.items())
                for other in self.edges:
                    if other.target == edge.source:
                        yield 2, f"{other.label} {_line(nodes[other.source])}"
        for edge in self.edges:
            if edge.source == "version":
                yield 1, f"{edge.label} {_line(nodes[edge.target])}"
                yield from ((2, f"{key}: {value}") for key, value in nodes[edge.target].details.items())

    def dot(self) -> str:
        """Graphviz's language: https://graphviz.org/doc/info/lang.html"""
        lines = [
            "digraph lineage {",
            "  rankdir=LR;",
            '  node [shape=box, style=rounded, fontname="sans-serif"];',
        ]
        for node in self.nodes:
            rows = [
                f"{node.kind}: {_short(node.label)}",
                *(f"{k}: {_short(v)}" for k, v in node.details.items()),
            ]
            label = "\\n".join(_dot(row) for row in rows)
            bold = ', style="rounded,bold"' if node.id == "version" else ""
            lines.append(f'  "{node.id}" [label="{label}"{bold}];')
        lines += [
            f'  "{edge.source}" -> "{edge.target}" [label="{_dot(edge.label)}"];' for edge in self.edges
        ]
        return "\n".join([*lines, "}"]) + "\n"

    def mermaid(self) -> str:
        """A flowchart, as GitHub draws it: https://mermaid.js.org/syntax/flowchart.html"""
        lines = ["flowchart LR"]
        for node in self.nodes:
            rows = [
                f"{node.kind}: {_short(node.label)}",
                *(f"{k}: {_short(v)}" for k, v in node.details.items()),
            ]
            lines.append(f'  {node.id}["{"<br>".join(_mermaid(row) for row in rows)}"]')
        lines += [f'  {edge.source} -->|"{_mermaid(edge.label)}"| {edge.target}' for edge in self.edges]
        return "\n".join(lines) + "\n"

    def data(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        return {
            "version": str(self.version),
            "nodes": [
                {"id": n.id, "kind": n.kind, "label": n.label, "details": dict(n.details)} for n in self.nodes
            ],
            "edges": [{"source": e.source, "target": e.target, "label": e.label} for e in self.edges],
        }


def of(version: ModelVersion) -> Graph:
    """The lineage of a version, as its manifest and its tags say."""
    made = _Making(version)
    made.declared(version.lineage)
    made.artifact()
    made.recorded()
    return Graph(version, tuple(made.nodes), tuple(made.edges))


class _Making:
    """Nodes and edges, one by one."""

    def __init__(self, version: ModelVersion) -> None:
        self.version = version
        told = {"id": version.id, "digest": version.digest, "type": version.type}
        self.nodes = [Node("version", "version", str(version), _said(told))]
        self.edges: list[Edge] = []

    def add(
        self,
        kind: str,
        label: str,
        edge: str,
        details: Mapping[str, Any],
        after: bool = False,
        of: str = "version",
    ) -> str:
        """A node and its edge; its id."""
        node = Node(f"n{len(self.nodes)}", kind, _one_line(label), _said(details))
        self.nodes.append(node)
        ends = (of, node.id) if after else (node.id, of)
        self.edges.append(Edge(*ends, edge))
        return node.id

    def declared(self, said: Mapping[str, Any]) -> None:
        """What the manifest says of code, data, environment and run."""
        code, run, environment = (_mapping(said.get(key)) for key in ("code", "run", "environment"))
        if code:
            label = str(code.get("repo") or code.get("path") or code.get("commit") or "?")
            self.add("code", label, "trained by", _without(code, "repo"))
        data = said.get("data")
        for one in data if isinstance(data, list) else ():
            one = _mapping(one)
            self.add("data", str(one.get("name", "?")), "trained on", _without(one, "name"))
        if environment:
            told = {k: v for k, v in environment.items() if isinstance(v, str)}
            packages = _mapping(environment.get("packages"))
            if packages:
                told["packages"] = ", ".join(f"{k} {v}" for k, v in list(packages.items())[:20])
            label = str(told.get("dockerfile") or told.get("conda") or f"Python {told.get('python', '?')}")
            self.add("environment", label, "trained in", told)
        if run:
            label = str(run.get("run_id") or run.get("pipeline_run_id") or run.get("pipeline") or "?")
            self.add("run", label, "made by", run)
        self._models(_mapping(said.get("source")), _mapping(said.get("template")))

    def _models(self, source: Mapping[str, Any], template: Mapping[str, Any]) -> None:
        """Other models that it was made from."""
        if source:
            how = "taken from" if source.get("registry") else "converted from"
            self.add("model", _reference(source), how, _without(source, "model", "version"))
        if template:
            told = {"values": ", ".join(f"{k}: {v}" for k, v in _mapping(template.get("values")).items())}
            self.add("template", _reference(template), "made from", told)

    def artifact(self) -> None:
        """The artifact, and where it was taken from."""
        one = self.version
        said = one.artifact
        if one.image:
            self.add("artifact", one.image, "runs", {})
        if not said and not one.artifact_hash:
            return
        label = str(said.get("path") or said.get("at") or said.get("url") or said.get("model") or "artifact")
        size = f"{one.size:,} bytes" if one.size is not None else None
        node = self.add("artifact", label, "holds", {"hash": one.artifact_hash, "size": size})
        if said.get("stage"):
            self.add("run", str(said["stage"]), "output of stage", {}, of=node)
        if said.get("url"):
            self.add("data", str(said["url"]), "imported from", {}, of=node)
        if said.get("registry") and not one.lineage.get("source"):
            self.add("model", _reference(said), "subscribed from", {"registry": said["registry"]}, of=node)

    def recorded(self) -> None:
        """What tags say: the commit, and the stages."""
        one = self.version
        details = {
            "tag": one.tag,
            "by": one.by,
            "when": f"{one.created:%Y-%m-%d %H:%M} UTC",
            "file": one.file,
        }
        self.add("commit", one.commit, "registered at", details)
        for stay in one.stays:
            until = f"{stay.until:%Y-%m-%d %H:%M} UTC" if stay.until else ""
            details = {"since": f"{stay.since:%Y-%m-%d %H:%M} UTC", "until": until, "by": stay.by}
            self.add("stage", stay.stage, "was in" if stay.until else "is in", details, after=True)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _reference(said: Mapping[str, Any]) -> str:
    return f"{said.get('model', '?')}@{said.get('version', '?')}"


def _without(said: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key not in keys}


def _said(details: Mapping[str, Any]) -> dict[str, str]:
    return {key: _one_line(value) for key, value in details.items() if value not in (None, "", [], {})}


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())


def _line(node: Node) -> str:
    return f"{node.kind} {node.label}" if node.id != "version" else node.label


def _short(text: str) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= _MOST_TEXT else f"{plain[: _MOST_TEXT - 3]}..."


def _dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mermaid(text: str) -> str:
    """Mermaid's own escapes, which are `#` and a number or a name."""
    return re.sub(r"[^\w .,:/@+=-]", lambda m: f"#{ord(m[0])};", text, flags=re.ASCII) if text else " "
