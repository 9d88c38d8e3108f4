"""DVC's configuration is a file of the branch: what of it counts, and what only the user may say."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gitreg import Registry, cli, dvckeys, dvcsettings
from gitreg.errors import Outside, Refused
from gitreg.store import elsewhere
from tests.support import Workshop, run

SECRET = "https://me:hunter3@github.example\n"


@pytest.fixture
def shop(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A registry, which is the current folder, with nothing in DVC's cache."""
    shutil.rmtree(workshop.root / ".dvc/cache")
    monkeypatch.chdir(workshop.root)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    return workshop


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs gitreg in this process; (exit code, all that it prints)."""

    def gitreg(*words: str) -> tuple[int, str]:
        try:
            code = cli.main([*words])
        finally:
            gc.enable()
        told = capsys.readouterr()
        return code, told.out + told.err

    yield gitreg


def config(shop: Workshop, text: str, file: str = "config", commit: bool = True) -> None:
    was = (shop.root / ".dvc/config").read_text()
    text = text.replace("$URL", was.partition("url = ")[2].partition("\n")[0])
    (shop.root / ".dvc" / file).write_text(text)
    if commit:
        run("git", "add", "-f", f".dvc/{file}", cwd=shop.root)
        shop.commit("settings")


def remote(url: str, more: str = "", name: str = "here") -> str:
    return f"[core]\n    remote = {name}\n['remote \"{name}\"']\n    url = {url}\n{more}"


# Commands and files that a branch names --------------------------------------------------------------

CLOSED = "    endpointurl = http://127.0.0.1:9\n    connect_timeout = 1\n    read_timeout = 1\n"
LEADING = {
    "credential_process": ("s3://x/y", f"{CLOSED}    configpath = ../aws\n", "configpath"),
    "a file of keys": ("s3://x/y", f"{CLOSED}    credentialpath = ../aws\n", "credentialpath"),
    "spelled otherwise": ("s3://x/y", f"{CLOSED}    ConfigPath = ../aws\n", "configpath"),
    "a command for a token": (
        "webdav://127.0.0.1:9/x",
        "    bearer_token_command = $RUN\n",
        "bearer_token_command",
    ),
    "a file of a key": ("ssh://127.0.0.1:9/x", "    keyfile = ../aws\n", "keyfile"),
    "an account at Google": ("gs://x/y", "    credentialpath = ../aws\n", "credentialpath"),
    "an endpoint that gets tokens": ("gs://x/y", "    endpointurl = http://127.0.0.1:9\n", "endpointurl"),
    "where a token comes from": (
        "azure://x/y",
        "    connection_string = BlobEndpoint=x\n",
        "connection_string",
    ),
}


def plant(shop: Workshop, what: str, file: str = "config") -> Path:
    """Commit a remote that leads out; the file that would be there if it did."""
    trace = shop.root.parent / "ran"
    (shop.root / "aws").write_text(f"[default]\ncredential_process = touch {trace}\n")
    url, more, _ = LEADING[what]
    config(shop, remote(url, more.replace("$RUN", f"touch {trace}")), file)
    return trace


@pytest.mark.parametrize("what", LEADING)
def test_a_tracked_file_names_no_command_and_no_file(shop: Workshop, said: Any, what: str) -> None:
    trace, key = plant(shop, what), LEADING[what][2]
    for words in (["check", "--no-run"], ["check", "adder"], ["doctor"], ["build", "adder"]):
        code, told = said(*words)
        assert code in (1, 4) and not trace.exists(), told
        assert f'remote "here": {key} ' in told and f"dvc remote modify --local here {key} VALUE" in told, (
            told
        )
    url = f"{LEADING[what][0]}/z"
    store = Registry(shop.root).store
    with pytest.raises((Refused, Outside)):
        store.said_of(url)
    with pytest.raises(Outside):
        elsewhere.marks_of(store, url)
    assert store.absent(["0" * 32])[1].keys() == {"here"} and not trace.exists()


def test_a_check_says_at_which_line(shop: Workshop, said: Any) -> None:
    plant(shop, "credential_process")
    code, told = said("check", "--no-run")
    assert code == 1 and '.dvc/config:8:1: remote "here": configpath is not taken' in told, told
    code, told = said("check", "--base", "HEAD~1")
    assert code == 1 and ".dvc/config:8:1" in told, told


@pytest.mark.parametrize("file", ["config.local", "config"])
@pytest.mark.parametrize("text", [None, "[remote]\n[[here]]\nurl = s3://x/y\nconfigpath = ../aws\n"])
def test_every_spelling_and_place_is_seen(shop: Workshop, said: Any, file: str, text: str | None) -> None:
    trace = plant(shop, "credential_process", file)
    if text:
        config(shop, f"[core]\nremote = here\n{text}", file)
    for words in (["doctor"], ["build", "adder"]):
        code, told = said(*words)
        assert code in (1, 4) and "configpath" in told and not trace.exists(), told


def test_an_earlier_version_is_lent_no_command(shop: Workshop, said: Any) -> None:
    assert said("apply")[0] == 0
    shop.manifest(version="1.1.0")
    trace = plant(shop, "credential_process")
    code, told = said("predict", "adder@1.0.0")
    assert code == 4 and "configpath" in told and "--local" in told and not trace.exists(), told


@pytest.mark.parametrize("where", ["untracked", "local", "global", "in the place of the tracked one"])
def test_what_the_user_says_counts(
    shop: Workshop, said: Any, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "ran"
    (tmp_path / "aws").write_text(f"[default]\ncredential_process = touch {trace}\n")
    mine = f"    configpath = {tmp_path}/aws\n"
    if where == "untracked":
        config(shop, remote("s3://x/y", CLOSED + mine), commit=False)
        run("git", "rm", "-q", "--cached", ".dvc/config", cwd=shop.root)
        run("git", "commit", "-qm", "none", cwd=shop.root)
    else:
        tracked = CLOSED + ("    configpath = ../other\n" if "place" in where else "")
        config(shop, remote("s3://x/y", tracked))
        text = f"['remote \"here\"']\n    url = s3://x/y\n{mine}"
        if where == "global":
            (tmp_path / "everybody").mkdir()
            (tmp_path / "everybody/config").write_text(text)
            monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "everybody"))
        else:
            config(shop, text, "config.local", commit=False)
    code, told = said("build", "adder")
    assert code == 4 and trace.exists() and "not taken" not in told, told


HONEST = """[core]
    remote = here
    analytics = false
    autostage = true
    check_update = false
    checksum_jobs = 2
[cache]
    type = "reflink,copy"
    slow_link_warning = false
    dir = kept
['remote "here"']
    url = $URL
    jobs = 4
    verify = true
['remote "s3"']
    url = s3://bucket/x
    endpointurl = http://127.0.0.1:9000
    region = eu-west-1
    profile = team a
    version_aware = true
    read_timeout = 20
    connect_timeout = 5
    ssl_verify = false
    use_ssl = true
    sse = aws:kms
['remote "web"']
    url = https://host/x
    auth = basic
    user = ada@example.org
    ssl_verify = /etc/ssl/certs/corporate.pem
['remote "below"']
    url = remote://s3/deeper
    jobs = 2
"""


def test_an_honest_tracked_file_counts_as_it_is(shop: Workshop, said: Any) -> None:
    config(shop, HONEST)
    code, told = said("check")
    assert code == 0, told
    assert said("build", "adder")[0] == 0
    assert any((shop.root / ".dvc/kept/files/md5").iterdir())
    seen = Registry(shop.root).store
    from gitreg.store import settings

    found = settings.config(seen)
    assert found["core"]["autostage"] is True and found["cache"]["type"] == ["reflink", "copy"]
    assert found["remote"]["s3"]["endpointurl"] == "http://127.0.0.1:9000" and not found.faults
    assert found["remote"]["web"]["ssl_verify"] == "/etc/ssl/certs/corporate.pem"


# Folders that a branch would have filled --------------------------------------------------------------


@pytest.mark.parametrize("folder", ["$OUT/cc", "../../out/cc", "../models", "~/cc", "cache/../../x", "."])
def test_a_tracked_file_names_no_cache_elsewhere(
    shop: Workshop, said: Any, folder: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    config(shop, HONEST.replace("dir = kept", f"dir = {folder.replace('$OUT', str(out))}"))
    for words in (["check", "adder"], ["build", "adder"], ["doctor"], ["check", "--base", "HEAD~1"]):
        code, told = said(*words)
        assert code == 1 and "cache" in told and "dvc config --local cache.dir " in told, told
    assert not any(out.iterdir()) and not (shop.root / ".dvc/cache").exists()
    config(shop, f"[cache]\n    dir = {tmp_path}/mine\n", "config.local", commit=False)
    assert said("build", "adder")[0] == 0 and any((tmp_path / "mine").iterdir())


def test_a_tracked_file_names_no_folder_for_notes(shop: Workshop, said: Any, tmp_path: Path) -> None:
    config(shop, HONEST.replace("[cache]", f"    site_cache_dir = {tmp_path}/site\n[cache]"))
    code, told = said("check")
    assert (
        code == 1
        and not (tmp_path / "site").exists()
        and "dvc config --local core.site_cache_dir VALUE" in told
    ), told
    assert said("build", "adder")[0] == 0 and not (tmp_path / "site").exists()


# Secrets ----------------------------------------------------------------------------------------------

LINKS = {
    "local": {".dvc/config.local": "$OUT/secret"},
    "the file": {".dvc/config": "$OUT/secret"},
    "the folder": {".dvc": "$OUT"},
    "Git's": {".gitmodules": "$OUT/secret"},
}
COMMANDS = [["check"], ["check", "adder"], ["build", "adder"], ["doctor"], ["predict", "adder@1.0.0"]]
COMMANDS += [["pull", "adder@1.0.0"], ["new", "fresh", "--from", "../weights.bin"]]


@pytest.mark.parametrize("what", LINKS)
def test_no_line_behind_a_tracked_link_is_told(shop: Workshop, said: Any, what: str, tmp_path: Path) -> None:
    assert said("apply")[0] == 0
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\0\1")
    for name in ("secret", "config", "config.local"):
        (out / name).write_text(SECRET)
    for name, target in LINKS[what].items():
        place = shop.root / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        place.symlink_to(target.replace("$OUT", str(out)))
        if what != "Git's":  # no Git of today takes that one into a commit
            run("git", "add", "-A", "-f", name, cwd=shop.root)
            run("git", "commit", "-qm", "links", cwd=shop.root)
    for words in COMMANDS:
        code, told = said(*words)
        assert "hunter3" not in told and "me:" not in told, told
        fine = (0, 1, 4) if what == "Git's" or words == ["doctor"] else (1,)
        assert code in fine and (code == 0 or " link" in told or ".dvc" in told), told
    assert sorted(os.listdir(out)) == ["config", "config.local", "secret"]


@pytest.mark.parametrize(
    "text", [SECRET, "[core\n", "hunter3 = me:\n", "[core]\nremote = %(me:hunter3)s\n", "\xff"]
)
@pytest.mark.parametrize("file", ["config.local", "config", "global"])
def test_a_broken_file_is_named_and_nothing_of_it_told(
    shop: Workshop, said: Any, text: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = text.encode("latin-1")
    if file == "global":
        (tmp_path / "everybody").mkdir()
        (tmp_path / "everybody/config").write_bytes(raw)
        monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "everybody"))
    else:
        (shop.root / ".dvc" / file).write_bytes(raw)
    for words in (["check", "adder"], ["build", "adder"], ["doctor"]):
        code, told = said(*words)
        assert code in (1, 4) and "config" in told, told
        assert "hunter3" not in told and "me:" not in told, told


def test_a_link_of_the_users_own_may_stay(shop: Workshop, said: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(f"[cache]\n    dir = {tmp_path}/kept\n")
    (shop.root / ".dvc/config.local").symlink_to(tmp_path / "mine")
    assert said("build", "adder")[0] == 0 and (tmp_path / "kept").is_dir()


# Addresses for which credentials are ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "below"),
    [
        ("https://host/teamA", True),
        ("https://host/teamA/", True),
        ("https://host/teamA/x/y.z", True),
        ("https://host/teamA/a%20b", True),
        ("https://host/teamA/%2e%2e/evil", False),
        ("https://host/teamA/.%2E/evil", False),
        ("https://host/teamA/%252e%252e/evil", False),
        ("https://host/teamA/..%2fevil", False),
        ("https://host/teamA/..%5cevil", False),
        ("https://host/teamA/..\\evil", False),
        ("https://host/teamA/x/../../evil", False),
        ("https://host/teamA/..;/evil", False),
        ("https://host/teamA/ .. /evil", False),
        ("https://host/teamAB", False),
        ("https://host/", False),
    ],
)
def test_credentials_are_for_what_lies_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, below: bool
) -> None:
    said = settled(tmp_path, monkeypatch, remote(url, name="theirs"))
    section = said.partition("'remote \"theirs\"'")[2].partition("[")[0]
    assert ("hunter3" in section) is below and f"url = {url}" in section.replace('"', ""), said


def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: str) -> str:
    """What DVC is given for a registry elsewhere, whose reader has a remote `mine` with a password."""
    (tmp_path / "everybody").mkdir()
    mine = remote("https://host/teamA", "    user = ada\n    password = hunter3\n", "mine")
    mine += "['remote \"within\"']\n    url = remote://mine/x\n    password = hunter4\n"
    (tmp_path / "everybody/config").write_text(mine.partition("\n")[2].partition("\n")[2])
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "everybody"))
    (tmp_path / "laid").mkdir()
    dvcsettings.settle(tmp_path / "laid", committed.encode(), tmp_path / "cache", None)
    return (tmp_path / "laid/.dvc/config").read_text()


@pytest.mark.parametrize(
    "more",
    [
        ("remote://mine/x", "    port = 2222\n    user = other\n"),
        ("REMOTE://mine/x", ""),
        ("azure://x/y", "    account_name = evil.example/x?\n"),
        ("azure://x/y", "    account_name = Evil\n"),
        ("ssh://x/y", "    port = 22@evil.example\n"),
        ("s3://x/y", "    region = x.evil.example/\n"),
        ("s3://x/y", "    endpointurl = http://me@evil.example\n"),
        ("oss://x/y", "    oss_endpoint = x/../?\n"),
        ("ssh://x/y", "    user = -oProxyCommand=x\n"),
        ("s3://x/y", "    read_timeout = 1e999\n"),
    ],
)
def test_a_commit_says_no_value_of_another_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, str]
) -> None:
    said = settled(tmp_path, monkeypatch, remote(*more, name="theirs"))
    assert "theirs" not in said and "hunter3" in said, said


def test_an_address_in_a_remote_of_the_users_is_not_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`within` would be asked at what the commit calls `mine`, with the password of the user's."""
    said = settled(tmp_path, monkeypatch, remote("https://evil.example/x", name="mine"))
    assert "evil.example" in said and "hunter" not in said, said


def test_of_ones_own_clone_a_remote_in_another_has_its_own_folder_alone(shop: Workshop, said: Any) -> None:
    config(shop, HONEST.replace("deeper\n    jobs = 2", "deeper\n    profile = other"))
    code, told = said("check", "--no-run")
    assert code == 1 and 'remote "below": profile is not taken' in told, told
    assert dvckeys.stays_inside("cache") and not dvckeys.stays_inside("/tmp/x")


# What DVC ends on after a merge ------------------------------------------------------------------------

OUTPUT = "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 0\n  hash: md5\n  path: {}\n"
BREAKING: dict[str, tuple[dict[str, str], str]] = {
    "Git's submodules": ({".gitmodules": "garbage\n"}, ".gitmodules: DVC cannot read it"),
    "DVC's notes": ({".dvc/tmp": "x"}, ".dvc/tmp: DVC keeps"),
    "DVC's cache": ({".dvc/cache": "x"}, ".dvc/cache: DVC keeps"),
    "what is in the cache": ({".dvc/cache/files/md5/00/11": "x"}, ".dvc/cache/files/md5/00/11: DVC keeps"),
    "a hook": ({"imp.dvc": OUTPUT.format(".git/hooks/zz")}, "imp.dvc: DVC must not write '.git/hooks/zz'"),
    "a hook by another name": ({"imp.dvc": OUTPUT.format("x/.GIT/zz")}, "imp.dvc: DVC must not write"),
    "settings": ({"imp.dvc": OUTPUT.format(".dvc/config.local")}, "imp.dvc: DVC must not write"),
    "attributes": ({"imp.dvc": OUTPUT.format("models/.gitattributes")}, "is a .gitattributes"),
    "stages": (
        {"models/adder/imp.dvc": OUTPUT.format("stages") + "wdir: ../..\n"},
        "models/adder/imp.dvc: 'stages' is an output of DVC's, and Git tracks it",
    ),
    "a manifest": (
        {"models/adder/imp.dvc": OUTPUT.format("model.yaml")},
        "'models/adder/model.yaml' is an output",
    ),
    "a folder with manifests": ({"imp.dvc": OUTPUT.format("models")}, "imp.dvc: 'models' is an output"),
    "in another spelling": (
        {"imp.dvc": OUTPUT.format("Models/adder/Model.yaml")},
        "is an output of DVC's, and Git",
    ),
    "outside": ({"imp.dvc": OUTPUT.format("../x")}, "imp.dvc: DVC must not write '../x'"),
    "a remote": (
        {"imp.dvc": OUTPUT.format("x") + "  remote: nowhere\n"},
        "'x' is kept in the remote 'nowhere'",
    ),
}


def committed(shop: Workshop, files: Mapping[str, str]) -> None:
    """Commit files, whatever ignores them."""
    for name, text in files.items():
        (shop.root / name).parent.mkdir(parents=True, exist_ok=True)
        (shop.root / name).write_text(text)
        run("git", "add", "-f", name, cwd=shop.root)
    run("git", "commit", "-qm", "more", cwd=shop.root)


@pytest.mark.parametrize("what", BREAKING)
def test_what_dvc_ends_on_is_refused_before_the_merge(shop: Workshop, said: Any, what: str) -> None:
    files, wanted = BREAKING[what]
    shutil.rmtree(shop.root / ".dvc/tmp", ignore_errors=True)
    committed(shop, files)
    for words in (["check", "--no-run"], ["check", "--no-run", "--base", "HEAD~1"]):
        code, told = said(*words)
        assert code == 1 and wanted in told, told


def test_what_dvc_reads_without_trouble_is_not_refused(shop: Workshop, said: Any) -> None:
    lock = "schema: '2.0'\nstages:\n  t:\n    cmd: x\n    outs:\n"
    lock += "".join(
        f"    - path: {name}\n      hash: md5\n      md5: d41d8cd98f00b204e9800998ecf8427e\n      size: 0\n"
        for name in ("m.json", "kept.txt", "out.bin")
    )
    files = {
        ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ../x\n',
        ".dvc/plots/mine.json": "{}",
        "imp.dvc": OUTPUT.format("deeper/x") + "  remote: HERE\n",
        "sub/dvc.yaml": "stages:\n  t:\n    cmd: x\n    outs: [{kept.txt: {cache: false}}, out.bin]\n    metrics: [m.json]\n",
        "sub/dvc.lock": lock,
        "sub/m.json": "{}",
        "sub/kept.txt": "x",
    }
    committed(shop, files)
    for words in (["check", "--no-run"], ["check", "--no-run", "--base", "HEAD~1"]):
        code, told = said(*words)
        assert code == 0, told
    (shop.root / "sub/dvc.yaml").write_text(
        "stages:\n  t:\n    cmd: x\n    outs: [kept.txt, out.bin]\n    metrics: [m.json]\n"
    )
    code, told = said("check", "--no-run")
    assert code == 1 and "'sub/kept.txt' is an output" in told and "m.json" not in told, told
