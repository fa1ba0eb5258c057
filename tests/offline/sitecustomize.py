"""Refuses every connection but loopback, in each Python process that finds this file on its path.

tests/conftest.py loads it into pytest and puts its folder on PYTHONPATH, so subprocesses and the
kernels that papermill starts are blocked too. It knows sockets made by Python's `socket` module and
no others: native clients are kept offline by the environment variables that conftest sets.
"""

from __future__ import annotations

import ipaddress
import os
import socket

# A proxy on this machine would be a way out through loopback.
for _name in list(os.environ):
    if _name.lower() in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy"):
        del os.environ[_name]


class NetworkBlocked(RuntimeError):
    """No OSError on purpose: code that retries or shrugs off lost connections must not hide it."""


def is_loopback(host: object) -> bool:
    """Whether a host, as the socket module takes it, stays on this machine."""
    if host is None:
        return True  # getaddrinfo: no host means this one
    name = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    if name.lower() in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


def _refuse(target: object) -> None:
    raise NetworkBlocked(
        f"A test tried to reach {target!r}. Tests have no network but loopback, so that they pass "
        "anywhere and spend nothing: give the code under test a local server or shipped data."
    )


def _check_address(sock: socket.socket, address: object) -> None:
    if sock.family == getattr(socket, "AF_UNIX", None):
        return
    inet = sock.family in (socket.AF_INET, socket.AF_INET6)
    if not (inet and isinstance(address, tuple) and address and is_loopback(address[0])):
        _refuse(address)


def _guard_method(name: str) -> None:
    original = getattr(socket.socket, name)

    def guarded(self, *args):
        if args:  # connect(address), connect_ex(address), sendto(data, [flags,] address)
            _check_address(self, args[-1])
        return original(self, *args)

    guarded.__name__ = name
    setattr(socket.socket, name, guarded)


def _guard_lookup() -> None:
    original = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        if not is_loopback(host):
            _refuse(host)
        return original(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


if not getattr(socket, "_only_loopback", False):  # loaded once, whoever comes first
    socket._only_loopback = True
    for _name in ("connect", "connect_ex", "sendto"):
        _guard_method(_name)
    _guard_lookup()
