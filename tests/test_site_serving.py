"""The live site: who may ask it for what, and what an order does."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitreg import Registry
from gitreg.errors import Outside
from gitreg.site.serving import Server
from tests.support import Workshop, run


@contextlib.contextmanager
def serving(root: Path, **how: Any) -> Iterator[Server]:
    """A server of a registry, in a thread."""
    with Server(Registry(root), 0, **how) as one:
        thread = threading.Thread(target=one.run)
        thread.start()
        try:
            yield one
        finally:
            one.stop()
            thread.join()


def ask(one: Server, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, str, Any]:
    """(status, text, headers) of a request; a header that is None is left out."""
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=60)
    said = {"Host": f"127.0.0.1:{one.port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    data = json.dumps(body).encode() if body is not None else b""
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Content-Length": str(len(data)), **said}.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(data)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


def order(one: Server, path: str, body: Any, **headers: str | None) -> tuple[int, Any]:
    """(status, data) of an order as its own page sends it."""
    own: dict[str, str | None] = {
        "Origin": f"http://127.0.0.1:{one.port}",
        "Content_Type": "application/json",
        "X_Gitreg_Token": one.token,
        "Sec_Fetch_Site": "same-origin",
    }
    status, text, said = ask(one, "POST", path, body, **{**own, **headers})
    return status, json.loads(text) if said["Content-Type"] == "application/json" else text


@pytest.fixture(scope="module")
def shown(_template: Path) -> Iterator[Server]:
    """A server that nothing is changed through."""
    with serving(_template) as one:
        yield one


PROMOTE = {
    "deed": "promote",
    "model": "adder",
    "version": "1.0.0",
    "stage": "staging",
    "way": "branch",
    "note": "",
}
REGISTER = {"deed": "register", "model": "adder", "version": "1.0.0", "stage": "", "way": "apply", "note": ""}


# Who may ask -----------------------------------------------------------------------------------------


def test_it_listens_on_loopback_alone(shown: Server) -> None:
    assert shown.http.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", None, ""]
)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/data/models-0.js"), ("POST", "/api/offers")]
)
def test_another_host_is_refused_so_no_name_can_be_rebound(
    shown: Server, host: str | None, method: str, path: str
) -> None:
    said = host.format(port=shown.port) if host is not None else None
    assert ask(shown, method, path, Host=said)[0] == 421


def test_two_hosts_are_refused(shown: Server) -> None:
    with socket.create_connection(("127.0.0.1", shown.port)) as connection:
        own = f"127.0.0.1:{shown.port}"
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n\r\n".encode())
        assert b" 421 " in connection.recv(100)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_gets_no_data_and_may_link_to_pages(shown: Server, site: str) -> None:
    assert ask(shown, "GET", "/data/models-0.js", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors")[0] == 403
    assert ask(shown, "GET", "/api/stamp", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 403
    assert ask(shown, "GET", "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors")[0] == 403
    assert ask(shown, "GET", "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0] == 200


def test_answers_can_be_neither_framed_nor_read_nor_kept(shown: Server) -> None:
    status, text, headers = ask(shown, "GET", "/index.html")
    assert status == 200
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers and "Set-Cookie" not in headers
    assert shown.token not in text


@pytest.mark.parametrize(
    "path",
    ["/../registry.yaml", "/%2e%2e/registry.yaml", "/assets/../pages.py", "/assets/%2e%2e/pages.py", "/models/../index.html",
     "/models/adder/../../x", "/.git/config", "/assets/", "//etc/passwd", "/models/ADDER/index.html", "/models/nothing/data.js",
     "/data/models-1.js", "/data/models-x.js", "/registry.yaml", "/%00", "/%ff", "/models/adder%00/index.html"],
)  # fmt: skip
def test_only_pages_can_be_had(shown: Server, path: str) -> None:
    assert ask(shown, "GET", path)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "none"},
        {"X_Gitreg_Token": None},
        {"X_Gitreg_Token": "wrong"},
        {"X_Gitreg_Token": "\u00e9"},
    ],
)
@pytest.mark.parametrize("path", ["/api/offers", "/api/look", "/api/do"])
def test_orders_come_from_its_own_page_with_the_token(
    shown: Server, headers: dict[str, str | None], path: str
) -> None:
    assert order(shown, path, {"order": REGISTER}, **headers)[0] == 403


def test_orders_are_json_that_a_form_cannot_send_and_short(shown: Server) -> None:
    assert order(shown, "/api/look", {}, Content_Type="text/plain")[0] == 400
    assert order(shown, "/api/look", {}, Content_Type="application/x-www-form-urlencoded")[0] == 400
    assert order(shown, "/api/look", {}, Content_Length=str(1 << 20))[0] == 413
    assert order(shown, "/api/look", {}, Content_Length="-1")[0] == 413
    assert order(shown, "/api/look", {}, Content_Length=None)[0] == 413
    assert order(shown, "/api/look", [])[0] == 409
    assert order(shown, "/api/nothing", {})[0] == 400
    assert ask(shown, "GET", "/api/do")[0] == 404
    assert ask(shown, "PUT", "/api/do")[0] == 501


def test_each_start_has_another_token(shown: Server) -> None:
    with Server(shown.registry, 0) as other:
        assert other.token != shown.token and len(other.token) >= 40
        assert shown.address("version.html#adder@1.0.0").endswith(f"#adder@1.0.0&token={shown.token}")


def test_a_client_that_says_nothing_does_not_keep_others_waiting(shown: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", shown.port)) for _ in range(8)]
    assert ask(shown, "GET", "/")[0] == 200
    for one in silent:
        one.close()


def test_a_port_that_is_taken_is_told(shown: Server) -> None:
    with pytest.raises(Outside, match=f"port {shown.port}"):
        Server(shown.registry, shown.port)


# What is an order ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"deed": "delete"}, {"deed": 1}, {"way": "force"}, {"model": "--upload-pack=x"}, {"model": "../x"}, {"model": ""},
        {"version": "1.0"}, {"version": "-x"}, {"version": ""}, {"stage": "../../x"}, {"stage": ""}, {"note": "x" * 5000},
        {"note": "a\0b"}, {"note": {"a": 1}}, {"model": "constructor"}, {"version": "9.9.9"}, {"stage": "nowhere"},
    ],
)  # fmt: skip
def test_what_is_no_order_is_refused_with_words(shown: Server, change: dict[str, Any]) -> None:
    status, said = order(shown, "/api/look", {"order": {**PROMOTE, **change}})
    assert (status, bool(said["error"])) == (409, True)


def test_a_server_that_only_shows_takes_none(_template: Path) -> None:
    with serving(_template, read_only=True) as one:
        assert order(one, "/api/offers", {})[0] == 403
        assert "token" not in one.address("index.html")


# What an order does ----------------------------------------------------------------------------------


def tags(shop: Workshop) -> list[str]:
    return run("git", "tag", cwd=shop.root).stdout.split()


def references(shop: Workshop) -> str:
    return run("git", "for-each-ref", cwd=shop.root).stdout


def test_register_look_and_do(workshop: Workshop) -> None:
    with serving(workshop.root) as one:
        status, offers = order(one, "/api/offers", {})
        assert [draft["model"] for draft in offers["drafts"]] == ["adder"]
        assert offers["stages"] == ["staging", "production", "archived"]
        status, seen = order(one, "/api/look", {"order": REGISTER})
        assert status == 200 and seen["ok"] and tags(workshop) == []
        assert seen["changes"] == [["adder", "nothing", "1.0.0"]]
        assert order(one, "/api/do", {"order": REGISTER})[0] == 409  # nothing without what was shown
        assert order(one, "/api/do", {"order": REGISTER, "seal": "0" * 64})[0] == 409
        assert tags(workshop) == []
        status, done = order(one, "/api/do", {"order": REGISTER, "seal": seen["seal"]})
        assert status == 200 and done["done"] == ["register adder@1.0.0"]
        assert tags(workshop) == ["adder@v1.0.0"]
        _, again = order(one, "/api/look", {"order": REGISTER})
        assert not again["ok"] and again["refusals"] == ["adder@1.0.0 is registered already"]
        assert order(one, "/api/do", {"order": REGISTER, "seal": again["seal"]})[0] == 409
        assert order(one, "/api/offers", {})[1]["drafts"] == []


def test_promote_shows_all_and_makes_the_branch(workshop: Workshop) -> None:
    assert workshop.gitreg("apply").returncode == 0
    before = references(workshop)
    asked = {**PROMOTE, "note": "<b>Why</b>\n\nBetter."}
    with serving(workshop.root) as one:
        _, seen = order(one, "/api/look", {"order": asked})
        assert references(workshop) == before
        assert seen["ok"] and seen["branch"] == "promote/adder-1.0.0-staging"
        assert "+adder: 1.0.0" in seen["patch"] and "<b>Why</b>" in seen["message"]
        assert seen["actions"] == ["assign adder@1.0.0 to staging"]
        status, done = order(one, "/api/do", {"order": asked, "seal": seen["seal"]})
        assert status == 200, done
    said = run(
        "git", "log", "-1", "--format=%an %s%n%b", "promote/adder-1.0.0-staging", cwd=workshop.root
    ).stdout
    assert said.startswith("Ada Promote adder 1.0.0 to staging\n<b>Why</b>")
    assert run("git", "status", "--porcelain", cwd=workshop.root).stdout == ""


def test_gates_that_do_not_pass_are_shown_and_hold(workshop: Workshop) -> None:
    stages = {
        "staging": {},
        "production": {"from": ["staging"], "gates": [{"metric": "accuracy", "min": 0.9}]},
        "archived": {},
    }
    (workshop.root / "registry.yaml").write_text(json.dumps({"registry": "workshop", "stages": stages}))
    workshop.manifest(metrics={"accuracy": 0.95})
    workshop.commit("policy")
    assert workshop.gitreg("apply").returncode == 0
    before = references(workshop)
    asked = {**PROMOTE, "stage": "production", "way": "apply"}
    with serving(workshop.root) as one:
        _, seen = order(one, "/api/look", {"order": asked})
        assert not seen["ok"]
        assert [(gate["gate"], gate["passed"]) for gate in seen["gates"]] == [
            ("from", False),
            ("metric accuracy", True),
        ]
        assert order(one, "/api/do", {"order": asked, "seal": seen["seal"]})[0] == 409
        assert references(workshop) == before
        for stage in ("staging", "production"):
            now = {**asked, "stage": stage}
            _, seen = order(one, "/api/look", {"order": now})
            status, done = order(one, "/api/do", {"order": now, "seal": seen["seal"]})
            assert status == 200 and "1 tag written" in done["done"], done
        for deed in ("rollback", "demote"):
            back = {**asked, "deed": deed, "version": ""}
            status, seen = order(one, "/api/look", {"order": back})
            assert status == (409 if deed == "rollback" else 200)  # there was none before
    assert [name for name in tags(workshop) if "production" in name] == ["adder#production#2"]


def test_what_was_shown_and_is_no_longer_so_is_not_done(workshop: Workshop) -> None:
    assert workshop.gitreg("apply").returncode == 0
    with serving(workshop.root) as one:
        _, seen = order(one, "/api/look", {"order": PROMOTE})
        workshop.commit("something else") if (workshop.root / "x").write_text("x") else None
        status, said = order(one, "/api/do", {"order": PROMOTE, "seal": seen["seal"]})
    assert status == 409 and "changed since this was shown" in said["error"]
    assert "promote/" not in references(workshop)


def test_a_push_goes_to_the_remote_and_links_the_request(workshop: Workshop) -> None:
    origin = workshop.root.parent / "origin.git"
    run("git", "init", "-q", "--bare", "-b", "main", origin, cwd=workshop.root)
    run("git", "remote", "add", "origin", origin, cwd=workshop.root)
    assert workshop.gitreg("apply").returncode == 0
    run("git", "push", "-q", "-u", "origin", "HEAD", "--tags", cwd=workshop.root)
    asked = {**PROMOTE, "way": "push"}
    with serving(workshop.root) as one:
        assert order(one, "/api/offers", {})[1]["remote"] == "origin"
        _, seen = order(one, "/api/look", {"order": asked})
        assert "promote/" not in run("git", "for-each-ref", cwd=origin).stdout
        status, done = order(one, "/api/do", {"order": asked, "seal": seen["seal"]})
    assert status == 200 and "pushed to origin" in done["done"], done
    assert "refs/heads/promote/adder-1.0.0-staging" in run("git", "for-each-ref", cwd=origin).stdout


def test_pages_follow_the_repository(workshop: Workshop) -> None:
    with serving(workshop.root) as one:
        assert "No version is registered yet." in ask(one, "GET", "/")[1]
        before = ask(one, "GET", "/api/stamp")[1]
        assert ask(one, "GET", "/models/adder/index.html")[0] == 404
        assert workshop.gitreg("apply").returncode == 0
        assert ask(one, "GET", "/api/stamp")[1] != before
        assert "1.0.0" in ask(one, "GET", "/models/adder/index.html")[1]
        assert ask(one, "GET", "/models/adder/data.js")[0] == 200
        status, text, headers = ask(one, "HEAD", "/models/adder/index.html")
        assert (status, text) == (200, "") and int(headers["Content-Length"]) > 1000


def test_the_command_prints_its_address_and_ends_with_an_interrupt(workshop: Workshop) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gitreg", "site", "serve", "--port", "0"],
        cwd=workshop.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline().startswith("serving ")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=[\w-]{40,}\n", process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "stopped\n")


def test_open_serves_and_prints_the_page(workshop: Workshop) -> None:
    assert workshop.gitreg("apply").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "gitreg", "open", "adder@1.0.0", "--print"],
        cwd=workshop.root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout
    address = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/version\.html#adder@1\.0\.0&token=[\w-]+\n", address)


def test_a_version_that_is_left_blank_is_offered_too(workshop: Workshop) -> None:
    workshop.manifest(version=None)
    workshop.commit("blank")
    with serving(workshop.root) as one:
        (draft,) = order(one, "/api/offers", {})[1]["drafts"]
        assert (draft["model"], draft["version"], draft["new"], draft["dirty"]) == (
            "adder",
            "1.0.0",
            True,
            [],
        )
        (workshop.adder / "notes.txt").write_text("x")
        (draft,) = order(one, "/api/offers", {})[1]["drafts"]
        assert draft["dirty"] == ["models/adder/notes.txt"]


def test_what_is_wrong_in_gitreg_is_told_in_the_terminal_and_not_to_the_browser(workshop: Workshop) -> None:
    told: list[str] = []
    with serving(workshop.root, tell=told.append) as one:
        objects = workshop.root / ".git" / "HEAD"
        objects.unlink()
        objects.mkdir()
        status, text, _ = ask(one, "GET", "/")
        assert status == 500 and "Traceback" not in text
