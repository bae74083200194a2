"""Witnesses over real HTTP: what a witness answers, and what a log's gateway makes of it."""

import asyncio
import contextlib
import subprocess
import sys

import aiohttp
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route

from gateway.audit.checkpoint import parse_checkpoint, parse_hash
from gateway.audit.cosignature import cosign, cosignatures, witness_key
from gateway.audit.export import Stretch, export, growth, signed_tree
from gateway.audit.heads import FileHeads
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.verifier import single_file
from gateway.audit.witness import Request, Witness
from gateway.audit.witness_service import create_witness
from gateway.audit.witnesses import (
    Witnesses,
    WitnessPlace,
    WitnessState,
    cosigned_checkpoint,
    parse_place,
)
from gateway.errors import NotFound
from gateway.notes import SigningKey, parse_note, parse_signatures, write_signature

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

KEY = SigningKey("log.example", b"k" * 32)
AUDITOR = SigningKey("auditor.example", b"a" * 32)
PUBLIC = witness_key(AUDITOR)


async def until(claim):
    """Wait for what another task does; fails if it does not."""
    for _ in range(3000):
        if claim():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


@contextlib.asynccontextmanager
async def served(app):
    """Serve an application on loopback; yields its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def witness(tmp_path):
    return create_witness(Witness(AUDITOR, [KEY.verifier], tmp_path / "seen"))


@pytest.fixture
async def tree(database, tmp_path):
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(tmp_path / "heads"))
    yield tree
    await tree.aclose()


@pytest.fixture
def write(ledger, tree, new_exchange, allowed):
    async def exchanges(count=2):
        for _ in range(count):
            async with ledger.exchange(new_exchange()) as exchange:
                await ledger.record(exchange, allowed)
        await tree.turn()

    return exchanges


@pytest.fixture
async def ask(database):
    """Asks a witness at a URL once; returns how it stands then."""
    opened = []

    async def asked(url, key=PUBLIC):
        witnesses = Witnesses(database, [WitnessPlace(url, key)])
        opened.append(witnesses)
        [standing] = witnesses.standing
        await witnesses.ask(witnesses.places[0], standing)
        return standing

    yield asked
    for each in opened:
        await each.aclose()


async def request(database, old, **changes):
    signed = await signed_tree(database)
    proof = tuple(map(parse_hash, await growth(database, signed, old)))
    return Request(**({"old": old, "proof": proof, "note": signed.checkpoint} | changes))


async def post(url, content):
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/add-checkpoint", data=content) as response,
    ):
        return response.status, response.content_type, await response.text()


async def test_a_witness_answers_as_the_specification_says(database, write, witness):
    await write()
    first = await request(database, 0)
    size = parse_checkpoint(parse_note(first.note).text).size
    stranger = SigningKey("log.example", b"x" * 32)
    foreign = SigningKey("other.example", b"o" * 32)
    text = parse_note(first.note).text

    def signed(text, key):
        from gateway.notes import Note, sign

        return sign(Note(text), key).encode()

    async with served(witness) as url:
        status, _, body = await post(url, first.encode())
        [line] = parse_signatures(body)
        assert (status, line.name, line.key_id) == (200, "auditor.example", PUBLIC.key_id)

        assert await post(url, first.encode()) == (409, "text/x.tlog.size", f"{size}\n")
        again = await request(database, size)
        assert (await post(url, again.encode()))[0] == 200
        forked = text.replace(text.split("\n")[2], "A" * 43 + "=")
        assert (await post(url, Request(size, (), signed(forked, KEY)).encode()))[:2] == (
            409,
            "text/plain",
        )
        await write()
        next_ = await request(database, size)
        broken = Request(size, next_.proof[:-1], next_.note)
        assert (await post(url, broken.encode()))[0] == 422
        other = signed(text.replace("log.example/", "other.example/"), foreign)
        assert (await post(url, Request(0, (), other).encode()))[0] == 404
        assert (await post(url, Request(0, (), signed(text, stranger)).encode()))[0] == 403
        assert (await post(url, Request(size + 99, (), first.note).encode()))[0] == 400
        assert (await post(url, b"old 05\n\n" + first.note))[0] == 400
        assert (await post(url, b"no request"))[0] == 400
        assert (await post(url, b"x" * 300_000))[0] == 413
        assert (await post(url, next_.encode()))[0] == 200


async def test_of_two_requests_at_once_the_second_is_compared_with_what_the_first_left(
    database, write, tmp_path
):
    await write()
    size = (await signed_tree(database)).checkpoint_size
    small = await request(database, 0)
    await write()
    large = await request(database, 0)
    witness = Witness(AUDITOR, [KEY.verifier], tmp_path / "seen")
    done = await asyncio.gather(
        witness.add(large, 1), witness.add(small, 1), return_exceptions=True
    )

    assert sum(isinstance(each, Exception) for each in done) == 1
    with pytest.raises(Exception, match="has seen"):
        await witness.add(small, 2)
    assert size > 0


async def test_each_checkpoint_is_cosigned_and_kept(database, write, witness, ask):
    await write()
    with pytest.raises(NotFound):
        await cosigned_checkpoint(database)
    async with served(witness) as url:
        for _ in range(3):
            standing = await ask(url)
            signed = await signed_tree(database)
            assert (standing.state, standing.size) == (WitnessState.UP, signed.checkpoint_size)
            note = parse_note(await cosigned_checkpoint(database))
            assert note.text == parse_note(signed.checkpoint).text
            [cosigned] = cosignatures(note, [PUBLIC])
            assert cosigned.witness == PUBLIC
            await write()


async def test_what_two_witnesses_cosigned_is_one_checkpoint(
    database, write, witness, ask, tmp_path
):
    second = SigningKey("second.example", b"2" * 32)
    other = create_witness(Witness(second, [KEY.verifier], tmp_path / "other"))
    await write()
    async with served(witness) as url, served(other) as elsewhere:
        await ask(url)
        await ask(elsewhere, witness_key(second))

    note = parse_note(await cosigned_checkpoint(database))
    assert len(cosignatures(note, [PUBLIC, witness_key(second)])) == 2
    assert len(note.signatures) == 3


async def test_a_witness_that_saw_another_size_is_asked_from_there(database, write, ask, tmp_path):
    witness = Witness(AUDITOR, [KEY.verifier], tmp_path / "seen")
    await write()
    await witness.add(await request(database, 0), 1)  # by hand: the gateway knows nothing of it
    await write()
    async with served(create_witness(witness)) as url:
        assert (await ask(url)).state is WitnessState.UP


async def test_a_witness_that_saw_a_larger_log_disagrees(database, write, witness, ask, meddle):
    await write()
    async with served(witness) as url:
        await ask(url)
        await write(1)
        await ask(url)
        await meddle("DELETE FROM audit_witnessed")
        await meddle("UPDATE audit_trees SET size = 3, checkpoint_size = 3")
        standing = await ask(url)

    assert standing.state is WitnessState.DISAGREES
    assert "which has 3" in standing.detail


async def test_a_witness_that_saw_another_log_disagrees(database, write, ask, tmp_path):
    from gateway.audit.checkpoint import Checkpoint, sign_checkpoint

    await write()
    signed = await signed_tree(database)
    origin = parse_checkpoint(parse_note(signed.checkpoint).text).origin
    fork = sign_checkpoint(Checkpoint(origin, 2, b"f" * 32), KEY)
    witness = Witness(AUDITOR, [KEY.verifier], tmp_path / "seen")
    await witness.add(Request(0, (), fork), 1)
    async with served(create_witness(witness)) as url:
        standing = await ask(url)

    assert (standing.state, standing.detail) == (WitnessState.DISAGREES, "it answered 422")


async def test_a_witness_that_does_not_know_the_log_refuses(database, write, ask, tmp_path):
    other = SigningKey("other.example", b"o" * 32).verifier
    await write()
    async with served(create_witness(Witness(AUDITOR, [other], tmp_path / "seen"))) as url:
        assert (await ask(url)).state is WitnessState.REFUSING


def answering(answer):
    async def add_checkpoint(_request):
        return answer

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


@pytest.mark.parametrize(
    "answer",
    [
        RedirectResponse("http://127.0.0.1:1/elsewhere", 307),
        PlainTextResponse("nothing of a signature"),
        PlainTextResponse("x" * 100_000),
        PlainTextResponse("\N{EM DASH} auditor.example AAAAAAAAAAAA\n"),
        PlainTextResponse("all", 409, headers={"content-type": "text/x.tlog.size"}),
        PlainTextResponse("0\n", 409, headers={"content-type": "text/x.tlog.size"}),
        PlainTextResponse("oh", 500),
    ],
)
async def test_what_does_not_answer_as_a_witness_is_down_and_nothing_is_kept(
    database, write, ask, answer
):
    await write()
    async with served(answering(answer)) as url:
        standing = await ask(url)

    assert (standing.state, standing.amiss) == (WitnessState.DOWN, True)
    with pytest.raises(NotFound):
        await cosigned_checkpoint(database)


@pytest.mark.parametrize("time", [1_790_000_000_000, 2**63, 2**64 - 1])
async def test_a_witness_whose_time_is_none_is_down_and_is_asked_again(database, write, time):
    await write()
    asked = []

    async def add_checkpoint(request):
        content = await request.body()
        asked.append(content)
        line = cosign(parse_note(content.partition(b"\n\n")[2]), AUDITOR, time).signatures[-1]
        return PlainTextResponse(write_signature(line))

    app = Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])
    async with served(app) as url:
        witnesses = Witnesses(database, [WitnessPlace(url, PUBLIC)], period_s=0.01)
        witnesses.start()
        await until(lambda: len(asked) > 1)
        [standing] = witnesses.standing
        assert (standing.state, standing.detail) == (
            WitnessState.DOWN,
            "it answered with a time that is none",
        )
        await witnesses.aclose()


async def test_whatever_goes_wrong_is_seen_and_the_witness_is_asked_again():
    class Broken:
        reads = 0

        def read(self):
            self.reads += 1
            raise RuntimeError("private")

    database = Broken()
    witnesses = Witnesses(database, [WitnessPlace("http://127.0.0.1:1", PUBLIC)], period_s=0.01)
    witnesses.start()
    await until(lambda: database.reads > 1)
    [standing] = witnesses.standing
    await witnesses.aclose()

    assert (standing.state, standing.detail) == (WitnessState.DOWN, "RuntimeError")


async def test_a_witness_that_hangs_holds_up_no_signature_and_no_other_witness(
    database, write, witness
):
    async def hang(_request):
        await asyncio.sleep(60)

    silent = Starlette(routes=[Route("/add-checkpoint", hang, methods=["POST"])])
    stuck = witness_key(SigningKey("stuck.example", b"s" * 32))
    async with served(witness) as url, served(silent) as nowhere:
        places = [WitnessPlace(nowhere, stuck), WitnessPlace(url, PUBLIC)]
        witnesses = Witnesses(database, places, period_s=0.05)
        await write()
        witnesses.start()
        for _ in range(3):
            await asyncio.wait_for(write(1), 20)
            size = (await signed_tree(database)).checkpoint_size
            await until(lambda size=size: witnesses.standing[1].size >= size)
        assert witnesses.standing[0].state is WitnessState.WAITING
        await witnesses.aclose()


async def test_a_witness_that_was_away_cosigns_when_it_is_back(database, write, witness):
    await write()
    async with served(witness) as url:
        pass  # it was there, and is gone
    witnesses = Witnesses(database, [WitnessPlace(url, PUBLIC)], period_s=0.05)
    witnesses.start()
    await until(lambda: witnesses.standing[0].state is WitnessState.DOWN)
    await write()
    port = int(url.rpartition(":")[2])
    config = uvicorn.Config(witness, port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: witnesses.standing[0].state is WitnessState.UP)
    await witnesses.aclose()
    server.should_exit = True
    await task

    assert await cosigned_checkpoint(database)


@pytest.mark.parametrize(
    "text", ["auditor.example", f"ftp://auditor.example {PUBLIC}", f"https://x {KEY.verifier}"]
)
def test_a_witness_is_given_as_a_url_and_a_key(text):
    assert parse_place(f"https://w.example/prefix/ {PUBLIC}") == WitnessPlace(
        "https://w.example/prefix", PUBLIC
    )
    with pytest.raises(ValueError, match="witness"):
        parse_place(text)


async def test_an_auditor_requires_a_witness_and_the_one_file_does_too(
    database, write, witness, ask, tmp_path
):
    await write()
    async with served(witness) as url:
        await ask(url)
    older, alone = tmp_path / "witnessed", tmp_path / "alone"
    older.write_bytes(await cosigned_checkpoint(database))
    alone.write_bytes((await signed_tree(database)).checkpoint)
    await write()
    await export(database, Stretch(), tmp_path / "log.tar")
    script = tmp_path / "ostiary_verify.py"
    script.write_text(single_file())
    stranger = witness_key(SigningKey("stranger.example", b"s" * 32))

    def verified(*arguments):
        command = [sys.executable, script, tmp_path / "log.tar", "--key", str(KEY.verifier)]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        return done.returncode, done.stdout + done.stderr

    required = ("--witness-key", str(PUBLIC))
    cases = [
        (("--since", older, *required), 0, "intact"),
        (("--since", alone, *required), 1, "`auditor.example` has not cosigned it"),
        (("--since", older, *required, "--witness-key", str(stranger)), 1, "stranger.example"),
        (required, 2, "--since"),
        (("--since", older, "--witness-key", str(KEY.verifier)), 2, "not the key of a witness"),
    ]
    for arguments, status, said in cases:
        found = await asyncio.to_thread(verified, *arguments)
        assert (found[0], said in found[1]) == (status, True), found
