"""What is measured: the cases, and the setups that they need."""
from dataclasses import dataclass, field

from contenders import Setup

SETUPS = {
    setup.name: setup
    for setup in (
        Setup("plain"),
        Setup("wrk", nginx_backend=True),
        # Fresh processes, so that memory is that of the connections alone.
        Setup("idle5000"),
        Setup("idle10000"),
        Setup("routes10", routes=10),
        Setup("routes10000", routes=10000),
        Setup("chain", chain=True, backends=3),
        Setup("reload", reload=True),
    )
}


@dataclass
class Case:
    name: str
    title: str
    setup: str = "plain"
    kind: str = "run"  # or "wrk"
    rate: int = 0  # of an open loop; 0 for a closed one
    size: int = 128  # bytes of a response
    options: list = field(default_factory=list)  # of `loadtest run`
    idle: int = 0  # connections that are open beside, and say nothing
    reloads: int = 0
    rounds: int = 0  # no more than these; 0 for as many as there are
    seconds: float = 0  # of a slice, if not as many as of others
    per_byte: bool = False  # what counts is bytes, not requests
    core: bool = False
    without: dict = field(default_factory=dict)  # contenders that are left out, and why


NO_DIRECT = {"direct": "there is nothing to learn"}

CASES = [
    Case("128B", "128 B responses, saturated", core=True),
    Case("10KB", "10 KB responses, saturated", size=10240, core=True),
    Case("20k", "20,000 requests a second", rate=20000, core=True),
    Case("40k", "40,000 requests a second", rate=40000, core=True),
    Case("wrk", "wrk, and nginx as backend, saturated", "wrk", kind="wrk", core=True, without=NO_DIRECT),
    Case("5k", "5,000 requests a second", rate=5000),
    Case("1MB", "1 MB responses, saturated", size=1048576, per_byte=True),
    Case("upload", "uploads of 64 KB, saturated", options=["--upload", "65536"]),
    Case("connections1", "1 connection, saturated", options=["--connections", "1"]),
    Case("connections1000", "1,000 connections, saturated", options=["--connections", "1000"]),
    Case("close", "a new connection for each request", options=["--close"]),
    Case("idle5000", "5,000 idle connections beside", "idle5000", idle=5000, rounds=4, without=NO_DIRECT),
    Case("idle10000", "10,000 idle connections beside", "idle10000", idle=10000, rounds=4, without=NO_DIRECT),
    Case("routes10", "10 routes, saturated", "routes10"),
    Case("routes10000", "10,000 routes, saturated", "routes10000"),
    Case("fields10", "10 header fields, saturated", options=["--fields", "10"]),
    Case("fields60", "60 header fields, saturated", options=["--fields", "60"]),
    Case("chain", "three targets, retries, rules over fields, an access log", "chain"),
    Case("reload", "three reloads at 5,000 requests a second", "reload", rate=5000, reloads=3, rounds=3, seconds=3),
]

NOTES = {
    "upload": "Uploads are streamed; by its default nginx would read each whole first.",
    "1MB": "Where core 0 is not busy all the time, generator and backend on core 1 have set the pace.",
    "close": "The relay opens a connection to the backend for each of a client, the others keep theirs.",
    "idle10000": "Memory is that of user space. nginx has its structures for connections from the start, and the relay "
    "holds a connection to the backend for each.",
    "routes10000": "1,000 paths are asked for in turn, over all routes. In nginx they are prefix locations, in HAProxy a "
    "map, in Caddy a group of matchers, which it goes through one by one.",
    "chain": "Access logs go to files: those of nginx through a buffer of 64 KB, those of Tidegate through a thread on the "
    "same core. The CPU time is that of all threads.",
    "reload": "Errors are what clients see while the configuration is loaded anew; a connection that is closed while a "
    "request is on its way counts as one. CPU time is left out, for the accounts of processes that have gone are gone.",
}
