"""Which network addresses a download may reach."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import TypeAlias

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError, quote
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["check_address", "is_allowed_host", "resolve_host"]

_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "169.254.169.254",  # AWS, Google Cloud, Azure and most others
        "fd00:ec2::254",  # AWS, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
        "fd20:ce::254",  # Google Cloud, https://cloud.google.com/compute/docs/metadata/querying-metadata
        "100.100.100.200",  # Alibaba Cloud, https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
        "168.63.129.16",  # Azure, https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "192.0.0.192",  # Oracle Cloud, https://docs.oracle.com/en-us/iaas/Content/Compute/Tasks/gettingmetadata.htm
    )
)

# RFC 6052, RFC 8215 and RFC 2765 section 2.1 (translation of IPv4), RFC 4291 section 2.5.5.1 (compatible addresses).
_EMBEDDING_NETWORKS = tuple(
    ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)
# RFC 9637 (documentation) and RFC 9602 (segment routing), which older versions of Python take for global.
_RESERVED_NETWORKS = tuple(ipaddress.IPv6Network(network) for network in ("3fff::/20", "5f00::/16"))
_OWN_MEANING = (ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1"))
_IPV4_MASK = 0xFFFFFFFF


def is_allowed_host(host: str, policy: MediaPolicy) -> bool:
    """Returns whether `policy.allow_hosts` holds the host: by its name, or by a `.suffix` of it; empty holds all."""
    name = host.lower().rstrip(".")
    return not policy.allow_hosts or any(
        name.endswith(allowed) if allowed.startswith(".") else name == allowed for allowed in policy.allow_hosts
    )


def resolve_host(host: str, port: int, policy: MediaPolicy, *, timeout_seconds: int | float) -> list[str]:
    """Returns the addresses of `host` in the resolver's order, every one of them checked.

    Raises:
        MediaPolicyError: One of the addresses may not be reached, or resolving took longer than `timeout_seconds`.
        MediaError: The host has no address.
    """
    found: list[str] = []
    failure: list[Exception] = []

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failure.append(error)
        else:
            found.extend(dict.fromkeys(str(info[4][0]) for info in infos))

    # The resolver of the system knows no time limit; a daemon thread is left to end by itself.
    worker = threading.Thread(target=look_up, daemon=True)
    worker.start()
    worker.join(max(timeout_seconds, 0))
    if worker.is_alive():
        raise MediaPolicyError(
            f"resolving the host {quote(host)} took longer than timeout_seconds; raise it or try again"
        )
    if not found:
        raise MediaError(f"the host {quote(host)} has no address: {failure[0] if failure else 'none found'}")
    for address in found:
        check_address(address, host, policy)
    return found


def check_address(address: str, host: str, policy: MediaPolicy) -> None:
    """Raises `MediaPolicyError` unless `address`, and any IPv4 address inside it, may be reached."""
    parsed = ipaddress.ip_address(address)
    for inner in (parsed, *_embedded(parsed)):
        if _is_never_allowed(inner):
            raise MediaPolicyError(
                f"the host {quote(host)} resolves to {address}, which is link-local, multicast, reserved or serves a "
                "cloud's credentials; such addresses are never reached"
            )
    if policy.allow_private_addresses:
        return
    if not all(_is_public(inner) for inner in _embedded(parsed) or (parsed,)):
        raise MediaPolicyError(
            f"the host {quote(host)} resolves to {address}, which is not a public address; "
            "set allow_private_addresses of the MediaPolicy if it is meant"
        )


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global
    # Site-local addresses (fec0::/10) are deprecated, which Python takes for global.
    is_reserved = address.is_site_local or any(address in network for network in _RESERVED_NETWORKS)
    return address.is_global and not is_reserved


def _is_never_allowed(address: _Address) -> bool:
    return (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address.is_reserved)
        or address in _METADATA_ADDRESSES
    )


def _embedded(address: _Address) -> tuple[_Address, ...]:
    """The IPv4 addresses that packets to an IPv6 address are handed on to: mapped, translated or tunnelled."""
    if isinstance(address, ipaddress.IPv4Address) or address in _OWN_MEANING:
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if any(address in network for network in _EMBEDDING_NETWORKS):
        return (ipaddress.IPv4Address(int(address) & _IPV4_MASK),)
    return ()
