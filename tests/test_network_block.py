"""Tests have no network but loopback, and neither has what they start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import nbformat
import pytest
from nbclient import NotebookClient
from sitecustomize import NetworkBlocked, is_loopback

# TEST-NET-1 (RFC 5737): routed nowhere, should the block ever fail.
OUTSIDE = ("192.0.2.1", 9)
TRY_OUTSIDE = f"import socket; socket.create_connection({OUTSIDE!r}, timeout=1)"


@pytest.fixture
def local_server():
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_outside_address_is_refused(method, kind):
    with (
        socket.socket(socket.AF_INET, kind) as sock,
        pytest.raises(NetworkBlocked, match="192.0.2.1.*no network but loopback"),
    ):
        getattr(sock, method)(OUTSIDE)


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_outside_ipv6_address_is_refused():
    try:
        sock = socket.socket(socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with sock, pytest.raises(NetworkBlocked):
        sock.connect(("2001:db8::1", 9))


@pytest.mark.parametrize("flags", [(), (0,)])
def test_datagram_without_connection_is_refused(flags):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(NetworkBlocked):
        sock.sendto(b"x", *flags, OUTSIDE)


def test_name_lookup_is_refused():
    with pytest.raises(NetworkBlocked, match="example.org"):
        socket.getaddrinfo("example.org", 80)


@pytest.mark.parametrize("url", ["http://example.org", "https://192.0.2.1"])
def test_http_clients_are_refused(url):
    with pytest.raises(NetworkBlocked):
        urllib.request.urlopen(url, timeout=1)


def test_asyncio_is_refused():
    with pytest.raises(NetworkBlocked):
        asyncio.run(asyncio.open_connection(*OUTSIDE))


def test_refusal_is_no_connection_error_to_retry():
    assert not issubclass(NetworkBlocked, OSError)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_works(local_server, host):
    with urllib.request.urlopen(f"http://{host}:{local_server}", timeout=5) as answer:
        assert answer.read() == b"hello"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
def test_unix_sockets_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a unix socket may have about 100 bytes
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")


@pytest.mark.parametrize(
    ("host", "stays"),
    [
        (None, True),
        ("", True),
        ("LOCALHOST", True),
        (b"localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::1%lo", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("::ffff:8.8.8.8", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("localhost.example.org", False),
        (b"example.org", False),
        ("2130706433", False),
    ],
)
def test_what_counts_as_loopback(host, stays):
    assert is_loopback(host) is stays


def test_subprocess_is_blocked():
    done = subprocess.run([sys.executable, "-c", TRY_OUTSIDE], capture_output=True, text=True)
    assert done.returncode != 0
    assert "NetworkBlocked" in done.stderr


def test_notebook_kernel_is_blocked():
    cell = nbformat.v4.new_code_cell(
        f"try:\n    {TRY_OUTSIDE}\nexcept Exception as error:\n    print(type(error).__name__)"
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    assert notebook.cells[0].outputs[0]["text"].strip() == "NetworkBlocked"


def test_proxies_and_keys_are_gone():
    names = {name.upper() for name in os.environ}
    assert not names & {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_API_KEY"}


def test_offline_variables_are_set():
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        assert os.environ[name] == "1"
