"""The pages of a registry by their paths: what `site build` writes and `site serve` answers with.

    index.html                  every model; its table is filled from data/models-<n>.js, a part at a time
    models/<name>/index.html    a model, readable without scripts
    models/<name>/data.js       its versions, for version.html and compare.html
    version.html#churn@1.2.0    a version
    compare.html#churn@1.0.0,churn@1.2.0
    assets/                     styles, scripts, the icon

Data are scripts, as a page that is opened from a folder may load no other file. No page loads anything from
elsewhere, and none has a script or a style in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from gitreg import comparison, forge, git
from gitreg.addresses import redacted
from gitreg.catalog import Catalog
from gitreg.catalogued import ModelVersion, RegisteredModel
from gitreg.declared import RegistryFile
from gitreg.names import NAME
from gitreg.site import cards, telling
from gitreg.site.extras import Extras, Samples
from gitreg.site.texts import text
from gitreg.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

# Models in one file of the registry's data: the first one comes with the page, the others after it is shown.
ROWS = 200
MOST_STRAY = 20
FIRST = 20  # that the page has without its script
_SCRIPTS = ("lib.js", "plots.js")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types gitreg"
)
LIVE = ("live.js", "deeds.js")
# Who has a word in what pages tell, besides this room.
_TOLD_BY = ("catalogued.py", "comparison.py", "formats.py", "graph.py")


class Pages:
    """The pages of one registry, each as its references are when it is asked for.

    Args:
        catalog: of the registry.
        live: whether a server stands behind them.
    """

    def __init__(self, catalog: Catalog, live: bool = False) -> None:
        self.catalog, self.live = catalog, live
        self.extras = Extras(catalog)
        self.once = telling.Once()

    # What all pages know ------------------------------------------------------------------------

    @cached_property
    def file(self) -> RegistryFile:
        """registry.yaml; a broken one says as much as an empty one."""
        return self.extras.registry() or RegistryFile(self.catalog.root.name)

    @property
    def stages(self) -> Mapping[str, Mapping[str, Any]]:
        """Of registry.yaml, in its order."""
        return self.file.stages

    @cached_property
    def place(self) -> str:
        """The registry's address, as others can use it; a point for one that has none."""
        url = git.setting(self.catalog.root, "remote.origin.url")
        return redacted(url) if forge.page(url) else "."

    @cached_property
    def web(self) -> str | None:
        """The repository's page at its forge."""
        return forge.page(git.setting(self.catalog.root, "remote.origin.url"))

    def key(self) -> dict[str, Any]:
        """What pages depend on besides the references of their models."""
        return {
            "gitreg": __version__,
            "code": _code(),
            "name": self.file.name,
            "stages": self.stages,
            "place": self.place,
            "assets": {name: asset(name).decode() for name in assets()},
            "templates": [_template(n) for n in ("base", "registry", "model", "version", "compare")],
        }

    # Pages --------------------------------------------------------------------------------------

    def get(self, path: str) -> bytes | None:
        """A page, or a file beside one; None where there is none."""
        if path in ("", "index.html"):
            return self.registry(self.catalog.models())
        if path in ("version.html", "compare.html"):
            return self.shell(path)
        folder, _, name = path.rpartition("/")
        if folder == "assets":
            return asset(name) if name in assets(self.live) else None
        if folder == "data" and name.startswith("models-") and name[7:-3].isdigit() and len(name) < 20:
            parts = dict(self.rows(self.catalog.models()))
            return parts.get(path)
        top, _, model = folder.partition("/")
        if top == "models" and NAME.match(model) and name in ("index.html", "data.js"):
            return dict(self.model(model)).get(path)
        return None

    def fixed(self) -> Iterator[tuple[str, bytes]]:
        """The files that are the same for every model."""
        for name in assets(self.live):
            yield f"assets/{name}", asset(name)
        for path in ("version.html", "compare.html"):
            yield path, self.shell(path)
        yield ".nojekyll", b""  # GitHub Pages takes the files as they are

    def registry(self, models: Sequence[RegisteredModel]) -> bytes:
        """index.html"""
        used = {stage for one in models for stage in one.stages}
        return self._render(
            "registry",
            "",
            ("registry.js",),
            first=[telling.row(one) for one in models[:FIRST]],
            total=len(models),
            stray=[text(reason) for some in self.catalog.stray.values() for reason in some][:MOST_STRAY],
            parts=max(1, -(-len(models) // ROWS)),
            stages=telling.ordered(used, list(self.stages)),
            known=[stage for stage in self.stages if stage not in used],
            data=("data/models-0.js",),
        )

    def rows(self, models: Sequence[RegisteredModel]) -> Iterator[tuple[str, bytes]]:
        """The registry's data, in parts."""
        for i in range(max(1, -(-len(models) // ROWS))):
            rows = [telling.row(one) for one in models[i * ROWS : (i + 1) * ROWS]]
            yield f"data/models-{i}.js", telling.script("rows", i, rows).encode()

    def model(self, name: str) -> Iterator[tuple[str, bytes]]:
        """A model's page and data; nothing where there is no such model."""
        if name not in self.catalog.names():
            return
        one = self.catalog.model(name)
        versions = one.versions()
        yield from self.pages_of(one, versions, self.extras.samples(versions), self.extras.card(one.about))

    def pages_of(
        self, one: RegisteredModel, versions: Sequence[ModelVersion], samples: Samples, card: str | None
    ) -> Iterator[tuple[str, bytes]]:
        """The same of what was read before.

        Args:
            versions: the highest first.
            card: of the model, in Markdown.
        """
        stages = self.stages
        ways = comparison.directions(stages)
        told = telling.model(one, versions, list(stages), ways, samples, self.place, self.once)
        data = telling.script("model", one.name, telling.pooled(told))
        yield f"models/{one.name}/data.js", data.encode()
        yield (
            f"models/{one.name}/index.html",
            self._render(
                "model",
                "../../",
                ("model.js",),
                model=told,
                card=cards.html(card, self._files(one.about)) if card else "",
                metrics=list(dict.fromkeys(name for v in told["versions"] for name, _ in v["metrics"]))[:40],
                data=("data.js",),
            ),
        )

    def shell(self, path: str) -> bytes:
        """A page that its script fills in, for whatever its address names."""
        name = path.partition(".")[0]
        return self._render(name, "", (f"{name}.js",))

    def _files(self, one: ModelVersion) -> str | None:
        """Where the forge shows the files beside a version's card."""
        if not self.web or not one.card:
            return None
        folder = f"{self.catalog.place.prefix}{one.card}".rpartition("/")[0]
        return f"{self.web}/blob/{one.commit}/{folder}/" if folder else f"{self.web}/blob/{one.commit}/"

    def _render(
        self, name: str, base: str, scripts: Sequence[str], data: Sequence[str] = (), **said: Any
    ) -> bytes:
        live = LIVE if self.live else ()
        own = [f"{base}assets/{script}" for script in scripts]
        page = environment().get_template(f"{name}.html")
        made = page.render(
            base=base,
            policy=POLICY,
            registry=text(self.file.name),
            web=self.web,
            live=self.live,
            scripts=[*(f"{base}assets/{one}" for one in (*_SCRIPTS, *live)), *data, *own],
            gitreg=__version__,
            **said,
        )
        return made.encode("utf-8", "replace")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Jinja, which escapes whatever a template does not call safe."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(lambda name: _template(name.removesuffix(".html"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["day"] = lambda at: f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d}"
    made.filters["minute"] = lambda at: f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M} UTC"
    made.filters["iso"] = lambda at: f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    made.filters["metric"] = _metric
    return made


def _metric(value: object) -> str:
    """As JavaScript's `gitregSite.number` writes it."""
    if isinstance(value, str):
        return value.replace("Infinity", "\u221e")
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}"


@lru_cache(maxsize=1)
def _code() -> str:
    """A digest of what makes pages: between two releases it changes, and the version does not."""
    said = hashlib.sha256()
    house = resources.files("gitreg")
    own = (one for one in (house / "site").iterdir() if one.name.endswith(".py"))
    for file in sorted([*own, *(house / name for name in _TOLD_BY)], key=lambda file: file.name):
        said.update(file.read_bytes())
    return said.hexdigest()


@lru_cache(maxsize=64)
def asset(name: str) -> bytes:
    """A file of assets/."""
    return (resources.files("gitreg.site") / "assets" / name).read_bytes()


def assets(live: bool = False) -> list[str]:
    """Their names."""
    there = sorted(file.name for file in (resources.files("gitreg.site") / "assets").iterdir())
    return [name for name in there if name.endswith((".js", ".css", ".svg")) and (live or name not in LIVE)]


@lru_cache(maxsize=16)
def _template(name: str) -> str:
    return (resources.files("gitreg.site") / "templates" / f"{name}.html").read_text("utf-8")
