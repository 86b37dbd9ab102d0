"""The tests themselves: they reach nothing but this machine."""

from __future__ import annotations

import socket

import pytest
from pytest_socket import SocketConnectBlockedError


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "198.51.100.7"])  # reserved for examples
def test_no_other_machine_can_be_reached(address):
    with pytest.raises(SocketConnectBlockedError, match=address):
        socket.create_connection((address, 80), timeout=1)
