"""load_model, and registries at Git addresses: real servers, shared caches, and whatever happens to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gitreg import GitregError, LoadedModel, Registry, caches, load_model
from gitreg.addresses import address_of
from gitreg.clones import Stale
from gitreg.errors import Outside, Refused, Usage
from tests.support import ADDER_CODE, Workshop, run, write_manifest
from tests.support import gitreg as command
from tests.upstream import LOAD, Upstream


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Stale)
        yield


def five(model: LoadedModel) -> None:
    assert model.predict({"x": [1, 2]})["y"].tolist() == [6, 7]


# What is loaded -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        ("models:/adder/production", "1.0.0"),
        ("models:/adder@staging", "1.1.0"),
        ("models:/adder/latest", "1.1.0"),
        ("models:/adder/1", "1.0.0"),
        ("models:/adder/1.1.0", "1.1.0"),
        ("adder", "1.1.0"),
        ("adder@1.0.0", "1.0.0"),
        ("adder#production", "1.0.0"),
    ],
)
def test_every_way_to_name_a_version(up: Upstream, uri: str, version: str) -> None:
    assert load_model(uri, registry=up.url).version == version


def test_a_version_and_a_model_are_loaded_by_id(up: Upstream) -> None:
    first = load_model("adder@1.0.0", registry=up.url)
    assert load_model(first.metadata["id"], registry=up.url).version == "1.0.0"
    assert load_model(first.metadata["model_id"], registry=up.url).version == "1.1.0"


def test_what_is_known_of_a_version_comes_along(up: Upstream) -> None:
    model = load_model("models:/adder/staging", registry=up.url)
    assert (model.name, model.version, repr(model)) == (
        "adder",
        "1.1.0",
        "<adder@1.1.0 custom-python (x: int [2]) -> (y: int [2])>",
    )
    known = model.metadata
    assert known["description"] == "Adds seven." and known["tags"] == {"domain": "sums"}
    assert known["metrics"] == {"accuracy": 0.9} and known["stages"] == ["staging"]
    assert known["registry"] == up.url and known["as_of"] and known["tag"] == "adder@v1.1.0"
    assert type(model.unwrap()).__name__ == "Adder"
    json.dumps(known)


@pytest.mark.parametrize("where", ["folder", "bare folder", "Registry", "environment"])
def test_a_registry_is_a_folder_too(up: Upstream, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    root = up.work().root
    if where == "environment":
        monkeypatch.setenv("GITREG_REGISTRY", str(root))
    told = {
        "folder": root / "models",
        "bare folder": up.bare,
        "Registry": Registry(root),
        "environment": None,
    }
    five(load_model("models:/adder/production", registry=told[where]))


@pytest.mark.parametrize(
    ("uri", "error", "text"),
    [
        ("models:/adder/prod", Refused, "no version of adder is in prod"),
        ("models:/addr/1.0.0", Refused, "did you mean 'adder'"),
        ("models:/adder/9", Refused, "2 registered versions"),
        ("adder@3.0.0", Refused, "is not registered"),
        ("models:/adder", Usage, "is not the URI of a version"),
    ],
)
def test_what_is_not_there_is_named(up: Upstream, uri: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        load_model(uri, registry=up.url)


def test_an_address_without_a_registry_says_where_there_is_one(up: Upstream) -> None:
    shop = up.work()
    run("git", "checkout", "-q", "--orphan", "other", cwd=shop.root)
    run("git", "rm", "-rqf", ".", cwd=shop.root)
    (shop.root / "ml/reg").mkdir(parents=True)
    (shop.root / "ml/reg/registry.yaml").write_text("registry: inner\n")
    shop.commit("moved")
    run("git", "push", "-qf", "origin", "HEAD:main", cwd=shop.root)
    with pytest.raises(Refused) as caught:
        Registry(up.url).manifests()
    assert caught.value.hint == "#subdirectory=ml/reg"
    assert Registry(f"{up.url}#subdirectory=ml/reg").file.name == "inner"


def test_a_registry_in_a_subdirectory_with_code_that_models_share(
    up: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what its one model needs is laid out; that is also what its manifest names elsewhere."""
    mono = tmp_path / "mono"
    mono.mkdir()
    run("git", "init", "-q", "-b", "main", cwd=mono)
    (mono / "app").mkdir()
    (mono / "app/main.py").write_text("print('not ours')\n")
    shutil.copytree(up.work().root, mono / "ml/reg", ignore=shutil.ignore_patterns(".git", "cache", "tmp"))
    shop = Workshop(mono / "ml/reg")
    (shop.adder / "src").rename(shop.root / "shared")
    shop.manifest(code="../../shared", version="1.1.0")
    config = shop.root / ".dvc/config"
    config.write_text(config.read_text().replace("../../remote", str(up.remote)))
    (shop.root / "stages/staging.yaml").write_text("{}\n")
    (shop.root / "stages/production.yaml").write_text("{}\n")
    run("git", "add", "-A", cwd=mono)
    run("git", "commit", "-qm", "one", cwd=mono)
    done = shop.gitreg("apply")
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITREG_CACHE", "relative")
    model = load_model("adder", registry=f"{mono.as_uri()}#subdirectory=ml/reg")
    assert model.predict([1, 2])["y"].tolist() == [8, 9]
    here = load_model("adder", registry=mono / "ml/reg")
    assert here.metadata["package"] == model.metadata["package"]


def test_content_that_is_not_what_the_tag_says_is_refused(up: Upstream) -> None:
    """Somebody rewrote the commit, and gave the new one the old tag's message."""
    shop = up.work()
    message = run("git", "tag", "-l", "--format=%(contents)", "adder@v1.1.0", cwd=shop.root).stdout
    shop.code(ADDER_CODE.replace("+ np", "- np"))
    shop.commit("other code")
    run("git", "tag", "-afm", message, "adder@v1.1.0", cwd=shop.root)
    run("git", "push", "-qf", "origin", "adder@v1.1.0", cwd=shop.root)
    with pytest.raises(Refused, match="is not what was registered"):
        load_model("adder@1.1.0", registry=up.url)


def test_a_tag_that_was_moved_upstream_is_warned_of(up: Upstream) -> None:
    load_model("adder@1.0.0", registry=up.url)
    shop = up.work()
    run("git", "tag", "-afm", "moved", "adder@v1.0.0", "adder@v1.1.0^{commit}", cwd=shop.root)
    run("git", "push", "-qf", "origin", "adder@v1.0.0", cwd=shop.root)
    with pytest.warns(UserWarning, match=r"the tag adder@v1\.0\.0 was moved"):
        Registry(up.url)


def test_a_model_of_a_well_known_format_comes_the_same_way(up: Upstream) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    trained = LogisticRegression().fit(x, x[:, 0] > 0)
    skops.io.dump(trained, up.place / "it.skops")
    (up.place / "samples.json").write_text(json.dumps([{"x": x[0].tolist()}]))
    shop = up.work()
    done = shop.gitreg("new", "sign", "--from", "../it.skops", "--samples", "../samples.json")
    assert done.returncode == 0, done.stderr
    shop.commit("sign")
    run(sys.executable, "-m", "dvc", "push", "-q", cwd=shop.root)
    up.push()
    done = shop.gitreg("apply", "sign", "--push")
    assert done.returncode == 0, done.stderr
    model = load_model("models:/sign/latest", registry=up.url)
    kind = model.schema.input_schema[0].data_type.dtype
    assert model.predict(x.astype(kind))["label"].ravel().tolist() == trained.predict(x).tolist()
    assert model.predict(x[0].astype(kind))["label"].shape == (1,)
    assert type(model.unwrap()) is LogisticRegression


# What is paid for -----------------------------------------------------------------------------------


def test_of_many_models_one_is_paid_for(up: Upstream, tmp_path: Path) -> None:
    shop = up.work()
    for i in range(200):
        folder = shop.root / f"models/other-{i:03}"
        write_manifest(folder / "model.yaml", {"name": folder.name, "artifact": "weights.bin"})
        (folder / "src").mkdir()
        (folder / "src/adder_model.py").write_text(f"# {i}\n{ADDER_CODE}")
        (folder / "samples.json").write_text(f'[{{"x": [{i}, 2]}}]')
        md5 = f"{i:032x}"
        (folder / "weights.bin.dvc").write_text(
            f"outs:\n- md5: {md5}\n  size: 1\n  hash: md5\n  path: weights.bin\n"
        )
    shop.commit("200 more")
    up.push()
    five(load_model("models:/adder/production", registry=up.url))
    listed = run(
        "git", "rev-list", "--objects", "--all", "--missing=print", cwd=up.clone()
    ).stdout.splitlines()
    lacking = sum(line.startswith("?") for line in listed)
    blobs = (
        run("git", "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)", cwd=up.clone())
        .stdout.split()
        .count("blob")
    )
    assert lacking > 600 and blobs < 40, (lacking, blobs)
    assert len(Registry(up.url).manifests()) == 201
    fetched = [path for path in (up.cache / "artifacts").rglob("*") if path.is_file()]
    assert len([path for path in fetched if len(path.name) in (30, 34)]) == 2  # a list of files, and the file


def test_what_is_on_the_shelf_asks_neither_dvc_nor_the_commit(up: Upstream) -> None:
    five(load_model("models:/adder/production", registry=up.url))
    shutil.rmtree(up.remote)
    shutil.rmtree(up.cache / "artifacts")
    five(load_model("models:/adder/production", registry=up.url))


def test_a_fresh_process_imports_nothing_heavy_for_what_is_on_the_shelf(up: Upstream) -> None:
    assert up.load().returncode == 0
    code = f"{LOAD}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", code, "models:/adder/production", up.url]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert not {"git", "dvc", "yaml", "jsonschema", "rich", "click", "sqlite3", "google"} & loaded


# Other people's caches and processes ----------------------------------------------------------------


def test_many_processes_fill_one_cache_at_once(up: Upstream) -> None:
    command = [sys.executable, "-c", LOAD, "models:/adder/production", up.url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert [one.communicate(timeout=180)[0] for one in running] == ["[6 7]\n"] * 8
    assert len([*(up.cache / "packages").glob("[0-9a-f]*")]) == 1
    assert not [*up.cache.rglob(".gitreg-*")]


def test_a_loader_that_is_killed_leaves_nothing_that_stops_the_next(up: Upstream) -> None:
    command = [sys.executable, "-c", LOAD, "models:/adder/production", up.url]
    for after in (0.15, 0.3, 0.5, 0.7, 0.9):
        one = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        one.kill()
        one.wait()
    done = up.load()
    assert (done.returncode, done.stdout) == (0, "[6 7]\n"), done.stderr
    assert up.load("models:/adder/staging").stdout == "[8 9]\n"
    assert not [*up.cache.rglob(".gitreg-aside-*")]


@pytest.mark.parametrize(
    "leftover", ["refs/tags/adder@v1.0.0.lock", "packed-refs.lock", "refs/heads/main.lock"]
)
def test_what_a_git_that_was_killed_left_locked_is_made_anew(up: Upstream, leftover: str) -> None:
    five(load_model("adder@1.0.0", registry=up.url))
    shop = up.work()
    run("git", "tag", "-am", "another", "adder@v1.0.1", "adder@v1.0.0^{commit}", cwd=shop.root)
    run("git", "tag", "-d", "adder@v1.1.0", cwd=shop.root)
    shop.manifest(version="1.2.0")
    shop.commit("more")
    up.push()
    (up.clone() / leftover).parent.mkdir(parents=True, exist_ok=True)
    (up.clone() / leftover).touch()
    assert "1.0.1" in Registry(up.url).record("adder").versions


@pytest.mark.parametrize("harm", ["HEAD", "config", "objects/pack", "packed-refs"])
def test_a_broken_clone_is_made_anew(up: Upstream, harm: str) -> None:
    five(load_model("adder@1.0.0", registry=up.url))
    broken = up.clone() / harm
    if broken.is_dir():
        shutil.rmtree(broken)
    else:
        broken.write_text("\0nonsense")
    shutil.rmtree(up.cache / "versions")
    five(load_model("adder@1.0.0", registry=up.url))


def package(up: Upstream) -> Path:
    (found,) = (up.cache / "packages").glob("[0-9a-f]*")
    return found


@pytest.mark.parametrize("harm", ["changed", "gone", "more", "artifact", "entry", "all"])
def test_a_package_that_is_not_as_it_was_made_is_made_anew(up: Upstream, harm: str) -> None:
    five(load_model("adder@1.0.0", registry=up.url))
    code, weight = package(up) / "1/defs/adder_model.py", package(up) / "1/model/number.txt"
    if harm == "changed":
        code.write_text(code.read_text().replace("int32(self", "int32(1 + self"))
    elif harm == "gone":
        code.unlink()
    elif harm == "more":
        (code.parent / "numpy.py").write_text("raise SystemExit('not ours')\n")
    elif harm == "artifact":
        weight.unlink()
        weight.write_text("9")
    elif harm == "entry":
        for file in (up.cache / "versions").glob("*.json"):
            file.write_text(file.read_text()[:50])
    else:
        shutil.rmtree(up.cache)
    five(load_model("adder@1.0.0", registry=up.url))


def test_a_cache_that_was_copied_elsewhere_is_used_without_a_network(
    up: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an image that is built once and started often: other inodes, maybe an owner, the same content."""
    five(load_model("adder@1.0.0", registry=up.url))
    copy = up.place / "copy"
    shutil.copytree(up.cache, copy)
    if os.getuid() == 0:  # who is nobody special cannot give files away
        for path in [copy, *copy.rglob("*")]:
            os.chown(path, 12345, 12345)
    shutil.rmtree(up.cache)
    up.bare.rename(up.place / "gone.git")
    monkeypatch.setenv("GITREG_CACHE", str(copy))
    with pytest.warns(Stale, match="offline") as told:
        five(load_model("adder@1.0.0", registry=up.url, offline=True))
    assert told[0].filename == __file__, "the warning points at the code that called gitreg"


def test_a_cache_that_everybody_may_write_to_is_refused(up: Upstream) -> None:
    up.cache.mkdir()
    up.cache.chmod(0o777)
    with pytest.raises(Refused, match="everybody may write"):
        load_model("adder", registry=up.url)


def test_the_cache_is_shown_and_emptied_and_nothing_else_is(up: Upstream) -> None:
    model = load_model("adder@1.0.0", registry=up.url)
    (up.cache / "packages" / "mine.lock").touch()
    (up.cache / "notes.txt").write_text("mine")
    said = command("cache", "--json", cwd=up.place)
    kept = {one["name"]: one for one in json.loads(said.stdout)["kept"]}
    assert (kept["clones"]["entries"], kept["packages"]["entries"], kept["versions"]["entries"]) == (1, 1, 1)
    assert kept["packages"]["size"] > 1000 and "in all" in command("cache", cwd=up.place).stdout
    with caches.locked(next(up.cache.glob("locks/*.lock")), 1):
        done = command("cache", "clear", cwd=up.place)
        assert done.returncode == 4 and "at work" in done.stderr and package(up).is_dir()
    assert command("cache", "clear", cwd=up.place).returncode == 0
    assert "nothing is kept" in command("cache", cwd=up.place).stdout
    assert (up.cache / "notes.txt").read_text() == "mine"
    five(model)  # what is loaded goes on working
    five(load_model("adder@1.0.0", registry=up.url))


def test_a_folder_that_is_no_cache_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packages" / "of-mine").mkdir(parents=True)
    (tmp_path / "more").touch()
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path))
    caches.place("clones")
    assert not (tmp_path / "CACHEDIR.TAG").exists()
    done = command("cache", "clear", cwd=tmp_path)
    assert done.returncode == 1 and (tmp_path / "packages" / "of-mine").is_dir()


# Without a network, and with a registry that goes on ------------------------------------------------


def test_offline_a_warm_cache_works_and_says_so(up: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    five(load_model("models:/adder/production", registry=up.url))
    up.bare.rename(up.place / "gone.git")
    shutil.rmtree(up.remote)
    with pytest.warns(Stale, match="is read as it was on .* UTC: offline"):
        five(load_model("models:/adder/production", registry=up.url, offline=True))
    with pytest.warns(Stale, match="does not appear to be a git repository|not found|does not exist"):
        five(load_model("models:/adder/production", registry=up.url))
    monkeypatch.setenv("GITREG_OFFLINE", "1")
    with (
        pytest.warns(Stale, match="offline"),
        pytest.raises(Outside, match=r"offline, and adder@1\.1\.0 was never loaded"),
    ):
        load_model("models:/adder/staging", registry=up.url)


def test_offline_with_a_cold_cache_is_the_outsides_failure(up: Upstream) -> None:
    with pytest.raises(Outside, match=r"offline, and .* was never fetched here"):
        load_model("adder", registry=up.url, offline=True)


def test_a_dvc_remote_that_is_gone_is_named_with_the_artifact(up: Upstream) -> None:
    shutil.rmtree(up.remote)
    with pytest.raises(Outside, match="models/adder/artifacts"):
        load_model("models:/adder/production", registry=up.url)
    assert not [*(up.cache / "versions").glob("*.json")]


def test_the_next_load_sees_what_was_promoted(up: Upstream) -> None:
    assert load_model("models:/adder/production", registry=up.url).version == "1.0.0"
    shop = up.work()
    done = shop.gitreg("promote", "adder@1.1.0", "production", "--apply")
    assert done.returncode == 0, done.stderr
    assert load_model("models:/adder/production", registry=up.url).version == "1.1.0"


def test_a_clone_counts_as_fresh_for_as_long_as_was_said(
    up: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    five(load_model("models:/adder/production", registry=up.url))
    monkeypatch.setenv("GITREG_REFRESH", "600")
    up.bare.rename(up.place / "gone.git")
    five(load_model("models:/adder/production", registry=up.url))  # asks nobody, and warns of nothing


def test_a_tag_that_is_deleted_upstream_is_deleted_here(up: Upstream) -> None:
    assert load_model("adder", registry=up.url).version == "1.1.0"
    run("git", "tag", "-d", "adder@v1.1.0", cwd=up.bare)
    assert load_model("adder", registry=up.url).version == "1.0.0"


def test_a_default_branch_that_has_another_name_now_is_followed(up: Upstream) -> None:
    Registry(up.url)
    shop = up.work()
    shop.manifest(version="2.0.0")
    shop.commit("two")
    run("git", "push", "-q", "origin", "HEAD:refs/heads/trunk", cwd=shop.root)
    run("git", "symbolic-ref", "HEAD", "refs/heads/trunk", cwd=up.bare)
    run("git", "branch", "-D", "main", cwd=up.bare)
    assert [model.version for model in Registry(up.url).manifests()] == ["2.0.0"]


def test_a_server_that_cannot_leave_contents_out_sends_them(up: Upstream) -> None:
    run("git", "config", "uploadpack.allowFilter", "false", cwd=up.bare)
    five(load_model("models:/adder/production", registry=up.url))


def test_a_registry_is_read_from_a_git_server(up: Upstream) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "git",
        "daemon",
        "--export-all",
        f"--base-path={up.place}",
        "--listen=127.0.0.1",
        f"--port={port}",
        "--reuseaddr",
    ]
    server = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        url = f"git://127.0.0.1:{port}/up.git"
        one = Registry(url)
        assert [model.name for model in one.manifests()] == ["adder"]
        assert one.resolve("adder#production")[1].version == "1.0.0"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    with pytest.warns(Stale):
        assert Registry(url).resolve("adder#staging")[1].version == "1.1.0"


# Addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "ext::sh -c 'touch pwned'",
        "ext::touch% pwned",
        "fd::17/foo",
        "ssh://-oProxyCommand=touch pwned/x",
        "ssh://-oProxyCommand=x/y",
        "ssh://%2DoProxyCommand=x/y",
        "ssh://-oProxyCommand=x@host/y",
        "git@-oProxyCommand=x:y",
        "-oProxyCommand=x:y",
        "--upload-pack=touch:y",
        "host:-x",
        "ftp://host/x",
        "https:///x",
        "https://host",
        "https://host/x\ny",
        "file:///tmp/x#subdirectory=../up",
        "https://host/x#main",
    ],
)
def test_a_hostile_address_is_refused_before_git_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITREG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(GitregError):
        Registry(address)
    assert not (tmp_path / "pwned").exists() and not (tmp_path / "cache/clones").exists()


@pytest.mark.parametrize(
    ("address", "url", "prefix"),
    [
        ("https://host/a/b.git", "https://host/a/b.git", ""),
        ("git@host:a/b.git", "git@host:a/b.git", ""),
        ("host:b", "host:b", ""),
        ("ssh://git@host:22/a", "ssh://git@host:22/a", ""),
        ("file:///a/b#subdirectory=ml/reg/", "file:///a/b", "ml/reg/"),
    ],
)
def test_an_address_is_read(address: str, url: str, prefix: str) -> None:
    found = address_of(address)
    assert found and (found.url, found.prefix) == (url, prefix)


@pytest.mark.parametrize("path", [".", "/a/b", "a/b:c", "models.git", "./host:b"])
def test_a_path_is_no_address(path: str) -> None:
    assert address_of(path) is None


def test_a_token_in_an_address_is_not_shown(up: Upstream) -> None:
    with pytest.raises(Outside) as caught:
        Registry("https://secret-token@127.0.0.1:1/x.git")
    assert "secret-token" not in caught.value.message
    assert not [path for path in up.cache.rglob("*") if "secret" in path.name]


def test_a_submodule_and_a_hook_of_the_registry_are_left_alone(up: Upstream) -> None:
    shop = up.work()
    (shop.root / ".gitmodules").write_text(
        '[submodule "models/adder/sub"]\n\tpath = models/adder/sub\n\turl = ext::touch pwned\n'
    )
    run("git", "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},models/adder/sub", cwd=shop.root)
    run("git", "add", ".gitmodules", cwd=shop.root)
    run("git", "commit", "-qm", "sub", cwd=shop.root)
    up.push()
    manifest, _, outcome = Registry(up.url).predict("adder")
    assert manifest.version == "1.1.0" and outcome.answers and not (up.place / "pwned").exists()


def test_a_registry_elsewhere_is_read_only(up: Upstream) -> None:
    one = Registry(up.url)
    for write in (one.apply, one.check, one.build, one.fix, lambda: one.promote(["adder"], "production")):
        with pytest.raises(Refused, match="can only be read"):
            write()


def test_predict_and_plan_take_a_registry(up: Upstream) -> None:
    shop = Workshop(up.place)
    done = shop.gitreg("predict", "adder#production", "--registry", up.url, "--json")
    assert json.loads(done.stdout)["predictions"] == [{"y": [6, 7]}, {"y": [35, 45]}], done.stderr
    done = shop.gitreg(
        "predict", "adder#staging", "--registry", up.url, "--input", "-", input='{"x": [0, 0]}'
    )
    assert done.stdout == "[0] y = [7, 7]\n", done.stderr
    done = shop.gitreg("plan", "--registry", str(up.bare))
    assert (done.returncode, done.stdout[:13]) == (0, "nothing to do"), done.stderr
    env = {**os.environ, "GITREG_OFFLINE": "1"}
    done = shop.gitreg("predict", "adder#production", "--registry", up.url, env=env)
    assert done.returncode == 0 and "note: " in done.stderr and "offline" in done.stderr
