"""A backend on Python's own HTTP server, at the given port. It prints its port and serves until it is killed."""

import hashlib
import queue
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

seen = queue.Queue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_expect_100(self):
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()
        return True

    def body(self):
        """Reads the body in pieces; trailers come last, as a dictionary."""
        trailers = {}
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while (line := self.rfile.readline().strip()) != b"":
                name, value = line.decode().split(":", 1)
                trailers[name] = value.strip()
        else:
            left = int(self.headers.get("Content-Length", 0))
            while left > 0:
                piece = self.rfile.read(min(left, 65536))
                if not piece:
                    raise ConnectionError("the body is short")
                left -= len(piece)
                yield piece
        self.received_trailers = trailers

    def reply(self, body, kind="text/plain", status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin_chunked(self, *fields):
        self.send_response(200)
        for name, value in (("Transfer-Encoding", "chunked"), *fields):
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/chunked":
            self.begin_chunked(("Trailer", "X-Sum"))
            for number in range(100):
                self.chunk(b"piece %d\n" % number)
            self.wfile.write(b"0\r\nX-Sum: 100\r\n\r\n")
        elif path == "/events":
            self.begin_chunked(("Content-Type", "text/event-stream"))
            for number in range(int(query)):
                self.chunk(b"data: %d\n\n" % number)
                # The next one is produced when this one has been seen at the other end.
                assert seen.get(timeout=20) == number
            self.wfile.write(b"0\r\n\r\n")
        elif path == "/seen":
            seen.put(int(query))
            self.reply(b"noted")
        elif path == "/hints":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
            self.wfile.flush()
            self.reply(b"after the hints")
        elif path == "/until-close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"until the end")
            self.close_connection = True
        elif path == "/head":
            lines = [f"{name}: {value}\n" for name, value in self.headers.items()]
            self.reply("".join([self.requestline, "\n", *lines]).encode())
        else:
            self.reply(b"hello")

    do_HEAD = do_GET

    def do_POST(self):
        if self.path == "/echo":
            self.begin_chunked()
            for piece in self.body():
                self.chunk(piece)
            self.wfile.write(b"0\r\n")
            for name, value in self.received_trailers.items():
                self.wfile.write(f"{name}: {value}\r\n".encode())
            self.wfile.write(b"\r\n")
        elif self.path == "/refuse":
            self.reply(b"no", status=403)
            self.close_connection = True
        else:
            digest, length = hashlib.sha256(), 0
            for piece in self.body():
                digest.update(piece)
                length += len(piece)
            self.reply(f"{length} {digest.hexdigest()}\n".encode())

    do_PUT = do_POST


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print(f"port {server.server_port}", flush=True)
server.serve_forever()
