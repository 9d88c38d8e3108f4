"""Everything that `check` finds in a registry: its models, its stage files, and how its files lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gitreg import checker, demands, doors, rules
from gitreg.git.listing import Listing
from gitreg.layout import Layout
from gitreg.manifest import read_manifest
from gitreg.reports import CheckReport

if TYPE_CHECKING:
    from gitreg.registry import Registry


def audit(
    registry: Registry,
    references: Sequence[str],
    run: bool,
    timeout: float | None,
    progress: Callable[[str], None] | None,
) -> CheckReport:
    """Find everything that is wrong; see `Registry.check`."""
    files = registry.chosen(references)
    report = CheckReport(len(files))
    kept = Listing(registry.root).submodules if registry.git_folder else []
    found = checker.examine(registry, files, report, run, timeout, progress, submodules=kept)
    names = [one.named for one in found if one.named]
    if references:
        names = [n for f in registry.files if (n := read_manifest(registry.root, f).named)]
    report.problems += checker.check_names(names)
    report.problems += demands.mistakes(registry.root, registry.file.require)
    report.problems += rules.check_neighbours(registry)
    report.problems += rules.check_stays(registry, {one.name: one.file for one in names})
    report.problems += rules.check_versions(registry, found)
    paths = {one.named.name: one.artifact for one in found if one.named and one.artifact}
    report.problems += doors.mistakes(registry.root, paths)
    layout = Layout(registry, kept)
    read = {file for one in found for file in one.files}
    report.problems += layout.changed(read, found) if references else layout.everything(found)
    report.problems = checker.sorted_problems(report.problems)
    return report
