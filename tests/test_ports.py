"""Ports that cannot be had: `serve` and `site serve` say which, why, and who has them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitreg import server
from gitreg.errors import Outside, Usage
from gitreg.registry import Registry
from gitreg.site.serving import Server
from tests.support import Workshop, needs_triton


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one.getsockname()[1]


@needs_triton
def test_serve_on_a_taken_port_is_the_outside_s_failure(workshop: Workshop, taken: int) -> None:
    done = workshop.gitreg("serve", "adder", "--grpc-port", str(taken), "--http-port", "0")
    assert done.returncode == 4, done.stderr
    assert f"error: port {taken} on 127.0.0.1 is taken by " in done.stderr
    assert f"(process {os.getpid()})" in done.stderr and "--grpc-port 0" in done.stderr


@pytest.mark.parametrize("verb", [["site", "serve"], ["open", "--print"]])
def test_so_is_the_live_page(workshop: Workshop, taken: int, verb: list[str]) -> None:
    done = workshop.gitreg(*verb, "--port", str(taken))
    assert done.returncode == 4, done.stderr
    assert f"(process {os.getpid()})" in done.stderr
    assert "hint: end what listens there, or --port 0, which picks a free one" in done.stderr


def test_every_port_that_is_taken_is_told(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as second:
        other = second.getsockname()[1]
        with pytest.raises(Outside) as caught:
            server.free_ports("127.0.0.1", taken, 0, other)
    assert [str(taken) in caught.value.parts[0], str(other) in caught.value.parts[1]] == [True, True]


def test_a_port_that_waits_for_its_last_packets_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as near:
            far = one.accept()[0]
            far.close()
            near.recv(1)
    assert server.free_ports("127.0.0.1", port, 0, 0).http == port


def test_the_same_port_twice_is_a_mistake(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        free = one.getsockname()[1]
    with pytest.raises(Usage, match=rf"port {free} is asked for twice"):
        server.free_ports("127.0.0.1", free, free, 0)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_said_to_be_none_of_this_one(address: str) -> None:
    with pytest.raises(Outside, match="is no address of this machine"):
        server.free_ports(address, 0, 0, 0)


@pytest.mark.parametrize("address", ["no such host.invalid", "1.2.3.4.5", "::gg"])
def test_what_is_no_address_is_a_mistake(address: str) -> None:
    with pytest.raises(Usage, match="is no address"):
        server.free_ports(address, 0, 0, 0)


def test_a_port_below_1024_may_be_root_s_alone(_template: Path) -> None:
    try:
        with socket.create_server(("127.0.0.1", 81)):
            allowed = True
    except PermissionError:
        allowed = False
    if allowed:
        with Server(Registry(_template), 81) as one:
            assert one.port == 81
    else:
        with pytest.raises(Outside, match=r"port 81 on 127\.0\.0\.1 cannot be used"):
            Server(Registry(_template), 81)
