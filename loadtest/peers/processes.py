"""Programs that run for as long as they are measured, and what the kernel says of them.

Every program gets a session of its own and is ended with it, whichever way this one ends: in good order, by an
exception, by a signal, or killed (then the kernel ends its children).
"""
import ctypes
import glob
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

PR_SET_PDEATHSIG = 1
PROXY_CORE = 0
LOAD_CORE = 1
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
libc = ctypes.CDLL(None)


class Failed(Exception):
    """What a program did not do."""


def program(name):
    return shutil.which(name, path=PATH)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def raise_descriptors():
    """As many descriptors as 10,000 connections take on both sides; gives how many there are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for soft, limit in ((65536, max(hard, 65536)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limit))
            return soft
        except (ValueError, OSError):
            pass
    return hard


def on_core(core):
    def prepare():
        os.sched_setaffinity(0, {core})
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return prepare


class Processes:
    """The programs that run, as a context: at its end none of them does."""

    def __init__(self, directory):
        self.directory = directory
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(list(self.running))

    def start(self, name, core, command, environment=None, stdout=None, **pipes):
        """Starts a program on a core; what it says goes to a file, whose end `complaint` gives."""
        log = os.path.join(self.directory, f"{name}.err")
        with open(log, "ab") as errors:
            process = subprocess.Popen(
                command,
                stdin=pipes.get("stdin", subprocess.DEVNULL),
                stdout=stdout or errors,
                stderr=errors,
                env={**os.environ, **(environment or {})},
                cwd=self.directory,
                start_new_session=True,
                preexec_fn=on_core(core),
                text=True,
            )
        process.log = log
        self.running.append(process)
        return process

    def stop(self, processes):
        for process in processes:
            self.signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + 3
        for process in processes:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
        for process in processes:
            # Whatever is left of its session, such as a worker whose master has gone.
            self.signal_group(process, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
            if process in self.running:
                self.running.remove(process)

    @staticmethod
    def signal_group(process, number):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass


def complaint(process):
    with open(process.log, errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1][:300] if lines else "it says nothing"


def wait_for(process, port, path, length, seconds=60):
    """Waits until a good answer of that length comes, and gives its header fields."""
    deadline = time.monotonic() + seconds
    last = "nothing listens"
    while time.monotonic() < deadline:
        if process and process.poll() is not None:
            raise Failed(f"it has ended with status {process.returncode}: {complaint(process)}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                body = answer.read()
            if len(body) == length:
                return answer.headers
            last = f"{len(body)} bytes instead of {length}"
        except (OSError, urllib.error.URLError) as error:
            last = str(error)
        time.sleep(0.02)
    raise Failed(f"no good answer within {seconds} s: {last}")


def tree(pid):
    """The process and all that descend from it."""
    found = [pid]
    for one in found:
        for path in glob.glob(f"/proc/{one}/task/*/children"):
            try:
                with open(path) as file:
                    found.extend(int(child) for child in file.read().split())
            except OSError:
                pass
    return found


def scheduled(pid):
    """Nanoseconds that the process, its threads and its descendants have spent on a core, and have waited for one."""
    each = [scheduled_alone(one) for one in tree(pid)]
    return sum(used for used, _ in each), sum(waited for _, waited in each)


def scheduled_alone(pid):
    used = waited = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path) as file:
                numbers = file.read().split()
            used, waited = used + int(numbers[0]), waited + int(numbers[1])
        except OSError:
            pass
    return used, waited


def core(number):
    """Nanoseconds that a core has been busy for programs and the kernel, and that the hypervisor has kept it away."""
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    with open("/proc/stat") as file:
        line = next(line for line in file if line.startswith(f"cpu{number} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq) * tick, steal * tick


def softirqd():
    """The kernel's thread that does network work that nobody else on the proxy's core gets to."""
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as file:
                if file.read().strip() == f"ksoftirqd/{PROXY_CORE}":
                    return int(path.split("/")[2])
        except OSError:
            pass
    return None


def memory(pid):
    """Resident KiB of the process and its descendants, pages that they share counted once."""
    total = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return total
