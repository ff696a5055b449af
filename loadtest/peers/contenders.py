"""The contenders, each with its configuration, its command and what it does not do.

All of them run one worker, keep connections on both sides, tell the backend who the client is, and write no access
log but in the setup `chain`.
"""
import json
import os
import re
import subprocess
import urllib.request
from dataclasses import dataclass, field

from processes import Failed, free_port, program

CONNECTIONS = 12000


@dataclass
class Setup:
    """What the contenders are set up for."""

    name: str
    routes: int = 0  # 0: one for everything
    chain: bool = False  # what a real deployment has on
    reload: bool = False  # it must be possible to reload
    nginx_backend: bool = False
    backends: int = 1
    ports: list = field(default_factory=list)  # of the backends


def route(number):
    return f"/api/r{number}"


# Of so many rounds one is enough for those who are far from the others. It is odd: every other round is in reversed order.
SELDOM = 3


class Contender:
    name = ""
    title = ""
    differs = ""
    can_route = can_chain = can_reload = True
    descriptors_per_connection = 1
    is_far = False

    def __init__(self, directory, setup):
        self.directory = os.path.join(directory, f"{setup.name}-{self.name}")
        os.makedirs(self.directory, exist_ok=True)
        self.setup = setup
        self.port = free_port()
        self.logs = []
        self.turn = 0

    @classmethod
    def lacks(cls, setup):
        """Why it is not in this setup."""
        if setup.routes and not cls.can_route:
            return "it has no router"
        if setup.chain and not cls.can_chain:
            return "it has none of these features"
        if setup.reload and not cls.can_reload:
            return "it has no configuration that it could reload"
        return None

    @classmethod
    def missing(cls, _places):
        """Why it cannot be had on this machine."""
        return None

    @classmethod
    def version(cls, _places):
        return ""

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def log(self):
        """Where its access log goes; emptied after each slice, for it would fill the disk."""
        path = os.path.join(self.directory, "access.log")
        self.logs.append(path)
        return path

    def logged(self):
        """Bytes that it has logged since they were counted last."""
        return sum(os.path.getsize(path) for path in set(self.logs) if os.path.exists(path))

    def truncate_logs(self):
        for path in self.logs:
            if os.path.exists(path):
                os.truncate(path, 0)

    def start(self, processes, places):
        return processes.start(f"{self.setup.name}-{self.name}", 0, *self.command(places))


def said(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout + done.stderr).strip()


class Nginx(Contender):
    name, title = "nginx", "nginx"
    differs = (
        "buffers responses, but never in files here; streams uploads (`proxy_request_buffering off`, not its default); "
        "counts nothing but connections; sets X-Forwarded-For, -Proto, -Host and X-Request-Id"
    )

    @classmethod
    def missing(cls, _places):
        return None if program("nginx") else "it is not installed"

    @classmethod
    def version(cls, _places):
        return said([program("nginx"), "-v"]).split("nginx/")[-1]

    def command(self, _places):
        setup, at = self.setup, self.directory
        fails = " max_fails=5 fail_timeout=10s" if setup.chain else ""
        servers = "\n".join(f"    server 127.0.0.1:{port}{fails};" for port in setup.ports)
        log, extra = "access_log off;", ""
        if setup.chain:
            log = (
                "log_format one escape=json '{\"time\":\"$time_iso8601\",\"request_id\":\"$request_id\","
                '"client":"$remote_addr","method":"$request_method","host":"$http_host","path":"$request_uri",'
                '"status":$status,"bytes_sent":$bytes_sent,"target":"$upstream_addr","total":$request_time,'
                '"backend":"$upstream_response_time"}\';\n'
                f"  access_log {self.log()} one buffer=64k flush=1s;"
            )
            extra = """
    proxy_next_upstream error timeout http_502 http_503;
    proxy_next_upstream_tries 2;
    proxy_set_header X-Tenant a;
    proxy_set_header X-Debug "";
    proxy_hide_header Server;
    add_header X-Frame-Options DENY always;"""
        numbers = range(setup.routes)
        locations = [f"    location {route(number)}/ {{ proxy_pass http://app; }}" for number in numbers]
        locations = locations or ["    location / { proxy_pass http://app; }"]
        temporary = "\n".join(
            f"  {kind}_temp_path {at}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = f"""
daemon off;
master_process {"on" if setup.reload else "off"};
{"user root;" if setup.reload and os.geteuid() == 0 else ""}
worker_processes 1;
pid {at}/nginx.pid;
error_log {at}/error.log error;
events {{ worker_connections {CONNECTIONS}; }}
http {{
  {log}
{temporary}
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  proxy_max_temp_file_size 0;
  proxy_request_buffering off;
  variables_hash_max_size 2048;
  upstream app {{
{servers}
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Request-Id $request_id;
    add_header X-Request-Id $request_id;{extra}
{chr(10).join(locations)}
  }}
}}
"""
        return ([program("nginx"), "-c", self.write("nginx.conf", text)],)

    def reload(self, process):
        os.kill(process.pid, 1)  # SIGHUP


class Haproxy(Contender):
    name, title = "haproxy", "HAProxy, http"
    differs = (
        "one thread; `http-reuse always`; counts per frontend, backend and server; sets X-Forwarded-For, -Proto, -Host "
        "and X-Request-Id"
    )
    mode = "http"

    @classmethod
    def missing(cls, _places):
        return None if program("haproxy") else "it is not installed"

    @classmethod
    def version(cls, _places):
        found = re.search(r"version (\S+)", said([program("haproxy"), "-v"]))
        return found[1] if found else ""

    def rules(self):
        lines = [
            "  option forwardfor",
            "  unique-id-format %{+X}o%ci%cp%fi%fp%Ts%rt%pid",
            "  http-request set-header X-Forwarded-Proto http",
            "  http-request set-header X-Forwarded-Host %[req.hdr(host)]",
            "  http-request set-header X-Request-Id %[unique-id]",
            "  http-after-response set-header X-Request-Id %[unique-id]",
        ]
        if self.setup.chain:
            lines += [
                "  log global",
                "  option httplog",
                "  http-request set-header X-Tenant a",
                "  http-request del-header X-Debug",
                "  http-after-response set-header X-Frame-Options DENY",
                "  http-after-response del-header Server",
            ]
        if self.setup.routes:
            numbers = range(self.setup.routes)
            routes = self.write("routes.map", "".join(f"{route(number)}/ app\n" for number in numbers))
            lines.append(f"  use_backend %[path,map_beg({routes})]")
        else:
            lines.append("  default_backend app")
        return lines

    def command(self, _places):
        setup = self.setup
        http = self.mode == "http"
        servers = [f"  server s{number} 127.0.0.1:{port}" for number, port in enumerate(setup.ports)]
        text = "\n".join(
            [
                "global",
                "  nbthread 1",
                f"  maxconn {CONNECTIONS}",
                "  no strict-limits",
                *(["  log stdout format raw local0"] if setup.chain else []),
                "defaults",
                f"  mode {self.mode}",
                "  timeout connect 5s",
                "  timeout client 1h",
                "  timeout server 1h",
                *(["  option http-keep-alive", "  http-reuse always"] if http else []),
                "frontend public",
                f"  bind 127.0.0.1:{self.port} backlog 4096",
                *(self.rules() if http else ["  default_backend app"]),
                "backend app",
                "  balance roundrobin",
                *(
                    ["  retries 2", "  option redispatch 1", "  retry-on conn-failure empty-response 502 503"]
                    if setup.chain
                    else []
                ),
                *servers,
                "",
            ]
        )
        path = self.write("haproxy.cfg", text)
        self.sink = open(self.log(), "ab") if setup.chain else None
        command = [program("haproxy"), *(["-W"] if setup.reload else ["-db"]), "-f", path]
        return command, None, self.sink

    def reload(self, process):
        os.kill(process.pid, 12)  # SIGUSR2


class Relay(Haproxy):
    name, title = "relay", "HAProxy, tcp"
    differs = "reads no HTTP: it copies bytes, and opens a connection to the backend for each of a client; the floor"
    mode = "tcp"
    can_route = can_chain = False
    descriptors_per_connection = 2


class Tidegate(Contender):
    name = driver = ""
    differs = (
        "normalises paths; sets X-Forwarded-For, -Proto, -Host, -Port, X-Real-IP, Via and X-Request-Id; counts and times "
        "each request by route and service; passive ejection and retries are on, as they are by default"
    )

    @classmethod
    def missing(cls, places):
        return None if os.access(places["tidegate"], os.X_OK) else f"there is no {places['tidegate']}"

    @classmethod
    def version(cls, places):
        return said([places["tidegate"], "--version"]).split()[-1]

    def text(self):
        setup = self.setup
        targets = ", ".join(f'"127.0.0.1:{port}"' for port in setup.ports)
        service, rules, log = "", "", ""
        if setup.chain:
            service = """balance = "round_robin"
retries = { attempts = 2, on = ["connect", "reset", "502", "503"], budget = 0.2 }
ejection = { consecutive_failures = 5, ejected_for = "10s" }"""
            rules = """request_headers = { set = { X-Tenant = "a" }, remove = ["X-Debug"] }
response_headers = { set = { X-Frame-Options = "DENY" }, remove = ["Server"] }"""
            log = f'[access_log]\noutput = {{ file = "{self.log()}" }}'
        numbers = range(setup.routes)
        routes = [f'[routes.r{number}]\npath = "{route(number)}/*"\nservice = "app"\n' for number in numbers]
        routes = routes or [f'[routes.all]\npath = "/*"\nservice = "app"\n{rules}\n']
        if self.turn % 2:
            routes.append('[routes.turn]\npath = "/of/this/turn"\nservice = "app"\n')
        return f"""[gateway]
workers = 1
pin = false
watch = false
driver = "{self.driver}"
[gateway.limits]
requests_per_connection = false
idle_timeout = "1h"
[listeners.public]
address = "127.0.0.1:{self.port}"
[admin]
address = "127.0.0.1:0"
{log}
[services.app]
targets = [{targets}]
pool = {{ idle_timeout = "1h" }}
{service}
{chr(10).join(routes)}"""

    def command(self, places):
        return [places["tidegate"], "run", "--config", self.write("gateway.toml", self.text())], {"TIDEGATE_LOG": "error"}

    def reload(self, process):
        self.turn += 1
        self.write("gateway.toml", self.text())
        os.kill(process.pid, 1)  # SIGHUP


class TidegateEpoll(Tidegate):
    name, title, driver = "tidegate-epoll", "Tidegate, epoll", "epoll"


class TidegateUring(Tidegate):
    name, title, driver = "tidegate-io_uring", "Tidegate, io_uring", "io_uring"
    differs = "the same"


class Caddy(Contender):
    name, title = "caddy", "Caddy"
    is_far = True
    differs = (
        "`GOMAXPROCS=1`, the garbage collector's and other threads on the same core; matches routes one after the other; "
        "sets X-Forwarded-For, -Proto and -Host"
    )

    @classmethod
    def missing(cls, _places):
        return None if program("caddy") else "it is not installed"

    @classmethod
    def version(cls, _places):
        return said([program("caddy"), "version"]).split()[0].lstrip("v")

    def configuration(self):
        setup = self.setup
        proxy = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"127.0.0.1:{port}"} for port in setup.ports],
            "transport": {
                "protocol": "http",
                "compression": False,
                "keep_alive": {"enabled": True, "max_idle_conns": 1024, "max_idle_conns_per_host": 1024},
            },
        }
        server = {"listen": [f"127.0.0.1:{self.port}"], "automatic_https": {"disable": True}, "protocols": ["h1"]}
        logging = {"logs": {"default": {"level": "ERROR"}}}
        if setup.chain:
            proxy["load_balancing"] = {"selection_policy": {"policy": "round_robin"}, "retries": 2}
            proxy["health_checks"] = {"passive": {"max_fails": 5, "fail_duration": "10s"}}
            proxy["headers"] = {
                "request": {"set": {"X-Tenant": ["a"]}, "delete": ["X-Debug"]},
                "response": {"set": {"X-Frame-Options": ["DENY"]}, "delete": ["Server"]},
            }
            server["logs"] = {"default_logger_name": "access"}
            writer = {"output": "file", "filename": self.log(), "roll": False}
            logging["logs"]["access"] = {"writer": writer, "include": ["http.log.access.access"]}
            logging["logs"]["default"]["exclude"] = ["http.log.access"]
        routes = []
        for number in range(setup.routes):
            # Of a group, the first that matches is taken. The pool of connections is one, below.
            mark = {"handler": "vars", "route": f"r{number}"}
            routes.append({"group": "routes", "match": [{"path": [f"{route(number)}/*"]}], "handle": [mark]})
        server["routes"] = [*routes, {"handle": [proxy]}]
        admin = {"listen": f"127.0.0.1:{self.admin}"} if setup.reload else {"disabled": True}
        admin["config"] = {"persist": False}
        return json.dumps({"admin": admin, "logging": logging, "apps": {"http": {"servers": {"public": server}}}})

    def command(self, _places):
        self.admin = free_port() if self.setup.reload else None
        path = self.write("caddy.json", self.configuration())
        home = {"HOME": self.directory, "XDG_CONFIG_HOME": self.directory, "XDG_DATA_HOME": self.directory}
        return [program("caddy"), "run", "--config", path], {"GOMAXPROCS": "1", **home}

    def reload(self, _process):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.admin}/load",
            data=self.configuration().encode(),
            # Also if nothing has changed.
            headers={"Content-Type": "application/json", "Cache-Control": "must-revalidate"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            if answer.status != 200:
                raise Failed(f"it does not reload: {answer.status}")


class Pingora(Contender):
    name, title = "pingora", "Pingora"
    is_far = True
    differs = (
        "the least program that its library makes (`loadtest/peers/pingora`): no router, no counters, no limits of ours; "
        "sets X-Forwarded-For and -Proto; the system's allocator"
    )
    can_route = can_chain = can_reload = False

    @classmethod
    def missing(cls, places):
        return None if os.access(places["pingora"], os.X_OK) else f"there is no {places['pingora']}"

    @classmethod
    def version(cls, _places):
        lock = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pingora", "Cargo.lock")
        with open(lock) as file:
            found = re.search(r'name = "pingora-proxy"\nversion = "([^"]+)"', file.read())
        return found[1] if found else ""

    def command(self, places):
        return ([places["pingora"], f"127.0.0.1:{self.port}", f"127.0.0.1:{self.setup.ports[0]}"],)


class Direct(Contender):
    """No proxy: the base line."""

    name, title = "direct", "no proxy"
    differs = "the generator asks the backend, on one core with it; what all figures of latency are compared with"
    can_route = can_chain = can_reload = False

    def start(self, _processes, _places):
        self.port = self.setup.ports[0]
        return None


ALL = [Nginx, Haproxy, Relay, TidegateEpoll, TidegateUring, Caddy, Pingora, Direct]
