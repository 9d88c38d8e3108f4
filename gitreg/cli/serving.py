"""serve, doctor: a real Triton server, and the machine it should run on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitreg.cli import output

if TYPE_CHECKING:
    from gitreg.pins import Pin
    from gitreg.registry import Registry
    from gitreg.reports import Finding, ModelReport
    from gitreg.server import Ports, Running, Triton

DEATHS, WITHIN = 3, 60.0  # so many ended processes of models in so many seconds are too many
MANY, FEW = 20, 3  # findings of one kind that are listed one by one, and how many of more than that


@click.command()
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option(
    "--http-port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.option(
    "--grpc-port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.option(
    "--metrics-port",
    default=8002,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 picks a free one.",
)
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all."
)
@click.option(
    "--timeout",
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long each model may run its test.",
)
@click.option(
    "--ready-timeout",
    default=300.0,
    show_default=True,
    type=output.Seconds(),
    metavar="SECONDS",
    help="How long Triton may take until it has loaded all models.",
)
@click.option(
    "--digest",
    metavar="SHA256",
    multiple=True,
    help="The content digest that a version has to have, as `gitreg show` prints it: one for each REF.",
)
@output.allows_formats
@output.in_environment
@output.passes_variables
@output.in_folder
@output.as_json
def serve(
    references: tuple[str, ...],
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    address: str,
    timeout: float | None,
    ready_timeout: float,
    digest: tuple[str, ...],
    allow_format: tuple[str, ...],
    json_: bool,
) -> None:
    """Serve models on a real Triton server until ^C.

    Builds and tests their Triton packages first. With --json one object is printed when the server is
    ready. When a model ends the process that it runs in, Triton is started again.
    """
    from gitreg import server
    from gitreg.virtualenvs import numpy_of

    pins = _pins(references, digest, allow_format)
    registry = output.registry()
    pinned = _confirmed(registry, references, pins)
    triton = server.find()
    own = registry.environments.choice == "own"
    if not own:
        _need_numpy(triton, None, "pip install 'numpy<2', or put another tritonserver on PATH")
    ports = server.free_ports(address, http_port, grpc_port, metrics_port)
    with ExitStack() as held:
        scratch = held.enter_context(registry.scratch())
        with output.progress("built", len(references), json_) as step:
            reports = _built(registry, references, scratch, timeout, step)
        for report in (report for report in reports if report.model in pinned):
            name = f"{report.model}@{report.version}"
            pinned[report.model].hold_digest(name, report.digest, "what was built")
        backends = {report.model: _need_backend(triton, report.packages["triton"]) for report in reports}
        loaded = {one.model: one.requirements for one in reports if backends[one.model] == "python"}
        python = held.enter_context(registry.environments.of_all(loaded))
        if own and loaded:
            _need_numpy(
                triton, numpy_of(python), "require numpy<2 in the manifest, or serve with --env current"
            )
        start = partial(
            server.serve,
            triton,
            scratch / "triton",
            ports,
            scratch / "triton.log",
            ready_timeout,
            registry.passed,
            python.executable,
            registry.sandboxed,
            partial(output.say, err=True),
        )
        _keep(start, partial(_announce, ports, [report.model for report in reports], json_))


def _pins(references: Sequence[str], digests: Sequence[str], formats: Sequence[str]) -> list[Pin]:
    """What is expected of each reference, in their order."""
    from gitreg.pins import pin

    if digests and len(digests) != len(references):
        many = len(references)
        raise click.UsageError(f"--digest is given once for each REF, of which there are {many}, or never")
    wanted: Sequence[str | None] = digests or [None] * len(references)
    return [pin(one, formats or None) for one in wanted]


def _confirmed(registry: Registry, references: Sequence[str], pins: Sequence[Pin]) -> dict[str, Pin]:
    """model -> what is expected of it, for those of which anything is; they are found to be that."""
    from gitreg.pins import confirm

    asked = zip(references, pins, strict=True)
    return {confirm(registry, one, pin): pin for one, pin in asked if pin.given}


def _built(
    registry: Registry,
    references: Sequence[str],
    scratch: Path,
    timeout: float | None,
    step: Callable[[str], None],
) -> list[ModelReport]:
    """The Triton packages, built and tested. Raises the first error; warnings are printed."""

    def tell(report: ModelReport) -> None:
        step(f"{report.model} {report.version}: {report.status}")

    reports = registry.build(references, scratch, ["triton"], None, timeout, tell)
    for report in reports:
        if report.error:
            raise report.error
        for warning in report.warnings:
            output.say(f"warning: {report.model}: {warning}", err=True)
    return reports


def _keep(start: Callable[[], AbstractContextManager[Running]], announce: Callable[[], None]) -> None:
    """Keeps a server running until ^C; starts it again when the process of a model has ended.

    One model alone is not loaded again: for that Triton has to offer its repository's API, by which whoever
    reaches it runs code.

    Raises:
        Outside: the server ended, does not become ready, or its models end their processes too often.
    """
    from gitreg import server
    from gitreg.errors import Outside

    deaths: list[float] = []
    while True:
        with start() as running:
            if deaths:
                output.say("Triton is ready again", err=True)
            else:
                announce()
            try:
                models = running.watch()
            except KeyboardInterrupt:
                output.say("stopped", err=True)
                raise click.exceptions.Exit(130) from None
            now = time.monotonic()
            deaths = [*(death for death in deaths if now - death < WITHIN), now]
            ended = f"{', '.join(models)}: the process of the model ended"
            if len(deaths) == DEATHS:
                raise Outside(
                    f"{ended}; that was the third time in a minute:{server.reasons(running.log)}",
                    f"gitreg predict {models[0]} --input FILE asks the model apart",
                )
            output.say(
                f"warning: {ended} (os._exit, a crash, or no memory left), and Triton would answer its "
                "requests with HTTP 500 from now on: starting Triton again",
                err=True,
            )


def _need_numpy(triton: Triton, numpy: str | None, hint: str) -> None:
    from gitreg import server
    from gitreg.errors import Refused

    if reason := server.unfit(triton, numpy):
        raise Refused(reason, hint)


def _need_backend(triton: Triton, package: Path) -> str:
    """The backend that a package is for.

    Raises:
        Refused: the package names what is outside of it, or the server lacks its backend.
    """
    from gitreg import builder, server
    from gitreg.errors import Refused
    from gitreg.packages.triton import around_package, lead_out, parse_config

    config: Any = parse_config((package / "config.pbtxt").read_bytes())
    record = builder.find_record(package)
    if record and (found := lead_out(config, around_package(record))):
        raise Refused(f"{config.name}: {line}" for line in found)
    there = server.backends_of(triton)
    if there is not None and config.backend not in there:
        raise Refused(
            f"{config.name} is for Triton's {config.backend} backend, which {triton} does not have",
            "leave out `backend: native`, or serve what gitreg build makes with a Triton that has it",
        )
    return str(config.backend)


def _announce(ports: Ports, models: list[str], json_: bool) -> None:
    if json_:
        where = {"http": ports.http, "grpc": ports.grpc, "metrics": ports.metrics, "address": ports.address}
        output.print_json({**where, "pid": os.getpid(), "models": models})
        return
    output.table(["model", "ask it at"], [[m, f"{ports.url}/v2/models/{m}/infer"] for m in models])
    output.say(f"gRPC on port {ports.grpc}, metrics on {ports.metrics}. ^C stops the server.")


@click.command()
@click.option(
    "--remote", metavar="NAME", help="Whose tags to compare; by default what the branch follows, or origin."
)
@click.option(
    "--deep", is_flag=True, help="Also compute what versions in a stage contain, and ask for every artifact."
)
@output.in_folder
@output.as_json
def doctor(remote: str | None, deep: bool, json_: bool) -> None:
    """Look at this machine and at what the registry records: what is not right, and what helps.

    Tags that were moved, deleted, back-dated or written by hand are named, each with the command that mends
    it. Nothing is changed.
    """
    from gitreg.doctor import examine

    found = list(examine(Path(), remote, deep))
    if json_:
        output.print_json(
            [{"name": f.name, "level": f.level, "detail": f.detail, "hint": f.hint} for f in found]
        )
    else:
        few, more = _summed_up(found)
        output.table(["what", "verdict", "found"], [[f.name, f.level, f.detail] for f in few])
        for name, hint in dict.fromkeys((f.name, f.hint) for f in few if f.hint):
            output.say(f"hint: {name}: {hint}")
        for name, count in more.items():
            output.say(f"{name}: {count:,} more; gitreg doctor --json lists them all")
    if any(f.level == "error" for f in found):
        raise click.exceptions.Exit(1)


def _summed_up(found: list[Finding]) -> tuple[list[Finding], dict[str, int]]:
    """What a person reads: of many findings of one kind the first few, and how many more there are."""
    kinds = Counter((f.name, f.level) for f in found)
    left = {kind: FEW if count > MANY else count for kind, count in kinds.items()}
    few = []
    for finding in found:
        left[finding.name, finding.level] -= 1
        if left[finding.name, finding.level] >= 0:
            few.append(finding)
    more = Counter[str]()
    for (name, _), count in left.items():
        more[name] += max(0, -count)
    return few, +more
