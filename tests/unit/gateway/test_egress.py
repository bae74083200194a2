import asyncio
import socket
from ipaddress import ip_address

import pytest
from aiohttp import web

from gateway.egress import Egress, EgressFailed, EgressRefused, networks

PUBLIC = ["93.184.216.34", "2606:4700:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
PUBLIC += ["2600:1::200:5efe:5db8:d822"]
REFUSED = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",  # noqa: S104 - an address that is refused
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.9",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:56fe:5601",
    "2600:1::5efe:7f00:1",
    "2600:1::200:5efe:a9fe:a9fe",
]


@pytest.fixture
async def server():
    """A real server on loopback; answers as the path says, and remembers what it was sent."""
    heard = []

    async def answer(request):
        heard.append((request.path, await request.read(), request.headers.copy()))
        if request.path == "/slow":
            await asyncio.sleep(5)
        if request.path == "/away":
            raise web.HTTPFound("/here")
        return web.Response(status=int(request.query.get("status", 200)), body=b"x" * 1_000_000)

    application = web.Application()
    application.router.add_post("/{any:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", heard
    await runner.cleanup()


LOOPBACK = Egress(networks(["127.0.0.0/8"]), timeout_s=1.0)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_spoken_to(address):
    assert Egress().permits(ip_address(address), plain=False)


@pytest.mark.parametrize("address", REFUSED)
def test_others_may_not_be_whatever_carries_them(address):
    assert not Egress().permits(ip_address(address), plain=False)


@pytest.mark.parametrize("address", PUBLIC)
def test_without_tls_an_address_must_be_listed(address):
    assert not Egress().permits(ip_address(address), plain=True)
    assert Egress(networks([address])).permits(ip_address(address), plain=True)


def test_what_is_listed_may_be_spoken_to_and_nothing_beside_it():
    egress = Egress(networks(["10.1.0.0/16", "fd00::1"]))

    assert egress.permits(ip_address("10.1.2.3"), plain=False)
    assert egress.permits(ip_address("fd00::1"), plain=False)
    assert not egress.permits(ip_address("10.2.0.1"), plain=False)
    assert not egress.permits(ip_address("fd00::2"), plain=False)


@pytest.mark.parametrize("listed", ["10.1.0.0/33", "example.com", "10.1.0.1/16"])
def test_a_list_holds_networks_only(listed):
    with pytest.raises(ValueError, match="egress_allow"):
        networks([listed])


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://１２７.0.0.1/",  # noqa: RUF001 - digits to the one who connects
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "http://[::ffff:１０.0.0.1]/",  # noqa: RUF001 - likewise
        "https://127.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://127.0.0.1:99999/",
        "https://:word@93.184.216.34/",
        "http://93.184.216.34/",
        "https://user@93.184.216.34/",
        "file:///etc/passwd",
        "https:///nowhere",
    ],
)
async def test_a_request_to_what_is_not_public_is_never_made(url):
    with pytest.raises(EgressRefused):
        await Egress(timeout_s=1.0).post(url, b"{}", {})


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "017700000001"])
async def test_other_spellings_of_an_address_are_no_way_around(host, server):
    url, heard = server
    port = url.rpartition(":")[2]

    with pytest.raises((EgressRefused, EgressFailed)):
        await Egress(timeout_s=1.0).post(f"https://{host}:{port}/", b"{}", {})
    assert heard == []


async def test_a_listed_address_is_sent_what_is_given_and_nothing_else(server):
    url, [] = server
    status = await LOOPBACK.post(f"{url}/hook", b'{"a":1}', {"webhook-id": "evt_1"})

    [(path, body, headers)] = server[1]
    assert (status, path, body, headers["webhook-id"]) == (200, "/hook", b'{"a":1}', "evt_1")
    assert "cookie" not in headers
    assert "authorization" not in headers


async def test_a_redirect_is_an_answer_and_is_not_followed(server):
    url, heard = server

    assert await LOOPBACK.post(f"{url}/away", b"{}", {}) == 302
    assert [path for path, _, _ in heard] == ["/away"]


async def test_an_answer_that_does_not_come_is_a_failure(server):
    url, _ = server

    with pytest.raises(EgressFailed, match="timeout"):
        await LOOPBACK.post(f"{url}/slow", b"{}", {})
    with pytest.raises(EgressFailed):
        await LOOPBACK.post("http://127.0.0.1:1/", b"{}", {})


def answers(monkeypatch, *said):
    """Have names resolve to these addresses, one list for each time that one is asked about."""
    asked = []

    async def getaddrinfo(host, port, **options):
        asked.append(host)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in said[len(asked) - 1]
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


async def test_a_name_that_changes_its_mind_is_asked_once(server, monkeypatch):
    url, heard = server
    port = url.rpartition(":")[2]
    asked = answers(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])

    assert await LOOPBACK.post(f"http://hooks.example:{port}/", b"{}", {}) == 200
    assert asked == ["hooks.example"]
    assert heard[0][2]["host"] == f"hooks.example:{port}"


async def test_a_name_with_one_private_address_among_its_own_is_refused(monkeypatch):
    answers(monkeypatch, ["93.184.216.34", "10.0.0.1"])

    with pytest.raises(EgressRefused, match="not public"):
        await Egress(timeout_s=1.0).post("https://hooks.example/", b"{}", {})


async def test_a_name_that_nobody_knows_is_a_failure(monkeypatch):
    async def getaddrinfo(host, port, **options):
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    with pytest.raises(EgressFailed):
        await Egress(timeout_s=1.0).post("https://hooks.example/", b"{}", {})
