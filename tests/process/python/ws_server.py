"""A WebSocket server on the `websockets` package, for ws_client.py and node/client.cjs. It prints its port.

What is sent comes back, except for text that begins with a slash, which is an order: `/ping`, `/fragments`,
`/close CODE REASON`, `/open`, `/closed ID`. The path `/refuse` is answered with 401.
"""

import asyncio
import http
import resource
import urllib.parse

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

# A thousand tunnels need more descriptors than a shell gives by default.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

open_now = set()
# The code and reason that each client, by its id, has closed with.
closed = {}


async def obey(connection, order):
    word, _, rest = order.partition(" ")
    if word == "/ping":
        await (await connection.ping(b"are you there"))
        await connection.send("the pong has come")
    elif word == "/fragments":
        await connection.send(["one ", "two ", "three"])
    elif word == "/close":
        code, _, reason = rest.partition(" ")
        await connection.close(int(code), reason)
    elif word == "/open":
        await connection.send(str(len(open_now)))
    elif word == "/closed":
        await connection.send(closed.get(rest, "not yet"))


async def handle(connection):
    open_now.add(connection)
    try:
        async for message in connection:
            if isinstance(message, str) and message.startswith("/"):
                await obey(connection, message)
            else:
                await connection.send(message)
    except ConnectionClosed:
        pass
    finally:
        open_now.discard(connection)
        query = urllib.parse.urlparse(connection.request.path).query
        if query.startswith("id="):
            closed[query[3:]] = f"{connection.close_code} {connection.close_reason}"


def refuse(connection, request):
    if request.path == "/refuse":
        response = connection.respond(http.HTTPStatus.UNAUTHORIZED, "who are you?\n")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    return None


def choose(_, offered):
    return next((protocol for protocol in ["chat.v2", "chat.v1"] if protocol in offered), None)


async def main():
    options = {"process_request": refuse, "select_subprotocol": choose, "max_size": 4 << 20}
    async with serve(handle, "127.0.0.1", 0, backlog=1024, ping_interval=None, **options) as server:
        print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
