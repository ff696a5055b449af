"""Clients of the Python library and a plain socket, through the gateway to server.py.

Usage: clients.py HOST:PORT. Each function is a test; the first that fails ends the program.
"""

import hashlib
import http.client
import os
import socket
import sys
import urllib.error
import urllib.request

HOST, PORT = sys.argv[1].rsplit(":", 1)
URL = f"http://{HOST}:{PORT}"
BODY = os.urandom(3_000_000)


def connect():
    return http.client.HTTPConnection(HOST, int(PORT), timeout=20)


def raw(request):
    stream = socket.create_connection((HOST, int(PORT)), timeout=20)
    stream.sendall(request)
    return stream, stream.makefile("rb")


def read_head(reader):
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line.decode().rstrip("\r\n"))
    return lines


def test_many_requests_on_one_connection():
    connection = connect()
    for number in range(200):
        connection.request("GET", f"/hello?{number}")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"hello")
        assert response.getheader("X-Request-Id")
    connection.close()


def test_head_has_a_length_and_no_body():
    connection = connect()
    for _ in range(3):
        connection.request("HEAD", "/hello")
        response = connection.getresponse()
        assert (response.status, response.getheader("Content-Length"), response.read()) == (200, "5", b"")


def test_bodies_with_a_length_and_chunked():
    connection = connect()
    expected = f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}\n".encode()
    connection.request("POST", "/hash", BODY)
    assert connection.getresponse().read() == expected
    pieces = (BODY[at : at + 12345] for at in range(0, len(BODY), 12345))
    connection.request("PUT", "/hash", pieces, encode_chunked=True)
    assert connection.getresponse().read() == expected


def test_an_echo_of_chunks():
    connection = connect()
    pieces = [BODY[at : at + 777] for at in range(0, 200_000, 777)]
    connection.request("POST", "/echo", iter(pieces), encode_chunked=True)
    assert connection.getresponse().read() == b"".join(pieces)


def test_urllib():
    with urllib.request.urlopen(URL + "/hello", timeout=20) as response:
        assert (response.status, response.read()) == (200, b"hello")
    with urllib.request.urlopen(URL + "/until-close", timeout=20) as response:
        assert response.read() == b"until the end"
    try:
        urllib.request.urlopen(urllib.request.Request(URL + "/refuse", data=b"x", method="POST"), timeout=20)
        raise AssertionError("403 is an error to urllib")
    except urllib.error.HTTPError as error:
        assert (error.code, error.read()) == (403, b"no")


def test_what_the_backend_sees():
    connection = connect()
    connection.request("GET", "/head", headers={"X-Forwarded-For": "6.6.6.6", "X-MiXed": "kept", "Connection": "x-gone", "X-Gone": "1"})
    line, *fields = connection.getresponse().read().decode().splitlines()
    assert line == "GET /head HTTP/1.1"
    assert f"Host: {HOST}:{PORT}" in fields and "X-MiXed: kept" in fields
    assert "X-Forwarded-For: 127.0.0.1" in fields and "X-Forwarded-Proto: http" in fields
    assert not any("6.6.6.6" in field or field.lower().startswith("x-gone") for field in fields)


def test_pipelining():
    requests = b"".join(b"GET /hello?%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number for number in range(50))
    stream, reader = raw(requests + b"GET /hello HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    for _ in range(51):
        assert read_head(reader)[0] == "HTTP/1.1 200 OK"
        assert reader.read(5) == b"hello"
    assert reader.read() == b""


def test_trailers_in_both_directions():
    stream, reader = raw(
        b"POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Check: fine\r\n\r\n"
    )
    assert read_head(reader)[0] == "HTTP/1.1 200 OK"
    assert reader.readline() == b"3\r\n" and reader.read(5) == b"abc\r\n"
    assert reader.readline() == b"0\r\n"
    assert read_head(reader) == ["X-Check: fine"]


def test_a_body_that_waits_for_100_continue():
    stream, reader = raw(b"POST /hash HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert read_head(reader)[0] == "HTTP/1.1 100 Continue"
    stream.sendall(b"hello")
    assert read_head(reader)[0] == "HTTP/1.1 200 OK"


def test_early_hints():
    stream, reader = raw(b"GET /hints HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert read_head(reader) == ["HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload"]
    assert read_head(reader)[0] == "HTTP/1.1 200 OK"
    assert reader.read(15) == b"after the hints"


def test_a_client_that_closes_its_side():
    stream, reader = raw(b"GET /hello HTTP/1.1\r\nHost: a.test\r\n\r\n")
    stream.shutdown(socket.SHUT_WR)
    assert read_head(reader)[0] == "HTTP/1.1 200 OK"
    assert reader.read() == b"hello"


def test_events_arrive_at_once():
    stream, reader = raw(b"GET /events?20 HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert "Content-Type: text/event-stream" in read_head(reader)
    notes = connect()
    for number in range(20):
        event = b"data: %d\n\n" % number
        assert reader.readline() == b"%x\r\n" % len(event)
        assert reader.read(len(event) + 2) == event + b"\r\n"
        # Only now may the backend make the next.
        notes.request("GET", f"/seen?{number}")
        assert notes.getresponse().read() == b"noted"
    assert reader.readline() == b"0\r\n"


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name, flush=True)
