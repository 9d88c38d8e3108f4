"""Names, versions, references and tags: the grammar as lists of what is valid and what is not.

GTO's own parser is the second opinion on tags.
"""

from __future__ import annotations

import itertools
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gto.tag
import pytest
from gto.constants import Action

from gitreg.errors import Usage
from gitreg.names import (
    NAME,
    VERSION,
    Kind,
    Reference,
    TagName,
    did_you_mean,
    is_like_a_tag,
    kebab,
    parse_reference,
    parse_tag,
    parse_uri,
)
from tests.support import Workshop, run

NAMES = ["ab", "churn", "churn-model", "c2", "a--b", "a" * 63, "x0-0x"]
NOT_NAMES = [
    "",
    "a",
    "Churn",
    "churn_model",
    "2churn",
    "-churn",
    "churn-",
    "churn.model",
    "churn model",
    "churn\n",
    "\nchurn",
    "chürn",
    "churn/x",
    "churn@1",
    "a" * 64,
    "ab\u0662",
]
VERSIONS = [
    "0.0.0",
    "1.2.0",
    "10.20.30",
    "1.0.0-rc.1",
    "1.0.0-0",
    "1.0.0-x-y.7.z",
    "1.0.0-01a",
    "999999999.0.0",
]
NOT_VERSIONS = [
    "",
    "1",
    "1.0",
    "1.0.0.0",
    "v1.0.0",
    "01.0.0",
    "1.00.0",
    "1.0.0-01",
    "1.0.0-",
    "1.0.0-a..b",
    "1.0.0+build",
    "1.0.0\n",
    " 1.0.0",
    "1.0.x",
    "-1.0.0",
    "1\u0662.0.0",
    "1.0.0-\u0662",
    "latest",
]
REFERENCES = {
    "churn": Reference("churn"),
    "churn@latest": Reference("churn"),
    "churn@1.2.0": Reference("churn", "1.2.0"),
    "churn@1.0.0-rc.1": Reference("churn", "1.0.0-rc.1"),
    "churn#production": Reference("churn", stage="production"),
    "latest": Reference("latest"),
    "churn-eu#staging-2": Reference("churn-eu", stage="staging-2"),
    "m_0123abc": Reference("", id="m_0123abc"),
    "v_0123456789ab": Reference("", id="v_0123456789ab"),
    f"v_{'0' * 40}": Reference("", id=f"v_{'0' * 40}"),
    "models:/churn/3": Reference("churn", ordinal=3),
}
NOT_REFERENCES = [
    "",
    "@1.0.0",
    "#production",
    "Churn",
    "churn@",
    "churn#",
    "churn@3",
    "churn@1.0",
    "churn@v1.0.0",
    "churn@Latest",
    "churn#Production",
    "churn#production#4",
    "churn#production@1.0.0",
    "churn@1.0.0#production",
    "churn@1.0.0\n",
    "models:/churn/0",
    "churn@\u0663",
    "churn@1.\u0663.0",
    "churn@\u00b2",
    "churn#production\n",
    "--upload-pack=sh",
    "-C",
    "churn@-rc.1",
    "m_012345",
    "m_0123ABC",
    "x_0123abc",
    "v_0123abc\n",
    f"v_{'0' * 41}",
    "Models:/churn/3",
]
URIS = {
    "models:/churn/1.2.0": Reference("churn", "1.2.0"),
    "models:/churn/1.0.0-rc.1": Reference("churn", "1.0.0-rc.1"),
    "models:/churn/3": Reference("churn", ordinal=3),
    "models:/churn/999999999": Reference("churn", ordinal=999999999),
    "models:/churn/production": Reference("churn", stage="production"),
    "models:/churn@production": Reference("churn", stage="production"),
    "models:/churn/latest": Reference("churn"),
    "models:/latest/latest": Reference("latest"),
}
NOT_URIS = [
    "",
    "churn/3",
    "models:",
    "models:/",
    "models:/churn",
    "models:/churn/",
    "models:/churn@",
    "models://churn/3",
    "models:churn/3",
    "models:/churn/3/",
    "models:/churn/3/4",
    "models:/churn/-1",
    "models:/churn/03",
    "models:/churn/1e3",
    "models:/churn/9999999999",
    "models:/churn/\u0663",
    "models:/churn/3\n",
    "models:/churn/1.0",
    "models:/churn/v1.0.0",
    "models:/churn/Production",
    "models:/churn@1.2.0",
    "models:/churn@3",
    "models:/churn@production/3",
    "models:/Churn/3",
    "models:/-churn/3",
    "models:/../3",
    "models:/m_0123abc/3",
]
TAGS = {
    "churn@v1.2.0": TagName("churn", "register", "1.2.0"),
    "churn@v1.2.0-rc.1": TagName("churn", "register", "1.2.0-rc.1"),
    "churn@v1.2.0#3": TagName("churn", "register", "1.2.0", counter=3),
    "churn@v1.2.0!": TagName("churn", "deregister", "1.2.0"),
    "churn@v1.2.0!#6": TagName("churn", "deregister", "1.2.0", counter=6),
    "churn#production": TagName("churn", "assign", stage="production"),
    "churn#production#4": TagName("churn", "assign", stage="production", counter=4),
    "churn#production!": TagName("churn", "unassign", stage="production"),
    "churn#production!#5": TagName("churn", "unassign", stage="production", counter=5),
    "churn@deprecated": TagName("churn", "deprecate"),
    "churn@deprecated#7": TagName("churn", "deprecate", counter=7),
    "churn-eu#production#999999999999999999": TagName(
        "churn-eu", "assign", stage="production", counter=999999999999999999
    ),
}
# Each uses a registry's signs, so that `gitreg doctor` tells of it.
NOT_TAGS = [
    "churn@created",
    "m1@created#9",
    "churn@v1.2.0\n",
    "\nchurn@v1.2.0",
    "churn\n@v1.2.0",
    "churn@v1.2.0\n#4",
    "churn#production\n#4",
    "-churn@v1.2.0",
    "--delete@v1.2.0",
    "-d#production#4",
    "churn#-production#4",
    "churn@1.2.0",
    "churn@V1.2.0",
    "churn@v1.2",
    "churn@v01.2.0",
    "churn@v1.2.0+build",
    "churn@v1.2.0.",
    "churn@v1.2.0-rc.",
    "churn#production.",
    "churn#production#4.",
    "churn.#production#4",
    "churn#production#",
    "churn#production#0",
    "churn#production#04",
    "churn#production#-4",
    "churn#production#\u0664",
    "churn#production#4#5",
    f"churn#production#{10**18}",
    "churn@v1.\u0662.0",
    "churn\u0662@v1.2.0",
    "churn#production\u0662",
    "churn@v1.2.0!!",
    "churn!@v1.2.0",
    "churn@deprecated!",
    "churn@Deprecated",
    "churn@v1.2.0#production",
    "churn#production@v1.2.0",
    "Churn@v1.2.0",
    "churn#Production",
    "churn_eu@v1.2.0",
    "models/churn@v1.2.0",
    "models=churn@v1.2.0",
    "@v1.2.0",
    "#production#4",
    "churn@",
    "churn#",
    "@",
    f"{'a' * 64}@v1.2.0",
    " churn@v1.2.0",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name(name: str) -> None:
    assert NAME.match(name)


@pytest.mark.parametrize("name", NOT_NAMES)
def test_not_a_name(name: str) -> None:
    assert not NAME.match(name)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version(version: str) -> None:
    assert VERSION.match(version)


@pytest.mark.parametrize("version", NOT_VERSIONS)
def test_not_a_version(version: str) -> None:
    assert not VERSION.match(version)


@pytest.mark.parametrize(("text", "meant"), REFERENCES.items())
def test_a_reference(text: str, meant: Reference) -> None:
    assert parse_reference(text) == meant
    assert parse_reference(str(meant)) == meant


@pytest.mark.parametrize("text", NOT_REFERENCES)
def test_not_a_reference(text: str) -> None:
    with pytest.raises(Usage):
        parse_reference(text)


def test_an_ordinal_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(Usage, match="an ordinal does not name a version here") as caught:
        parse_reference("churn@3")
    assert caught.value.hint == "write a version, as churn@1.0.0"


@pytest.mark.parametrize(("text", "meant"), URIS.items())
def test_a_uri(text: str, meant: Reference) -> None:
    assert parse_uri(text) == parse_reference(text) == meant
    assert parse_reference(str(meant)) == meant


@pytest.mark.parametrize("text", NOT_URIS)
def test_not_a_uri(text: str) -> None:
    with pytest.raises(Usage, match="is not the URI of a version") as caught:
        parse_uri(text)
    assert caught.value.hint and "models:/churn/1.2.0" in caught.value.hint


def test_whatever_is_written_is_a_reference_or_a_usage_error() -> None:
    chance = random.Random(0)
    pieces = ["churn", "models:", *"/@#v-!.\n\u0663", "1.2.0", "3", "m_0123abc"]
    read = 0
    for _ in range(5000):
        text = "".join(chance.choices(pieces, k=chance.randint(0, 5)))
        try:
            meant = parse_reference(text)
        except Usage as error:
            named = (text, text.partition("@")[0], text.partition("#")[0])
            assert error.message.startswith(tuple(map(repr, named))), text
        else:
            read += 1
            assert parse_reference(str(meant)) == meant
            assert sum(x is not None for x in (meant.version, meant.stage, meant.ordinal, meant.id)) <= 1
    assert read > 50


# Tags -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "says"), TAGS.items())
def test_a_tag(text: str, says: TagName) -> None:
    assert parse_tag(text) == says
    assert str(parse_tag(text)) == text
    assert is_like_a_tag(text)


@pytest.mark.parametrize("text", NOT_TAGS)
def test_not_a_tag_yet_like_one(text: str) -> None:
    assert parse_tag(text) is None
    assert is_like_a_tag(text)


@pytest.mark.parametrize("text", ["", "v1.2.0", "churn", "release-2026", "-d", "churn/1.2.0", "churn=x"])
def test_a_tag_that_is_no_business_of_a_registry(text: str) -> None:
    assert parse_tag(text) is None
    assert not is_like_a_tag(text)


@pytest.mark.parametrize("version", [f"1.0.{'9' * 300}", f"1.0.0-{'a' * 300}", f"1.0.{'9' * 5000}"])
def test_a_version_that_no_file_system_can_hold_as_a_tag_is_none(version: str) -> None:
    """A tag's name, with Git's `.lock`, has to fit into 255 bytes."""
    assert not VERSION.match(version)
    assert parse_tag(f"churn@v{version}") is None


GTO_ACTIONS: dict[Kind, Action] = {
    "register": Action.REGISTER,
    "deregister": Action.DEREGISTER,
    "assign": Action.ASSIGN,
    "unassign": Action.UNASSIGN,
    "deprecate": Action.DEPRECATE,
}


def as_gto_says(says: TagName) -> dict[str, object]:
    """What GTO's parser should make of a tag."""
    found: dict[str, object] = {"name": says.model, "action": GTO_ACTIONS[says.kind]}
    if says.version is not None:
        found["version"] = f"v{says.version}"
    if says.stage is not None:
        found["stage"] = says.stage
    if says.counter is not None:
        found["counter"] = says.counter
    return found


def generated_tags(many: int) -> Iterator[TagName]:
    """Tags of every kind, from all that a name and a version may hold."""
    chance = random.Random(0)
    letters, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"

    def name() -> str:
        inner = "".join(chance.choices(letters + digits + "--", k=chance.choice([0, 1, 2, 5, 61])))
        return chance.choice(letters) + inner + chance.choice(letters + digits)

    def version() -> str:
        core = ".".join(str(chance.choice([0, 1, 9, 10, 99, 2**40])) for _ in range(3))
        parts = [
            chance.choice(["0", "7", "10", "rc", "RC", "alpha", "-", "x-y", "0a", "01-", "a0", "--1"])
            for _ in range(chance.choice([0, 0, 1, 2, 4]))
        ]
        return core + ("-" + ".".join(parts) if parts else "")

    for _ in range(many):
        kind: Kind = chance.choice(list(GTO_ACTIONS))
        of_version, of_stage = kind in ("register", "deregister"), kind in ("assign", "unassign")
        counter = chance.choice([None, 1, 9, 10, 123, 10**18 - 1])
        yield TagName(name(), kind, version() if of_version else None, name() if of_stage else None, counter)


def test_gto_reads_every_tag_that_gitreg_writes_and_agrees_on_what_it_means() -> None:
    seen = set()
    for says in generated_tags(5000):
        text = str(says)
        assert gto.tag.parse_name(text) == as_gto_says(says), text
        assert parse_tag(text) == says
        seen.add((says.kind, says.counter is None))
    assert len(seen) == 2 * len(GTO_ACTIONS)


def test_gto_names_a_tag_as_gitreg_does() -> None:
    for says in generated_tags(500):
        version = says.version and f"v{says.version}"
        plain = gto.tag.name_tag(GTO_ACTIONS[says.kind], says.model, version, says.stage, simple=True)
        assert str(says._replace(counter=None)) == plain


def test_of_damaged_tags_gitreg_reads_none_that_gto_does_not_and_overlooks_none_that_gto_reads() -> None:
    chance = random.Random(0)
    both, gto_alone, neither = 0, 0, 0
    for says in generated_tags(8000):
        text = str(says)
        for _ in range(chance.randint(1, 2)):
            at = chance.randint(0, len(text))
            text = (
                text[:at] + chance.choice("a0Z@#!v.-_/=:+ \n\u0664") * chance.randint(0, 2) + text[at + 1 :]
            )
        mine, theirs = parse_tag(text), gto.tag.parse_name(text, raise_on_fail=False)
        if mine:
            assert theirs == as_gto_says(mine), text
            assert str(mine) == text
            both += 1
        elif theirs:
            assert is_like_a_tag(text), text
            gto_alone += 1
        else:
            neither += 1
    assert min(both, gto_alone, neither) > 100


def test_did_you_mean_names_the_closest_or_nothing() -> None:
    assert did_you_mean("flot", ["float", "double", "int"]) == " (did you mean 'float'?)"
    assert did_you_mean("colour", ["name", "type"]) == ""


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("Churn", "churn"),
        ("ChurnModel", "churn-model"),
        ("HTTPServer", "http-server"),
        ("ResNet50V2", "res-net50-v2"),
        ("churn_model", "churn-model"),
        ("_Private", "private"),
    ],
)
def test_a_class_name_suggests_a_model_name(class_name: str, name: str) -> None:
    assert kebab(class_name) == name


# What Git can hold ----------------------------------------------------------------------------------


def test_every_version_and_name_that_is_valid_is_a_tag_of_git(tmp_path: Path) -> None:
    """`git update-ref` refuses all when it refuses one; each alone names the culprit."""
    words = [
        "lock",
        "a",
        "1",
        "0",
        "-",
        "a-b",
        "x.lock",
        "lock.1",
        "lock-",
        "LOCK",
        "head",
        "HEAD",
        "1.lock.2",
    ]
    versions = [
        f"1.0.0-{'.'.join(pair)}" for count in (1, 2) for pair in itertools.product(words, repeat=count)
    ]
    valid = [version for version in versions if VERSION.match(version)]
    assert len(valid) > 100
    for version in ("1.0.0-rc.LOCK", "1.0.0-a.Lock", "1.0.0-lock.LocK"):
        assert not VERSION.match(version), "where case is not told apart this is the lock of another"
    for version in [*valid, "1.0.0-rc.lock", "1.0.0-a.b.lock"]:
        refused = subprocess.run(["git", "check-ref-format", f"refs/tags/churn@v{version}"]).returncode
        assert bool(refused) == (version not in valid), version


def test_a_version_that_git_cannot_hold_is_refused_at_its_line_and_stops_no_other_model(
    workshop: Workshop,
) -> None:
    workshop.manifest(version="1.0.0-rc.lock")
    workshop.manifest(
        "other",
        name="other",
        artifact="../adder/artifacts",
        code="../adder/src",
        sample_data="../adder/samples.json",
    )
    workshop.commit()
    for verb in (("check",), ("plan",), ("apply",)):
        done = workshop.gitreg(*verb)
        assert done.returncode == 1, done.stdout
        assert (
            "models/adder/model.yaml:3:14: version: '1.0.0-rc.lock' is not a version"
            in done.stdout + done.stderr
        )
    stage = workshop.root / "stages" / "staging.yaml"
    stage.write_text("adder: 1.0.0-rc.lock\n")
    assert "stages/staging.yaml:1:8" in workshop.gitreg("check").stderr


def test_versions_that_differ_in_case_alone_are_refused_by_check_and_by_apply(workshop: Workshop) -> None:
    workshop.manifest(version="1.0.0-rc.1")
    workshop.commit()
    assert workshop.gitreg("apply").returncode == 0
    workshop.manifest(version="1.0.0-RC.1", description="another")
    workshop.commit()
    for verb in (("check",), ("plan",), ("apply",)):
        done = workshop.gitreg(*verb)
        assert (
            done.returncode == 1
            and "differs from the registered 1.0.0-rc.1 in the case" in done.stdout + done.stderr
        )


@pytest.mark.parametrize("other", ["adder@v1.0.0/x", "adder@v1.0.0/x/y"])
def test_a_tag_that_is_in_the_way_is_named_before_git_refuses_all(workshop: Workshop, other: str) -> None:
    run("git", "tag", other, cwd=workshop.root)
    for verb in ("check", "plan", "apply"):
        done = workshop.gitreg(verb)
        said = done.stdout + done.stderr
        assert (
            done.returncode == 1 and "models/adder/model.yaml:3:14: version: Git cannot have the tag" in said
        )
        assert f"adder@v1.0.0 beside {other}," in said and f"git tag -d '{other}'" in said
    run("git", "tag", "-d", other, cwd=workshop.root)
    assert workshop.gitreg("apply").returncode == 0


def test_manifests_whose_paths_differ_in_case_alone_are_refused(workshop: Workshop) -> None:
    workshop.manifest(
        "Adder",
        name="other",
        artifact="../adder/artifacts",
        code="../adder/src",
        sample_data="../adder/samples.json",
    )
    workshop.commit()
    done = workshop.gitreg("check")
    assert done.returncode == 1 and "differs from models/Adder/model.yaml only in case" in done.stderr
