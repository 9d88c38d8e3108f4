"""What the log of a starting Triton tells; and that nothing asks a proxy for this machine."""

from __future__ import annotations

import os
import urllib.request

import pytest

from gitreg import tritonlog
from gitreg.cli import _spare_this_machine

LOG = """\
W1201 13:20:47.487138 23124 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory"
I1201 13:20:47.490749 23124 model_lifecycle.cc:472] "loading: custom:0"
I1201 13:20:47.492034 23124 model_lifecycle.cc:472] "loading: net-custom:0"
I1201 13:20:47.492070 23124 model_lifecycle.cc:472] "loading: net:0"
I1201 13:20:47.493892 23124 python_be.cc:2249] "TRITONBACKEND_ModelInstanceInitialize: net_0_1 (CPU device 0)"
I1201 13:20:47.921812 23124 model_lifecycle.cc:839] "successfully loaded 'net-custom'"
E1201 13:20:47.493892 23124 model_lifecycle.cc:642] "failed to load 'custom' version 0: Internal: it's \x1b[2J"
"""
NAMES = ["custom", "net", "net-custom"]


def test_models_are_loaded_by_their_whole_names() -> None:
    assert tritonlog.loaded(LOG, NAMES) == ["net-custom"]
    assert tritonlog.missing(LOG, NAMES) == ["custom", "net"]


@pytest.mark.parametrize(
    ("log", "models", "line"),
    [
        (LOG, NAMES, "1 of 3 models are ready; waiting for custom, net (95 s)"),
        ("", ["net"], "0 of 1 model is ready; waiting for net (95 s)"),
        (LOG, ["net-custom"], "1 of 1 model is ready; waiting for Triton (95 s)"),
        ("", list("abcdefg"), "0 of 7 models are ready; waiting for a, b, c, d, e and 2 more (95 s)"),
        (LOG[:-80], [], "0 of 0 models are ready; waiting for Triton (95 s)"),
    ],
)
def test_progress_names_the_models_that_are_waited_for(log: str, models: list[str], line: str) -> None:
    assert tritonlog.progress(log, models, 95.4) == line


def test_what_the_log_says_of_a_model_is_not_what_it_says_of_another() -> None:
    lines = [line.partition('"')[2] for line in tritonlog.about(LOG, ["net"])]
    assert lines == ['loading: net:0"', 'TRITONBACKEND_ModelInstanceInitialize: net_0_1 (CPU device 0)"']
    assert [line[:1] for line in tritonlog.about(LOG, ["custom", "custom"])] == ["I", "E"]
    assert tritonlog.about(LOG, ["n.t", "absent"]) == []


def test_why_models_were_not_loaded_comes_before_all_else() -> None:
    log = (
        LOG
        + "E other\n" * 20
        + "I1 x] \"failed to load 'custom'\"\nE1 x] \"failed to load 'net' version 12: no\"\n"
    )
    assert tritonlog.failed(log) == ["custom", "net"]
    assert [line.partition('"')[2][:22] for line in tritonlog.telling(log)] == [
        "failed to load 'custom",
        "failed to load 'net' v",
    ]
    assert tritonlog.telling("I fine\nE wrong\nI fine") == ["E wrong"]
    assert tritonlog.telling("I fine\n" * 20) == ["I fine"] * 12


def test_a_line_of_the_log_is_bounded() -> None:
    assert all(len(line) <= 400 for line in tritonlog.telling("E" + "x" * 10_000))
    assert all(len(line) <= 400 for line in tritonlog.about("net " + "x" * 10_000, ["net"]))


OWN = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("variables", "bypassed"),
    [
        ({"http_proxy": "http://proxy:3128"}, OWN),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": ""}, OWN),
        ({"ALL_PROXY": "socks5://proxy", "no_proxy": ".example.org"}, f".example.org,{OWN}"),
        ({"http_proxy": "http://proxy", "NO_PROXY": "a, localhost"}, "a, localhost,127.0.0.1,::1"),
        ({"http_proxy": "http://proxy", "no_proxy": "*"}, "*"),
        ({"no_proxy": "a"}, None),
        ({"ftp_proxy": "http://proxy"}, None),
    ],
)
def test_no_library_asks_a_proxy_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], bypassed: str | None
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.update(variables)
    before = dict(os.environ)
    _spare_this_machine()
    if bypassed is None:
        assert dict(os.environ) == before
    else:
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == bypassed
        assert urllib.request.proxy_bypass("127.0.0.1") and urllib.request.proxy_bypass("localhost")
        assert bypassed == "*" or not urllib.request.proxy_bypass("gitreg.example.com")
