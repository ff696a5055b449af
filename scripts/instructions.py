#!/usr/bin/env python3
"""Instructions per proxied request, in user space, of two binaries and four configurations.

Each contender runs under callgrind with one worker on epoll and answers a fixed number of requests of one client, once
in full and once by half: the difference is the requests' alone, without start and end. The worker's thread is
compared; the others, such as the one that writes the access log, are in the last column. The same binary, requests
and machine give the same numbers to a fraction of a percent, whatever else the machine is doing.

  base      one target; the binary that TIDEGATE_BASE names, such as one of the commit before
  single    one target; the binary that TIDEGATE names
  features  round robin over three targets, passive health, retries and rules for fields; the same binary
  logged    one target, and the access log on, into a file; the same binary
  nginx     one target; the nginx that is installed, for comparison

usage: [TIDEGATE=BINARY] [TIDEGATE_BASE=BINARY] instructions.py [--requests N] [--only NAME,...] [--keep DIR]
"""
import argparse
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from callgrind import hide_auxiliary_vector

BINARY = os.environ.get("TIDEGATE", "target/release/tidegate")
BASE = os.environ.get("TIDEGATE_BASE", BINARY)
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
VALGRIND = shutil.which("valgrind")

NGINX_CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {dir}/backend.pid; error_log {dir}/backend.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
  client_body_temp_path {dir}/b1; proxy_temp_path {dir}/b2; fastcgi_temp_path {dir}/b3; uwsgi_temp_path {dir}/b4;
  scgi_temp_path {dir}/b5; default_type text/plain;
  {servers}
}}
"""

SERVER = 'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{body}"; }} }}'

GATEWAY = """
[gateway]
workers = 1
pin = false
driver = "epoll"
[gateway.limits]
requests_per_connection = false
[listeners.public]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:0"
{log}
[services.app]
targets = [{targets}]
pool = {{ idle_timeout = "1h" }}
{service}
[routes.all]
path = "/*"
service = "app"
{route}
"""

NGINX_PROXY = """
  upstream app {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Request-Id $request_id; add_header X-Request-Id $request_id;
    }}
  }}
"""

LOG = """
[access_log]
output = {{ file = "{file}" }}
"""

FEATURES_SERVICE = """
balance = "round_robin"
retries = { attempts = 2, on = ["connect", "reset", "502", "503"], budget = 0.2 }
ejection = { consecutive_failures = 5, ejected_for = "10s" }
"""

FEATURES_ROUTE = """
request_headers = { set = { X-Tenant = "a" }, remove = ["X-Debug"] }
response_headers = { set = { X-Frame-Options = "DENY" }, remove = ["Server"] }
"""

# What a browser's script sends.
REQUEST = (
    b"GET /api/users/7?fields=name HTTP/1.1\r\n"
    b"Host: api.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: application/json, text/plain, */*\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"X-Debug: 1\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef\r\n"
    b"\r\n"
)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def connect(port, process):
    # A program under valgrind takes a while to start.
    for _ in range(1200):
        if process.poll() is not None:
            raise SystemExit(f"a program has ended with status {process.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens at port {port}")


def ask(connection, requests):
    """Sends one request after the other, each when the last is answered."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = connection.makefile("rb")
    for _ in range(requests):
        connection.sendall(REQUEST)
        status = reader.readline()
        if not status.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not a good answer: {status!r}")
        length = 0
        while (line := reader.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        reader.read(length)


def stop(process):
    for _ in range(12):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            # nginx as one process can miss a signal that comes just before it waits.
            pass
    raise SystemExit("a program does not end")


def count(directory, program, port, requests, label):
    """Instructions of the worker's thread, from its start to its end, and of all threads."""
    output = os.path.join(directory, f"{label}.{requests}.out")
    tool = [VALGRIND, "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={output}"]
    with open(os.path.join(directory, f"{label}.log"), "w") as log:
        process = subprocess.Popen(tool + program, stdout=log, stderr=log, preexec_fn=hide_auxiliary_vector)
    try:
        with connect(port, process) as connection:
            ask(connection, requests)
        stop(process)
    finally:
        process.kill()
    totals, workers = [], []
    for part in glob.glob(f"{output}*"):
        with open(part) as file:
            text = file.read()
        found = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        totals.append(int(found[1]) if found else 0)
        # nginx has one thread.
        if label == "nginx" or "tidegate::worker::serve::" in text:
            workers.append(totals[-1])
    if not any(workers):
        raise SystemExit(f"callgrind has written nothing; see {directory}/{label}.log")
    return max(workers), sum(totals)


def write(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def per_request(directory, name, ports, requests):
    counts = []
    for number in (requests, requests // 2):
        port = free_port()
        if name == "nginx":
            own = os.path.join(directory, "nginx")
            os.makedirs(own, exist_ok=True)
            servers = NGINX_PROXY.format(port=port, backend=ports[0])
            path = write(directory, "nginx.conf", NGINX_CONFIGURATION.format(dir=own, servers=servers))
            program = [NGINX, "-c", path]
        else:
            features = name == "features"
            targets = ", ".join(f'"127.0.0.1:{target}"' for target in (ports if features else ports[:1]))
            service, route = (FEATURES_SERVICE, FEATURES_ROUTE) if features else ("", "")
            log = LOG.format(file=os.path.join(directory, "access.log")) if name == "logged" else ""
            text = GATEWAY.format(port=port, targets=targets, service=service, route=route, log=log)
            program = [BASE if name == "base" else BINARY, "run", "--config", write(directory, f"{name}.toml", text)]
        counts.append(count(directory, program, port, number, name))
    more = requests - requests // 2
    return [(full - half) / more for full, half in zip(*counts)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20000, help="of the longer run (20000)")
    parser.add_argument("--only", default="base,single,features,logged,nginx", help="some of these")
    parser.add_argument("--keep", help="where callgrind's files stay, for callgrind_annotate")
    options = parser.parse_args()
    if not VALGRIND or not NGINX:
        raise SystemExit("this needs valgrind and nginx: scripts/setup.sh valgrind nginx")
    directory = options.keep or tempfile.mkdtemp(prefix="instructions-")
    os.makedirs(directory, exist_ok=True)
    ports = [free_port() for _ in range(3)]
    servers = "\n".join(SERVER.format(port=port, body="x" * 128) for port in ports)
    path = write(directory, "backend.conf", NGINX_CONFIGURATION.format(dir=directory, servers=servers))
    backend = subprocess.Popen([NGINX, "-c", path], stderr=subprocess.DEVNULL)
    try:
        connect(ports[0], backend).close()
        results = {}
        for name in options.only.split(","):
            results[name], everywhere = per_request(directory, name, ports, options.requests)
            first = next(iter(results))
            ratio = results[name] / results[first]
            line = f"{name:10} {results[name]:9.0f} instructions a request   {ratio:6.3f} of {first}"
            print(f"{line}   {everywhere:9.0f} of all threads", flush=True)
    finally:
        backend.kill()
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
