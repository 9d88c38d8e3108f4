"""The read side of a registry: what is registered, found, compared. Needs no work tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from gitreg import ownership
from gitreg.repository import Repository

if TYPE_CHECKING:  # a loader needs none of these
    from gitreg.catalog import Catalog
    from gitreg.catalogued import ModelEvent, ModelVersion, Page, RegisteredModel
    from gitreg.comparison import Comparison, Diff
    from gitreg.graph import Graph
    from gitreg.recorded import Tag


class Readable(Repository):
    """What can be read of a registry, as its references are now.

    Args:
        root, bare, prefix: as of `Repository`.
    """

    @cached_property
    def catalog(self) -> Catalog:
        """What can be read of it, as its references are now."""
        from gitreg.catalog import Catalog

        # What was laid out of a bare repository has files, and its tags have none.
        bare = self.bare or (self.tags_of != self.root and not (self.tags_of / "registry.yaml").is_file())
        return Catalog(self.tags_of, bare=bare, prefix=self.prefix if bare else "")

    def _foreign(self, tags: Sequence[Tag]) -> set[str]:
        """As of `Repository`; of many tags what the index knows, or keeps from now on."""
        owner = ownership.Owner(self.tags_of, self.space)
        if len(tags) <= ownership.MANY or owner.alone:
            return owner.foreign(tags)
        return self.catalog.foreign(tags)

    def models(self) -> list[RegisteredModel]:
        """Every model that has, or had, a registered version; by name."""
        return self.catalog.models()

    def model(self, reference: str) -> RegisteredModel:
        """One model, by its name, its id, or a reference to a version of it.

        Raises:
            Refused: no version of such a model is registered.
        """
        return self.catalog.model(reference)

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """All versions of a model, or of every model, in order of registration."""
        return self.catalog.versions(model)

    def version(self, reference: str) -> ModelVersion:
        """The registered version that a reference, a URI or an id names; of a model's name, the highest.

        Raises:
            Refused: there is no such model or version, or nothing is in that stage.
        """
        return self.catalog.version(reference)

    def history(self, model: str) -> list[ModelEvent]:
        """What the tags of a model did, in order."""
        return self.catalog.history(model)

    def search(
        self,
        expression: str = "",
        order_by: str = "",
        limit: int | None = None,
        token: str | None = None,
        latest: bool = False,
    ) -> Page:
        """Registered versions that a filter is true for; see `Catalog.search`.

        Raises:
            Usage: the filter, the order or the token is none; the message has the place.
        """
        return self.catalog.search(expression, order_by, limit, token, latest)

    def compare(self, *references: str) -> Comparison:
        """Versions side by side; which metrics are better, and whether the last one is.

        Raises:
            Refused: there is no such version.
        """
        return self.catalog.compare(*references)

    def diff(self, old: str, new: str) -> Diff:
        """What changed from one version to another, and whether callers of the old one keep working."""
        return self.catalog.diff(old, new)

    def lineage(self, reference: str) -> Graph:
        """Where a version comes from, and where it went."""
        return self.catalog.lineage(reference)
