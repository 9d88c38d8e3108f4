"""The demo: this repository's own models, from manifest to a real Triton server, in one go.

Every step is a command that you can type yourself; it is printed before it runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import gitreg
from gitreg import server
from gitreg.datafiles import read_samples
from gitreg.declared import Manifest
from gitreg.elements import canonical
from gitreg.errors import GitregError
from gitreg.schema import rows

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
console = Console(width=None if sys.stdout.isatty() else 118, highlight=False)

Arrays = dict[str, Any]


def main() -> int:
    """Build, verify, serve, ask, compare."""
    registry = gitreg.Registry(ROOT)
    console.print(
        "This repository is a model registry: models/ declares, DVC holds the artifacts (here in dvcstore/)."
    )
    run("check")
    run("build", "--all", "-o", "dist")
    run("verify", "dist")
    models = [(manifest, question(registry, manifest)) for manifest in registry.manifests()]
    try:
        triton = server.find()
        reason = server.unfit(triton)
    except GitregError as error:
        reason = error.message
    answers: dict[str, Arrays] = {}
    if reason:
        console.print(f"\nNo Triton here ({reason}); the raw packages answer alone.")
    else:
        with serving([manifest.name for manifest, _ in models]) as port:
            answers = {manifest.name: ask_triton(port, manifest, asked) for manifest, asked in models}
    return show(models, answers)


def run(*arguments: str) -> None:
    """Run one gitreg command the way a user would."""
    console.print(f"\n[bold]$ gitreg {' '.join(arguments)}[/bold]")
    done = subprocess.run([sys.executable, "-m", "gitreg", *arguments], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def question(registry: gitreg.Registry, manifest: Manifest) -> Arrays:
    """One of the model's samples, as one row."""
    assert manifest.schema and manifest.sample_data
    file = registry.root / manifest.sample_data
    samples, _ = read_samples(file, manifest.sample_data, manifest.schema, manifest.batching.custom)
    items = {item.name: item for item in manifest.schema.input_schema}
    sample = {name: canonical(items[name], array) for name, array in samples[len(samples) // 2].items()}
    return rows(manifest.schema, sample, manifest.batching.custom)


@contextmanager
def serving(names: list[str]) -> Iterator[int]:
    """`gitreg serve` in the background, on free ports; yields the HTTP port."""
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    console.print(f"\n[bold]$ gitreg serve {' '.join([*names, *ports])}[/bold]")
    command = [sys.executable, "-m", "gitreg", "serve", *names, *ports, "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        if not text:
            sys.exit(process.wait())
        ready = json.loads(text)
        console.print(f"Triton is ready on http://{ready['address']}:{ready['http']}")
        yield int(ready["http"])
    finally:
        process.terminate()  # as ^C would; but a shell that runs this in the background has it ignore that
        process.wait()


def ask_triton(port: int, manifest: Manifest, asked: Arrays) -> Arrays:
    """Ask over HTTP, with NVIDIA's own client."""
    from tritonclient import http
    from tritonclient.utils import np_to_triton_dtype

    assert manifest.schema
    inputs = []
    for name, array in asked.items():
        tensor = http.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    with http.InferenceServerClient(f"127.0.0.1:{port}") as client:
        answer = client.infer(manifest.name, inputs)
    return {item.name: answer.as_numpy(item.name)[0] for item in manifest.schema.output_schema}


def ask_raw(manifest: Manifest, asked: Arrays) -> Arrays:
    """Ask the raw package, loaded into this process."""
    model = gitreg.load_raw_model(DIST / "raw" / manifest.name)
    single = asked if manifest.batching.custom else {name: array[0] for name, array in asked.items()}
    answer = model.predict(single)
    return {name: array[0] if manifest.batching.custom else array for name, array in answer.items()}


def show(models: list[tuple[Manifest, Arrays]], answers: dict[str, Arrays]) -> int:
    """The table; whether every pair of answers is the same decides the exit code."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("model", "it was asked", "Triton answered", "the raw package answered", "verdict"):
        table.add_column(header, overflow="fold")
    differing = 0
    for manifest, asked in models:
        raw = ask_raw(manifest, asked)
        triton = answers.get(manifest.name)
        same = triton is None or all(equal(raw[name], triton[name]) for name in raw)
        differing += not same
        verdict = "not served" if triton is None else "same" if same else "differs"
        style = {"same": "green", "differs": "bold red"}.get(verdict, "")
        sent = {name: array[0] for name, array in asked.items()}
        cells = [manifest.name, brief(sent), brief(triton) if triton else "", brief(raw)]
        table.add_row(*map(Text, cells), Text(verdict, style))
    console.print("\nOne question for each model, to both of its packages:")
    console.print(table)
    if differing:
        console.print(f"[bold red]{differing} of {len(models)} models answer differently.[/bold red]")
        return 1
    console.print(f"{len(models)} models, {2 * len(models)} packages in dist/, every answer the same.")
    console.print("Next: the five-minute tour in README.md.")
    return 0


def equal(one: Any, other: Any) -> bool:
    """Whether two answers are the same, up to the last digits of floats."""
    if np.asarray(one).dtype.kind == "f":
        return bool(np.allclose(one, other, rtol=1e-5, equal_nan=True))
    return text(one) == text(other)


def text(array: Any) -> list[str]:
    """Elements as text; strings are bytes on one side and may be str on the other."""
    return [e.decode() if isinstance(e, bytes) else str(e) for e in np.asarray(array).ravel().tolist()]


def brief(arrays: Arrays) -> str:
    """Arrays by name in a few words."""
    parts = []
    for name, array in arrays.items():
        values = [
            f"{v:.4g}" if isinstance(v, float) else text(v)[0] for v in np.asarray(array).ravel().tolist()
        ]
        shown = ", ".join(values[:4]) + (f", ... ({len(values)} values)" if len(values) > 4 else "")
        parts.append(f"{name}: {shown}")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
