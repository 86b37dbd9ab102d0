"""Which addresses a download may reach."""

import socket
import threading

import pytest

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media.addresses import check_address, is_allowed_host, resolve_host
from qwen3_vl_retrieval.media.policy import MediaPolicy

PUBLIC = MediaPolicy(allow_urls=True)
PRIVATE = MediaPolicy(allow_urls=True, allow_private_addresses=True)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.2.1", "0.1.2.3",
        "::1", "fc00::1", "fec0::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "64:ff9b:1::a00:1", "::10.0.0.1", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "::ffff:0:10.0.0.1", "::ffff:0:127.0.0.1", "5f00::1", "3fff::1", "3fff:fff::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_needs_permission(address):
    with pytest.raises(MediaPolicyError, match="not a public address"):
        check_address(address, "host", PUBLIC)
    check_address(address, "host", PRIVATE)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%lo", "224.0.0.1", "ff02::1", "0" + ".0.0.0", "::",
        "255.255.255.255", "240.0.0.1", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
        "::ffff:169.254.169.254", "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe", "::ffff:0.0.0.0",
        "2001:0:4136:e378:8000:63bf:5601:5601",
        "168.63.129.16", "::ffff:168.63.129.16", "::ffff:0:169.254.169.254",
    ],
)  # fmt: skip
def test_link_local_and_metadata_addresses_are_refused_whatever_is_allowed(address):
    for policy in (PUBLIC, PRIVATE):
        with pytest.raises(MediaPolicyError, match="never reached"):
            check_address(address, "host", policy)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::", "::ffff:0:8.8.8.8"],
)
def test_public_addresses_are_reached(address):
    check_address(address, "host", PUBLIC)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "017700000001", "[::1]"[1:-1]])
def test_other_spellings_of_loopback_are_seen_through(host):
    with pytest.raises(MediaPolicyError, match="not a public address"):
        resolve_host(host, 80, PUBLIC, timeout_seconds=5)


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: infos)
    with pytest.raises(MediaPolicyError, match="10\\.0\\.0\\.1"):
        resolve_host("host", 80, PUBLIC, timeout_seconds=5)
    assert resolve_host("host", 80, PRIVATE, timeout_seconds=5) == ["8.8.8.8", "10.0.0.1"]


def test_a_host_that_does_not_exist_is_an_error(monkeypatch):
    def fail(*args, **kwargs):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(MediaError, match="has no address: unknown"):
        resolve_host("host.invalid", 80, PUBLIC, timeout_seconds=5)


def test_a_resolver_that_hangs_is_given_up(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: release.wait(10) and [])
    with pytest.raises(MediaPolicyError, match="timeout_seconds"):
        resolve_host("host", 80, PUBLIC, timeout_seconds=0.05)
    release.set()


def test_hosts_are_allowed_by_name_or_by_suffix():
    policy = MediaPolicy(allow_hosts=("example.org", ".cdn.example"))
    allowed = ["example.org", "EXAMPLE.org", "example.org.", "a.cdn.example", "b.a.cdn.example"]
    refused = ["www.example.org", "cdn.example", "evilcdn.example", "example.org.evil.example", "notexample.org"]
    assert [is_allowed_host(host, policy) for host in allowed + refused] == [True] * 5 + [False] * 5
    assert is_allowed_host("anything.example", MediaPolicy())
