"""Links and DVC settings that a commit brings: nothing is written, and no secret sent, where they lead."""

from __future__ import annotations

import base64
import gc
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gitreg import Registry, cli, dvcsettings, git, safewrite
from gitreg.declared import ArtifactSource
from gitreg.errors import Outside as OutsideFailed
from gitreg.errors import Refused
from gitreg.git import clones
from tests.support import DVC, Workshop, run
from tests.support import gitreg as command
from tests.upstream import Upstream

OUT = "$OUT"


class Outside:
    """A home folder that is nobody's business."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / ".aws").mkdir(parents=True)
        (place / ".aws/credentials").write_text("[default]\naws_secret_access_key = hunter2\n")
        (place / "folder/docs").mkdir(parents=True)
        (place / "folder/docs/letter.txt").write_text("Dear Ada\n")
        (place / "folder/config").write_text("")
        (place / "dvc.yaml").write_text("stages: {}\n")
        (place / "model.yaml").write_text("name: mine\n")
        self.before = self.now()

    def now(self) -> dict[str, Any]:
        return {
            path.relative_to(self.place).as_posix(): (
                path.read_bytes() if path.is_file() else None,
                path.lstat().st_mode,
                path.lstat().st_mtime_ns,
            )
            for path in [self.place, *sorted(self.place.rglob("*"))]
        }

    def is_as_it_was(self) -> None:
        assert self.now() == self.before


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path / "home")


def plant(root: Path, links: dict[str, str], outside: Outside) -> None:
    """Put links into a work tree, and into its index."""
    for name, target in links.items():
        place = root / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target.replace(OUT, str(outside.place)))
        run("git", "add", "-A", "-f", name, cwd=root)


def older(up: Upstream, links: dict[str, str], outside: Outside) -> Workshop:
    """A clone of whose commits one, registered as adder 1.2.0, has links; the last one has none."""
    shop = up.work()
    run("git", "checkout", "-q", "-b", "hostile", cwd=shop.root)
    shop.manifest(version="1.2.0")
    plant(shop.root, links, outside)
    run("git", "commit", "-qam", "links", cwd=shop.root)
    run("git", "tag", "-a", "-m", "registered", "adder@v1.2.0", cwd=shop.root)
    run("git", "checkout", "-q", "-f", "main", cwd=shop.root)
    for name in links:
        assert not (shop.root / name).is_symlink()
    return shop


# Commits that are laid out ---------------------------------------------------------------------------

SETTINGS = {
    "all of it": {
        ".dvc/config.local": f"{OUT}/.planted",
        ".dvc/.gitignore": f"{OUT}/.planted2",
        ".dvc/tmp": f"{OUT}/folder",
        ".dvc/cache": f"{OUT}/folder",
        ".dvc/site": f"{OUT}/folder",
        ".dvc/plots": f"{OUT}/folder",
        ".DVC/config.local": f"{OUT}/.planted",
    },
    "parts of parts": {
        ".dvc/config.local": f"{OUT}/.aws/credentials",
        ".dvc/tmp/lock": f"{OUT}/.planted",
        ".dvc/cache/files/md5": f"{OUT}/folder",
        "models/.dvc": f"{OUT}/folder",
        "models/adder/.dvc": f"{OUT}/folder",
    },
    "a file of secrets as settings": {".dvc/config": f"{OUT}/.aws/credentials"},
    "the whole folder": {".dvc": f"{OUT}/folder"},
    "the whole folder, which is not there": {".dvc": f"{OUT}/.planted"},
    "what DVC reads": {".dvcignore": "/dev/zero"},
    "what Git reads": {".gitattributes": f"{OUT}/.planted", "models/.gitignore": f"{OUT}/.planted"},
}
WITHOUT_REMOTE = [name for name, links in SETTINGS.items() if {".dvc", ".dvc/config"} & links.keys()]


@pytest.mark.parametrize("what", SETTINGS)
def test_a_registry_elsewhere_is_laid_out_without_its_settings(
    up: Upstream, outside: Outside, what: str
) -> None:
    older(up, SETTINGS[what], outside)
    run("git", "push", "-q", "origin", "adder@v1.2.0", cwd=up.work().root)
    done = up.load("models:/adder/1.2.0")
    outside.is_as_it_was()
    if what in WITHOUT_REMOTE:
        assert done.returncode == 1 and "is not followed" in done.stderr, done.stderr
    elif ".dvcignore" in SETTINGS[what]:
        assert done.returncode == 1 and "leads out of it" in done.stderr, done.stderr
    else:
        assert done.stdout == "[8 9]\n", done.stderr


@pytest.mark.parametrize("what", SETTINGS)
def test_an_older_commit_of_a_clone_is_laid_out_without_its_settings(
    up: Upstream, outside: Outside, what: str
) -> None:
    shop = older(up, SETTINGS[what], outside)
    secret = shop.root / ".dvc/config.local"
    secret.write_text("['remote \"dav\"']\n    url = webdavs://host/x\n    password = hunter3\n")
    done = shop.gitreg("predict", "adder@1.2.0")
    outside.is_as_it_was()
    if ".dvcignore" in SETTINGS[what]:
        assert done.returncode == 1 and "leads out of it" in done.stderr, done.stderr
    else:
        assert done.returncode == 0 and "y = [8, 9]" in done.stdout, done.stderr
    assert secret.read_text().count("hunter3") == 1
    assert run("git", "status", "--porcelain", cwd=shop.root).stdout == ""


@pytest.mark.parametrize("model", [None, "adder"])
@pytest.mark.parametrize("name", [".dvc", ".DVC", ".dVc"])
def test_no_spelling_of_the_folder_is_laid_out(
    up: Upstream, outside: Outside, name: str, model: str | None
) -> None:
    shop = older(up, {f"{name}/config.local": f"{OUT}/.planted", "models/deep/.dvc": "x"}, outside)
    commit = git.must(shop.root, ["rev-parse", "adder@v1.2.0^{commit}"])
    git.clone_at(shop.root, commit, up.place / "whole")
    git.name_bare(up.bare)
    clones.check_out(
        up.bare, git.head(up.bare) or "", up.place / "part", [f"models/{model}"] if model else None
    )
    for place in (up.place / "whole", up.place / "part"):
        assert (place / "models/adder/model.yaml").is_file() and (place / "registry.yaml").is_file()
        assert not [path for path in place.rglob("*") if path.name.lower() == ".dvc"]
        (place / ".dvc").mkdir()
        (place / ".dvc/config").write_text("ours")
        assert run("git", "status", "--porcelain", "--untracked-files=all", cwd=place).stdout == ""
    assert (up.place / "part/models/.gitkeep").exists()
    assert (up.place / "part/stages").exists() is (model is None)


@pytest.mark.parametrize("what", ["a link", "nothing", "a link to the clone's own"])
def test_a_commit_without_the_registry_leads_to_no_other(up: Upstream, outside: Outside, what: str) -> None:
    """A registry below the top of its repository, in a commit in which that folder leads elsewhere."""
    shop = up.work()
    shutil.copytree(shop.root / "models", outside.place / "folder/models")
    shutil.copy(shop.root / "registry.yaml", outside.place / "folder")
    outside.before = outside.now()
    run("git", "checkout", "-q", "--orphan", "old", cwd=shop.root)
    run("git", "rm", "-rqf", "--cached", ".", cwd=shop.root)
    moved = shop.root.rename(up.place / "aside")
    top = up.place / "work"
    top.mkdir()
    (moved / ".git").rename(top / ".git")
    if what != "nothing":
        plant(top, {"ml": f"{OUT}/folder" if what == "a link" else str(top / "other")}, outside)
    run("git", "commit", "-q", "--allow-empty", "-m", "old", cwd=top)
    run("git", "tag", "-a", "-m", "registered", "adder@v1.2.0", cwd=top)
    (top / "ml").unlink(missing_ok=True)
    moved.rename(top / "ml")
    secret = top / "ml/.dvc/config.local"
    secret.write_text("['remote \"dav\"']\n    url = webdavs://host/x\n    password = hunter3\n")
    run("git", "add", "-A", cwd=top)
    run("git", "commit", "-qm", "new", cwd=top)
    before = secret.read_text()
    done = Workshop(top / "ml").gitreg("predict", "adder@1.2.0")
    assert done.returncode == 1 and "holds no registry" in done.stderr, done.stderr
    assert secret.read_text() == before
    outside.is_as_it_was()


def test_a_remote_inside_the_repository_is_found_and_not_behind_a_link(
    up: Upstream, outside: Outside
) -> None:
    shop = up.work()
    shutil.copytree(up.remote, shop.root / "dvcstore")
    config = shop.root / ".dvc/config"
    config.write_text(config.read_text().replace("../../remote", "../dvcstore"))
    shop.manifest(version="1.2.0")
    shop.commit("artifacts inside")
    run("git", "tag", "-a", "-m", "registered", "adder@v1.2.0", cwd=shop.root)
    shutil.copytree(up.remote, outside.place / "store")
    outside.before = outside.now()
    plant(shop.root, {"dvcstore": f"{OUT}/store"}, outside)
    shop.manifest(version="1.3.0")
    shop.commit("artifacts behind a link")
    run("git", "tag", "-a", "-m", "registered", "adder@v1.3.0", cwd=shop.root)
    up.push()
    shutil.rmtree(up.remote)
    assert up.load("adder@1.2.0").stdout == "[8 9]\n"
    shutil.rmtree(up.cache)
    done = up.load("adder@1.3.0")
    assert done.returncode == 1 and "behind the symbolic link dvcstore" in done.stderr, done.stderr
    outside.is_as_it_was()


# Credentials -----------------------------------------------------------------------------------------


class Store:
    """A DVC remote over HTTP that remembers what it was asked, and with which credentials."""

    def __init__(self, folder: Path) -> None:
        seen: list[str | None] = []

        class Handler(SimpleHTTPRequestHandler):
            def send_head(self) -> Any:
                seen.append(self.headers.get("Authorization"))
                return super().send_head()

            def log_message(self, *_: Any) -> None:
                pass

        self.seen = seen
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


SECRET = "    auth = basic\n    user = ada\n    password = hunter3\n"
GIVEN = f"Basic {base64.b64encode(b'ada:hunter3').decode()}"


@pytest.fixture
def stores(up: Upstream) -> Iterator[tuple[Store, Store]]:
    """The registry's own store, and somebody else's, which has the same."""
    made = Store(up.remote), Store(up.remote)
    yield made
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def remote(name: str, url: str = "", more: str = "") -> str:
    return f"['remote \"{name}\"']\n" + (f"    url = {url}\n" if url else "") + more


def fetched(registry: Registry) -> str:
    """Get the artifact of adder 1.2.0 into an empty cache; why it cannot be had."""
    with registry.at(registry.commit("adder@v1.2.0"), model="adder") as there:
        tracked = there.store.tracked(ArtifactSource(path="models/adder/artifacts"), "models/adder")
        assert there.store.missing(tracked)
        try:
            there.store.fetch([tracked])
        except OutsideFailed as failed:
            return failed.message
        assert not there.store.missing(tracked)
    return ""


def first(name: str) -> str:
    return f"[core]\n    remote = {name}\n"


@pytest.mark.parametrize(
    ("what", "ours", "theirs"),
    [
        ("the commit names another address", [GIVEN], []),
        ("the clone calls it otherwise now", [], [None]),
        ("the clone has no address for it", [], []),
        ("the address is asked for below", [GIVEN], []),
        ("renamed since", [GIVEN], []),
        ("in everybody's configuration, with the address", [GIVEN], []),
        ("in everybody's configuration, without an address", [], []),
    ],
)
def test_credentials_of_a_clone_go_to_no_address_of_a_commit(
    up: Upstream,
    stores: tuple[Store, Store],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    ours: list[str | None],
    theirs: list[str | None],
) -> None:
    """One is the user's own address, the other what an older commit says."""
    own, other = stores
    everybody = ""
    committed = first("here") + remote("here", other.url)
    if what == "the commit names another address":
        now, local = first("here") + remote("here", own.url), remote("here", more=SECRET)
    elif what == "the clone calls it otherwise now":
        now, local = first("store") + remote("store", own.url), remote("store", more=SECRET)
        now = now.replace(first("store"), "")
    elif what == "the clone has no address for it":
        now, local = "", remote("here", more=SECRET)
    elif what == "the address is asked for below":
        now, local = remote("store", own.url), remote("store", more=SECRET)
        committed = first("here") + remote("here", f"{own.url}/", f"    endpointurl = {other.url}\n")
    elif what == "renamed since":
        committed = first("here") + remote("here", own.url)
        now, local = remote("store", own.url), remote("store", more=SECRET)
    else:
        now, local = "", ""
        at = own.url if "with the address" in what else ""
        everybody = remote("here", at, SECRET)
    shop = up.work()
    (shop.root / ".dvc/config").write_text(committed)
    shop.manifest(version="1.2.0")
    shop.commit("old")
    run("git", "tag", "-a", "-m", "registered", "adder@v1.2.0", cwd=shop.root)
    (shop.root / ".dvc/config").write_text(now)
    shop.manifest(version="1.3.0")
    shop.commit("new")
    (shop.root / ".dvc/config.local").write_text(local)
    (up.place / "everybody").mkdir()
    (up.place / "everybody/config").write_text(everybody)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(up.place / "everybody"))
    why = fetched(Registry(shop.root))
    assert sorted({*own.seen}, key=str) == ours and sorted({*other.seen}, key=str) == theirs, why
    assert why == "" if ours or theirs else "no address for the remote 'here'" in why


@pytest.mark.parametrize("what", ["the name", "the address", "the address, and settings beside it", "both"])
def test_credentials_of_a_user_go_to_no_address_of_a_registry_elsewhere(
    up: Upstream, stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    own, other = stores
    shop = up.work()
    elsewhere = other.url if what == "the name" else own.url
    more = "    proxy = x\n    ssl_verify = false\n" if "beside" in what else ""
    (shop.root / ".dvc/config").write_text(first("here") + remote("here", elsewhere, more))
    shop.manifest(version="1.2.0")
    shop.commit("theirs")
    run("git", "tag", "-a", "-m", "registered", "adder@v1.2.0", cwd=shop.root)
    up.push()
    (up.place / "everybody").mkdir()
    mine = remote("mine" if what == "the address" else "here", own.url, SECRET)
    (up.place / "everybody/config").write_text(mine)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(up.place / "everybody"))
    assert fetched(Registry(up.url)) == ""
    assert {*own.seen} == (set() if what == "the name" else {GIVEN})
    assert {*other.seen} == ({None} if what == "the name" else set())


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("s3://bucket/models", True),
        ("s3://bucket/models/deeper", True),
        ("s3://bucket/models/../../evil", False),
        ("s3://bucket/models-evil", False),
        ("s3://bucket", False),
        ("S3://evil/models", False),
    ],
)
@pytest.mark.parametrize("name", ["store", "another"])
def test_an_endpoint_of_a_commit_never_stands_beside_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, kept: bool, name: str
) -> None:
    mine = remote("store", "s3://bucket/models", "    secret_access_key = hunter3\n    keyfile = ../key\n")
    theirs = remote(name, url, "    endpointurl = http://evil\n    jobs = 9\n") + '[db "x"]\n    url = y\n'
    theirs += (
        "[core]\n    remote = " + name.upper() + "\n[parsing]\n    bool = boolean_optional\n    list = $(x)\n"
    )
    (tmp_path / "mine/.dvc").mkdir(parents=True)
    for which in ("elsewhere", "clone"):
        root = tmp_path / which
        root.mkdir()
        (tmp_path / ("mine/config" if which == "elsewhere" else "mine/.dvc/config")).write_text(mine)
        monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "mine" if which == "elsewhere" else root))
        if which == "elsewhere":
            dvcsettings.settle(root, theirs.encode(), tmp_path / "cache", None)
        else:
            dvcsettings.lend(root, theirs.encode(), tmp_path / "mine", tmp_path / "cache")
        said = (root / ".dvc/config").read_text()
        _, _, section = said.partition(f"'remote \"{name}\"'")
        section = section.partition("[")[0]
        ours = kept or (which == "clone" and name == "store")
        assert ("hunter3" in section) is ours and ("evil" not in section or "hunter3" not in section), said
        assert ("endpointurl" in section) is not ours and "jobs" not in said and "db" not in said
        assert f"remote = {name}\n" in said and "bool = boolean_optional" in said and "$(x)" not in said
        assert ours is (f"keyfile = {tmp_path}/" in section)


@pytest.mark.parametrize(
    "committed",
    [
        b"core = 1\ncache = 2\n",
        b"[core]\n    remote = a, b\n['remote \"a\"']\n    url = s3://x, s3://y\n",
        b"['remote \"a\"']\n    url = %(nothing)s\n['remote \"\"']\n    url = s3://x\n[[deeper]]\n    x = 1\n",
        b"['remote \"a\\\"b\"']\n    url = s3://x\n['remote \"c']\n    url = s3://x\n",
        b'[\'remote "a"\']\n    url = """x\ny"""\n',
        None,
    ],
)
def test_a_broken_configuration_of_a_commit_lends_nothing(tmp_path: Path, committed: bytes | None) -> None:
    left = dvcsettings.settle(tmp_path, committed, tmp_path / "cache", None)
    said = (tmp_path / ".dvc/config").read_text()
    assert "nothing" not in said and "y" * 9 not in said and all("'a'" in why for why in left.values())
    assert run(*DVC, "config", "--list", cwd=tmp_path).stdout
    assert dvcsettings.kept_inside(committed) in ([], [".dvc/%(nothing)s"], [".dvc/x\ny"])
    with pytest.raises(Refused, match="takes for"):
        dvcsettings.settle(tmp_path, committed, tmp_path / "cache", None)


# Writes into a work tree -----------------------------------------------------------------------------

NEW = ("new", "fresh", "--from", "../weights.bin")
WRITES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "new: all models": (NEW, {"models": f"{OUT}/folder"}),
    "new: the model's folder": (NEW, {"models/fresh": f"{OUT}/folder"}),
    "new: another model's folder": (NEW, {"models/fresh": "adder/src"}),
    "new: what Git ignores": (NEW, {"models/fresh/.gitignore": f"{OUT}/.planted"}),
    "new: the manifest": (NEW, {"models/fresh/model.yaml": f"{OUT}/.planted"}),
    "new: the code": (NEW, {"models/fresh/src": f"{OUT}/folder"}),
    "new: the artifact": (NEW, {"models/fresh/weights.bin": f"{OUT}/.planted"}),
    "new: the marker": (NEW, {"models/fresh/.gitreg-new": f"{OUT}/.planted"}),
    "new: dvc.yaml that is not there": (NEW, {"dvc.yaml": f"{OUT}/.planted"}),
    "new: DVC's folder": (NEW, {".dvc": f"{OUT}/folder"}),
    "new: DVC's temporary folder": (NEW, {".dvc/tmp": f"{OUT}/folder"}),
    "new: DVC's lock": (NEW, {".dvc/tmp/lock": f"{OUT}/.planted"}),
    "new: DVC's cache": (NEW, {".dvc/cache": f"{OUT}/folder"}),
    "new: DVC's own ignored files": (NEW, {".dvc/.gitignore": f"{OUT}/.planted"}),
    "bump: the manifest": (("bump", "adder", "minor"), {"models/adder/model.yaml": "../../model.yaml"}),
    "bump: the model's folder": (("bump", "adder", "minor"), {"models/adder": "../away"}),
    "trace: the model's folder": (("trace", "adder"), {"models/adder": "../away"}),
    "check --fix: dvc.yaml that is not there": (("check", "--fix"), {"dvc.yaml": f"{OUT}/.planted"}),
    "check a model: DVC's temporary folder": (("check", "adder"), {".dvc/tmp": f"{OUT}/folder"}),
    "build: dist": (("build", "adder"), {"dist": f"{OUT}/folder"}),
    "build: below dist": (("build", "adder"), {"dist/raw": f"{OUT}/folder"}),
    "build: a package": (("build", "adder"), {"dist/triton/adder": f"{OUT}/folder"}),
    "build: a folder that is named": (("build", "adder", "-o", "out/x"), {"out": f"{OUT}/folder"}),
    "site: dist": (("site", "build"), {"dist": f"{OUT}/folder"}),
    "site: its folder": (("site", "build"), {"dist/site": f"{OUT}/folder"}),
    "site: below it": (("site", "build"), {"dist/site/models": f"{OUT}/folder"}),
    "pull: the folder": (("pull", "adder"), {"adder": f"{OUT}/folder"}),
    "pull: above it": (("pull", "adder", "-o", "out/adder"), {"out": f"{OUT}/folder"}),
    "init: stages": (("init",), {"stages": f"{OUT}/folder"}),
    "init: schemas": (("init",), {"schemas": f"{OUT}/folder"}),
    "init: models": (("init",), {"models": f"{OUT}/.planted"}),
    "init: GitHub's files": (("init",), {".github": f"{OUT}/folder"}),
    "promote: stages": (("promote", "adder", "staging", "--apply"), {"stages": f"{OUT}/folder"}),
}


@pytest.fixture(scope="module")
def _registered(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registered") / "registry"
    shutil.copytree(_template, folder, symlinks=True)
    done = Workshop(folder).gitreg("apply")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def shop(_registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A registry with adder 1.0.0, which is the current folder."""
    shutil.copytree(_registered, tmp_path / "registry", symlinks=True)
    (tmp_path / "weights.bin").write_bytes(b"\x00\x01" * 100)
    monkeypatch.chdir(tmp_path / "registry")
    return Workshop(tmp_path / "registry")


@pytest.mark.parametrize("what", WRITES)
def test_nothing_is_written_through_a_link(
    shop: Workshop, outside: Outside, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, links = WRITES[what]
    for name, target in links.items():
        if not target.startswith(OUT) and name.startswith("models/adder"):
            place = shop.root / name
            shutil.move(place, (place.parent / target).resolve())
    if words[0] == "check" and len(words) == 2 and words[1] == "adder":
        shutil.rmtree(shop.root / ".dvc/cache")
    plant(shop.root, links, outside)
    run("git", "commit", "-qam", "links", cwd=shop.root)
    made = run("git", "status", "--porcelain", "--untracked-files=all", cwd=shop.root).stdout
    try:
        code, told = cli.main([*words]), capsys.readouterr().err
    finally:
        gc.enable()
    outside.is_as_it_was()
    said = "is not a folder" if what == "build: a package" else " link"
    assert code == 1 and said in told and any(name in told for name in links), told
    if words[0] == "new":
        left = run("git", "status", "--porcelain", "--untracked-files=all", cwd=shop.root).stdout
        assert left == made, "nothing is left"
    for name in links:
        assert (shop.root / name).is_symlink(), "and no link of the user's is gone"


@pytest.mark.parametrize("link", [".dvcignore", ".dvc"])
def test_init_makes_no_settings_through_a_link(tmp_path: Path, outside: Outside, link: str) -> None:
    (tmp_path / "registry").mkdir()
    run("git", "init", "-q", cwd=tmp_path / "registry")
    plant(tmp_path / "registry", {link: f"{OUT}/.planted"}, outside)
    done = command("init", cwd=tmp_path / "registry")
    outside.is_as_it_was()
    assert done.returncode == 1 and link in done.stderr, done.stdout + done.stderr


def test_what_a_killed_new_noted_is_not_removed_through_a_link(shop: Workshop, outside: Outside) -> None:
    """The marker is a file like others: a commit can bring one that names what it wants gone."""
    plant(shop.root, {"models/fresh/out": f"{OUT}/folder"}, outside)
    (shop.root / "models/fresh/.gitreg-new").write_text("out/docs\nout/docs/letter.txt\n")
    shop.commit("a marker")
    done = shop.gitreg(*NEW)
    outside.is_as_it_was()
    assert done.returncode == 1 and "models/fresh/out is a symbolic link" in done.stderr


def test_doctor_tries_links_in_no_folder_of_a_commit(shop: Workshop, outside: Outside) -> None:
    plant(shop.root, {"dist": f"{OUT}/folder"}, outside)
    assert "dist is a symbolic link" in shop.gitreg("doctor").stdout
    outside.is_as_it_was()


@pytest.mark.parametrize("link", ["metrics.json", "."])
def test_metrics_are_written_through_no_link(shop: Workshop, outside: Outside, link: str) -> None:
    (shop.adder / "metrics.json").write_text("{}\n")
    shop.manifest(version="1.1.0", metrics="metrics.json")
    place = shop.adder / "metrics.json" if link != "." else shop.adder
    shutil.move(place, shop.root / "away")
    place.symlink_to("../../away" if link != "." else "../away")
    (shop.root / "held.json").write_text('[{"x": [1, 2], "y": [6, 7]}]')
    shop.commit("metrics")
    away = {
        path: path.read_bytes()
        for path in [shop.root / "away", *(shop.root / "away").rglob("*")]
        if path.is_file()
    }
    done = shop.gitreg("evaluate", "adder", "--data", "held.json", "--target", "y=y", "--write")
    assert done.returncode == 1 and "symbolic link" in done.stderr, done.stdout + done.stderr
    assert away == {path: path.read_bytes() for path in away} and place.is_symlink()


# Links of the user's own -----------------------------------------------------------------------------


def test_links_of_the_user_lead_to_a_cache_and_an_output_elsewhere(shop: Workshop, tmp_path: Path) -> None:
    """Git does not track them: nobody but the user made them."""
    (tmp_path / "disk/out").mkdir(parents=True)
    shutil.move(shop.root / ".dvc/cache", tmp_path / "disk/cache")
    (shop.root / ".dvc/cache").symlink_to(tmp_path / "disk/cache")
    (shop.root / "dist").symlink_to(tmp_path / "disk/out")
    shutil.rmtree(tmp_path / "disk/cache/files")
    done = shop.gitreg("build", "adder")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "disk/out/raw/adder").is_dir() and any((tmp_path / "disk/cache/files/md5").iterdir())
    done = shop.gitreg(*NEW)
    assert done.returncode == 0, done.stderr


# The helper itself -----------------------------------------------------------------------------------


def test_a_write_makes_folders_and_keeps_the_mode(tmp_path: Path) -> None:
    safewrite.replace(tmp_path, "a/b/c.txt", b"one")
    (tmp_path / "a/b/c.txt").chmod(0o640)
    safewrite.replace(tmp_path, tmp_path / "a/b/c.txt", b"two", tmp_path / "aside")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"two"
    assert (tmp_path / "a/b/c.txt").stat().st_mode & 0o777 == 0o640
    safewrite.append(tmp_path, "a/b/c.txt", b"!")
    safewrite.remove(tmp_path, "a/none/at/all")
    assert [path.name for path in sorted((tmp_path / "a").rglob("*"))] == ["b", "c.txt"]
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"two!"
    with pytest.raises(Refused, match="exists already"):
        safewrite.create(tmp_path, "a/b/c.txt", b"three")
    with pytest.raises(Refused, match="is a folder"):
        safewrite.replace(tmp_path, "a/b", b"three")
    with pytest.raises(Refused, match="exists already"):
        safewrite.make_folder(tmp_path, "a/b/c.txt/d")
    with pytest.raises(Refused, match="leads out"):
        safewrite.replace(tmp_path, "a/../../c.txt", b"three")
    safewrite.remove(tmp_path, "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("at", ["link", "link/file", "link/new/deeper", "dangling"])
def test_every_write_refuses_every_link(tmp_path: Path, outside: Outside, at: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside.place / "folder")
    (root / "dangling").symlink_to(outside.place / ".planted")
    (root / "source").write_text("x")
    for write in (
        lambda: safewrite.replace(root, at, b"x"),
        lambda: safewrite.replace(root, at, b"x", root / "aside"),
        lambda: safewrite.create(root, at, b"x"),
        lambda: safewrite.append(root, at, b"x"),
        lambda: safewrite.copy(root / "source", root, at),
        lambda: safewrite.make_folder(root, at),
        lambda: safewrite.kept(root, at).__enter__(),
        lambda: safewrite.refuse_links(root, "source", at),
    ):
        with pytest.raises(Refused, match=r"(link|dangling) is a symbolic link to") as refused:
            write()
        assert refused.value.hint and refused.value.hint.startswith("rm ")
    outside.is_as_it_was()
