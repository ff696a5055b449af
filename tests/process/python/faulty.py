"""A backend that misbehaves on demand.

Usage: faulty.py PORT LOG. It prints `port N control M`, and serves until it is killed. What it is asked is
`METHOD /work?id=ID`; each request that has arrived whole is written to LOG, as `METHOD ID MODE`, before it is
answered, so that the file holds what was executed here even when the process is killed.

The control port takes the name of a mode as a line and answers with `ok`. Each function of Worker whose name begins
with `mode_` is a mode.
"""

import asyncio
import os
import socket
import struct
import sys

PORT, LOG = int(sys.argv[1]), sys.argv[2]
log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
mode = "healthy"

# Far beyond each of the gateway's timeouts in these tests.
SLOW = 5.0


def value(head, name):
    for line in head.split(b"\r\n")[1:]:
        key, _, rest = line.partition(b":")
        if key.strip().lower() == name:
            return rest.strip()
    return None


class Worker(asyncio.Protocol):
    """One connection; its requests are answered in turn."""

    def connection_made(self, transport):
        self.transport = transport
        self.received = b""
        self.answering = False

    def data_received(self, data):
        self.received += data
        self.next()

    def eof_received(self):
        # After a half-close of ours, the other side may go on.
        return False

    def next(self):
        while not self.answering and (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end]
            length = int(value(head, b"content-length") or 0)
            if len(self.received) < end + 4 + length:
                return
            self.received = self.received[end + 4 + length :]
            method, path, _ = head.split(b"\r\n")[0].split(b" ")
            if b"?id=" not in path:
                return self.reply(200, b"healthy" if path == b"/health" else b"hello")
            id = path.partition(b"?id=")[2]
            os.write(log, b"%s %s %s\n" % (method, id, mode.encode()))
            getattr(self, "mode_" + mode)(id)

    def reply(self, status, body):
        head = b"HTTP/1.1 %d Text\r\nX-Target: 127.0.0.1:%d\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % (status, port, len(body)) + body)

    def mode_healthy(self, id):
        self.reply(200, id)

    def mode_slow(self, id):
        self.answering = True

        def answer():
            self.answering = False
            if not self.transport.is_closing():
                self.reply(200, id)
                self.next()

        asyncio.get_running_loop().call_later(SLOW, answer)

    def mode_status_500(self, id):
        self.reply(500, id)

    def mode_half_close(self, id):
        """Ends its side before a head, and waits for the other."""
        self.answering = True
        self.transport.write_eof()

    def mode_reset(self, id):
        """A reset in place of an answer."""
        self.abort()

    def mode_reset_in_body(self, id):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        self.answering = True
        # The half has left by then, and has not yet been read by everybody.
        asyncio.get_running_loop().call_later(0.005, self.abort)

    def mode_short_body(self, id):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        self.answering = True
        self.transport.close()

    def mode_bad_chunk(self, id):
        self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n")
        self.answering = True

    def mode_bad_head(self, id):
        """Two lengths: nobody can say where the body ends."""
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello!!")
        self.answering = True

    def abort(self):
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def control(reader, writer):
    global mode
    while line := await reader.readline():
        name = line.decode().strip()
        if hasattr(Worker, "mode_" + name):
            mode = name
            writer.write(b"ok\n")
        else:
            writer.write(b"no such mode\n")
    writer.close()


async def main():
    global port
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Worker, "127.0.0.1", PORT, backlog=1024)
    controller = await asyncio.start_server(control, "127.0.0.1", 0)
    port, control_port = (each.sockets[0].getsockname()[1] for each in (server, controller))
    print(f"port {port} control {control_port}", flush=True)
    await server.serve_forever()


asyncio.run(main())
