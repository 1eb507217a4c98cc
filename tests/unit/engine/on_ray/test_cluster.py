"""What stands at an address is looked at before Ray is asked to join it."""

import socket
from threading import Thread

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.engine.on_ray.cluster import (
    _check_somebody_listens,
    _check_we_are_let_in,
    _why,
)


def answer_once(content):
    """Somebody who says that to the first who calls, whatever he wants; host:port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work():
        with listener, listener.accept()[0] as line:
            line.sendall(content)
            line.recv(100)

    Thread(target=work, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("said", [b"HTTP/1.0 400 Bad request", b"220 mail", b""])
def test_something_else_that_listens_is_no_cluster(said):
    with pytest.raises(ConfigError, match="address 'there': no Ray cluster answers .something els"):
        _check_somebody_listens("address 'there'", answer_once(said))


def test_who_answers_with_settings_of_http2_may_be_a_cluster():
    frame = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    _check_somebody_listens("address 'there'", answer_once(frame))


@pytest.mark.parametrize(
    ("address", "variables", "line"),
    [
        ("127.0.0.1:1", {}, "address '127.0.0.1:1': no Ray cluster answers"),
        ("ray://127.0.0.1:1", {}, "address 'ray://127.0.0.1:1': no Ray cluster answers"),
        ("nonsense", {}, "address 'nonsense': no Ray cluster answers (Invalid address format"),
        ("auto", {"RAY_ADDRESS": "127.0.0.1:1"}, "RAY_ADDRESS '127.0.0.1:1': no Ray cluster ans"),
    ],
)
def test_an_address_at_which_nobody_is_is_refused_by_its_name(
    monkeypatch, address, variables, line
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        _check_we_are_let_in(address)
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", "no answer"),
        ("timed out\nafter 30 s", "timed out"),
        (
            "Failure from server:\nTraceback:\n  File x\nRuntimeError: not started\n",
            "RuntimeError: ",
        ),
        ("Failure from server:", "Failure from server:"),
    ],
)
def test_a_line_of_rays_error_is_not_one_that_only_announces_it(said, line):
    assert _why(RuntimeError(said)).startswith(line)
