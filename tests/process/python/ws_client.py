"""A WebSocket client on the `websockets` package; the servers are ws_server.py and node/server.cjs.

Usage: ws_client.py HOST:PORT [TUNNELS]. Each function of STEPS is a test; the first that fails ends the program. With
a number of tunnels, that many are opened, and all of them are used while all are open.
"""

import asyncio
import os
import resource
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

ADDRESS = sys.argv[1]
MEBIBYTE = os.urandom(1 << 20)

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def tunnel(path="/echo", **options):
    return connect(f"ws://{ADDRESS}{path}", max_size=4 << 20, ping_interval=None, **options)


async def text_and_binary():
    async with tunnel() as connection:
        for message in ["hello", "", "grüße 🌊", b"\x00\xff" * 100, b""]:
            await connection.send(message)
            assert await connection.recv() == message


async def many_messages_at_once():
    async with tunnel() as connection:
        messages = [f"message {number} " * (number % 50) for number in range(1000)]

        async def send():
            for message in messages:
                await connection.send(message)

        sending = asyncio.create_task(send())
        for message in messages:
            assert await connection.recv() == message
        await sending


async def pings_both_ways():
    async with tunnel() as connection:
        await (await connection.ping(b"payload"))
        await connection.send("/ping")
        assert await connection.recv() == "the pong has come"


async def fragments_both_ways():
    async with tunnel(compression=None) as connection:
        await connection.send([b"one ", b"two ", b"", b"three"])
        assert await connection.recv() == b"one two three"
        await connection.send("/fragments")
        assert [piece async for piece in connection.recv_streaming()][0].startswith("one")
        await connection.send([MEBIBYTE[at : at + 10_000] for at in range(0, len(MEBIBYTE), 10_000)])
        assert await connection.recv() == MEBIBYTE


async def megabytes_both_ways():
    for compression in [None, "deflate"]:
        async with tunnel(compression=compression) as connection:
            for _ in range(3):
                await connection.send(MEBIBYTE)
                assert await connection.recv() == MEBIBYTE
            text = "tide " * 200_000
            await connection.send(text)
            assert await connection.recv() == text


async def close_codes_both_ways():
    async with tunnel("/echo?id=python") as connection:
        await connection.close(4001, "enough")
    async with tunnel() as connection:
        # The server notes it after the client has had its answer.
        for _ in range(1000):
            await connection.send("/closed python")
            if (said := await connection.recv()) != "not yet":
                break
        assert said == "4001 enough", said
        await connection.send("/close 4002 good night")
        try:
            await connection.recv()
            raise AssertionError("still open")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4002, "good night")


async def subprotocols_and_extensions():
    async with tunnel(subprotocols=["chat.v3", "chat.v1"]) as connection:
        assert connection.subprotocol == "chat.v1"
        assert "permessage-deflate" in connection.response.headers["Sec-WebSocket-Extensions"]
    async with tunnel(compression=None) as connection:
        assert connection.subprotocol is None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers


async def a_refusal_is_a_response():
    try:
        async with tunnel("/refuse"):
            raise AssertionError("not refused")
    except InvalidStatus as refused:
        response = refused.response
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert response.body == b"who are you?\n"


async def many(count):
    gate = asyncio.Semaphore(50)
    connections = []

    async def enter():
        async with gate:
            connections.append(await tunnel(open_timeout=60))

    async def use(number, connection):
        await connection.send(f"tunnel {number}")
        assert await connection.recv() == f"tunnel {number}"

    await asyncio.gather(*(enter() for _ in range(count)))
    for _ in range(2):
        await asyncio.gather(*(use(*each) for each in enumerate(connections)))
    await connections[0].send("/open")
    assert (said := int(await connections[0].recv())) >= count, said
    print(f"all of {count} are open", flush=True)
    await asyncio.gather(*(connection.close() for connection in connections))


STEPS = [
    text_and_binary,
    many_messages_at_once,
    pings_both_ways,
    fragments_both_ways,
    megabytes_both_ways,
    close_codes_both_ways,
    subprotocols_and_extensions,
    a_refusal_is_a_response,
]


async def main():
    if len(sys.argv) > 2:
        await many(int(sys.argv[2]))
        return
    for step in STEPS:
        await asyncio.wait_for(step(), 30)
        print("ok", step.__name__, flush=True)


asyncio.run(main())
