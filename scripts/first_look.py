#!/usr/bin/env python3
"""A first look at speed: CPU per proxied request beside nginx.

Each proxy has one worker on core 0; wrk with 64 connections and an nginx
backend share core 1. The slices are interleaved, in reversed order every other
round, and the proxies' CPU time is the scheduler's own account of them. Prints
medians and their ratio to nginx, and the system calls of a request when strace
is there.

With `features`, Tidegate runs twice more: round robin over three targets (three ports of the same backend), passive
health, retries and rules for fields.

usage: first_look.py [rounds] [seconds] [features]
"""
import glob
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from instructions import FEATURES_ROUTE, FEATURES_SERVICE

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
FEATURES = len(sys.argv) > 3 and sys.argv[3] == "features"
BINARY = os.environ.get("TIDEGATE", "target/release/tidegate")
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")

BACKEND = """
daemon off; master_process off; worker_processes 1; pid {dir}/backend.pid; error_log {dir}/backend.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {dir}/b1; proxy_temp_path {dir}/b2;
  fastcgi_temp_path {dir}/b3; uwsgi_temp_path {dir}/b4; scgi_temp_path {dir}/b5;
  open_file_cache max=10; default_type text/plain; root {dir}; index {size}.txt;
  server {{ {listen} }}
}}
"""

PROXY = """
daemon off; master_process off; worker_processes 1; pid {dir}/proxy.pid; error_log {dir}/proxy.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {dir}/p1; proxy_temp_path {dir}/p2;
  fastcgi_temp_path {dir}/p3; uwsgi_temp_path {dir}/p4; scgi_temp_path {dir}/p5;
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
}}
"""

GATEWAY = """
[gateway]
workers = 1
pin = false
driver = "{driver}"
[gateway.limits]
requests_per_connection = 0
[listeners.public]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:0"
[services.app]
targets = [{targets}]
{service}
[routes.all]
path = "/*"
service = "app"
{route}
"""

def contestants():
    for features in (False, True) if FEATURES else (False,):
        for driver in ("epoll", "io_uring"):
            yield driver, features


def gateway(driver, port, backends, features):
    targets = ", ".join(f'"127.0.0.1:{backend}"' for backend in backends)
    service, route = (FEATURES_SERVICE, FEATURES_ROUTE) if features else ("", "")
    return GATEWAY.format(driver=driver, port=port, targets=targets, service=service, route=route)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(core, *command):
    return subprocess.Popen(["taskset", "-c", str(core), *command], stderr=subprocess.DEVNULL)


def wait_for(port):
    for _ in range(200):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing answers at port {port}")


def cpu(process):
    """Nanoseconds that the process has spent on a core."""
    files = glob.glob(f"/proc/{process.pid}/task/*/schedstat")
    return sum(int(open(path).read().split()[0]) for path in files)


def slice_of(process, port):
    before = cpu(process)
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{SECONDS}s", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu(process) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"errors in a slice:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    return used / requests / 1000, rate


def main():
    directory = tempfile.mkdtemp(prefix="first-look-")
    running = []

    def write(name, text):
        path = os.path.join(directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    try:
        for size in (128, 10240):
            backend = free_port()
            write(f"{size}.txt", "x" * size)
            ports = [backend, free_port(), free_port()]
            listen = " ".join(f"listen 127.0.0.1:{each};" for each in ports)
            path = write(f"backend{size}.conf", BACKEND.format(dir=directory, listen=listen, size=size))
            running.append(start(1, NGINX, "-c", path))
            wait_for(backend)
            contenders = {}
            port = free_port()
            path = write("proxy.conf", PROXY.format(dir=directory, port=port, backend=backend))
            contenders["nginx"] = (start(0, NGINX, "-c", path), port)
            for driver, features in contestants():
                port = free_port()
                name = f"tidegate, {driver}" + (", features" if features else "")
                text = gateway(driver, port, ports if features else ports[:1], features)
                path = write(f"{driver}{features}.toml", text)
                contenders[name] = (start(0, BINARY, "run", "--config", path), port)
            running.extend(process for process, _ in contenders.values())
            for _, port in contenders.values():
                wait_for(port)
            results = {name: [] for name in contenders}
            for turn in range(ROUNDS):
                order = list(contenders) if turn % 2 == 0 else list(contenders)[::-1]
                for name in order:
                    results[name].append(slice_of(*contenders[name]))
            medians = {name: tuple(map(statistics.median, zip(*slices))) for name, slices in results.items()}
            base = medians["nginx"][0]
            print(f"{size} B bodies, {ROUNDS} rounds of {SECONDS} s")
            for name, (used, rate) in medians.items():
                print(f"  {name:28} {used:6.2f} us CPU a request   {used / base:5.2f} of nginx   {rate:8.0f} requests/s")
            for process, _ in contenders.values():
                process.send_signal(signal.SIGKILL)
    finally:
        for process in running:
            process.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
