"""Requests that the gateway itself makes to where an operator says: only to public addresses.

A name is resolved here, once, every address that it has is checked, and the connection is made
to one of those that were checked: what the name says a moment later does not matter. Refused
unless an operator lists them: private, loopback, link-local, shared, multicast and reserved
addresses, those at which clouds keep their metadata, and whatever carries one of these inside
an IPv6 address (mapped, NAT64, 6to4, Teredo, ISATAP). Redirects are not followed, proxies of
the environment not used, and of an answer only the status is looked at.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

TIMEOUT_S = 10.0  # of a whole request
_RESOLVE_TIMEOUT_S = 5.0
_MAX_ADDRESSES = 16

Address = IPv4Address | IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052; its last 32 bits are IPv4
_ISATAP = 0x5EFE  # RFC 5214, before the last 32 bits, which are IPv4
_ISATAP_FLAGS = 0x0300_0000  # universal and group, which may be set beside it
_REFUSED = tuple(
    ipaddress.ip_network(each)
    for each in (
        "192.0.0.0/24",  # of protocols, some of it public by the registry
        "168.63.129.16/32",  # Azure's host, public by its number
        "64:ff9b:1::/48",  # NAT64 of somebody's own network, RFC 8215
        "fec0::/10",  # site-local, long deprecated
        "::/96",  # IPv4-compatible, likewise
    )
)


class EgressRefused(Exception):
    """A request that must not be made; the message says why, and has no content."""


class EgressFailed(Exception):
    """The other side could not be reached, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Egress:
    """Makes requests to public addresses, and to those that are listed.

    Attributes:
        allowed: Networks that are listed though they are not public.
        timeout_s: Longest time a request may take, seconds.
    """

    allowed: tuple[Network, ...] = ()
    timeout_s: float = TIMEOUT_S

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send `body`; return the status of the answer, whatever it is.

        Raises:
            EgressRefused: If the address is none that may be spoken to.
            EgressFailed: If there was no answer.
        """
        target = parsed(url)
        resolver = _Checked(self, plain=target.scheme != "https")
        resolver.check_literal(target)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=self.timeout_s),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    auto_decompress=False,
                ) as session,
                session.post(
                    target, data=body, headers=dict(headers), allow_redirects=False
                ) as answer,
            ):
                return answer.status
        except TimeoutError as error:
            raise EgressFailed("timeout") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if resolver.refused is not None:
                raise resolver.refused from error
            raise EgressFailed(type(error).__name__) from error

    def permits(self, address: Address, *, plain: bool) -> bool:
        """Return whether an address may be spoken to; `plain` is without TLS.

        Without TLS only to what is listed: anywhere else the secret words of a payload would
        be read on the way.
        """
        if any(address in network for network in self.allowed):
            return True
        return not plain and all(_is_public(each) for each in _meant(address))


def networks(listed: Sequence[str]) -> tuple[Network, ...]:
    """Return what a setting lists.

    Raises:
        ValueError: If one of them is neither an address nor a network.
    """
    try:
        return tuple(ipaddress.ip_network(each) for each in listed)
    except ValueError as error:
        raise ValueError(f"`egress_allow`: {error}") from error


def parsed(text: str) -> URL:
    """Return a URL as the connection is made from it: nobody reads its text a second time.

    Raises:
        EgressRefused: If it is none of HTTP's, names no host, or carries a user.
    """
    try:
        url = URL(text)
    except ValueError as error:
        raise EgressRefused("it is not a URL") from error
    anonymous = url.user is None and url.password is None
    if url.scheme not in {"http", "https"} or not url.host or not anonymous:
        raise EgressRefused("it is not a plain http or https URL")
    return url


def _meant(address: Address) -> Iterator[Address]:
    """Yield an address, and those that are carried inside it."""
    yield address
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    if (int(address) >> 32) & 0xFFFF_FFFF & ~_ISATAP_FLAGS == _ISATAP:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in _NAT64):
        return True  # what it carries is looked at
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not any(address in each for each in _REFUSED)


class _Checked(AbstractResolver):
    """Resolves names to addresses that may be spoken to; all or none."""

    def __init__(self, egress: Egress, *, plain: bool):
        self._egress = egress
        self._plain = plain
        self.refused: EgressRefused | None = None

    def check_literal(self, url: URL) -> None:
        """Check a host that is an address: no resolver is asked about those.

        Raises:
            EgressRefused: If it may not be spoken to, or is an address in no usual spelling.
        """
        host = url.raw_host or ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError as error:
            # aiohttp takes these for addresses, and asks no resolver.
            if ":" in host or host.replace(".", "").isdigit():
                raise EgressRefused("its host is neither a name nor an address") from error
            return
        self._check(address)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of `host`, each of which was checked."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        if len(found) > _MAX_ADDRESSES:
            found = found[:_MAX_ADDRESSES]
        return [self._checked(host, port, each) for each in found]

    async def close(self) -> None:
        """Do nothing."""

    def _checked(self, host: str, port: int, found: tuple[Any, ...]) -> ResolveResult:
        family, _, protocol, _, place = found
        address = str(place[0])
        self._check(ipaddress.ip_address(address))
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return ResolveResult(
            hostname=host, host=address, port=port, family=family, proto=protocol, flags=numeric
        )

    def _check(self, address: Address) -> None:
        if not self._egress.permits(address, plain=self._plain):
            why = "without TLS it must be listed" if self._plain else "it is not public"
            self.refused = EgressRefused(f"the address may not be spoken to: {why}")
            raise self.refused
