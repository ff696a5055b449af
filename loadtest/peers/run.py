#!/usr/bin/env python3
"""The comparison with peers: the same load for nginx, HAProxy, Caddy, Pingora and Tidegate.

Each contender has one worker on core 0; generator and backends share core 1. Slices are short and interleaved, in
reversed order every other round, and costs are compared within a round, for a virtual machine is not as fast in one
minute as in the next. Before and after each slice a fixed piece of work is timed on core 0; one in which that changed, or
in which others took core 0, is repeated once, as is one that was too slow, as far as a fifth of a case's slices. CPU time is the scheduler's account of the
contender's processes and threads. A slice with an error is repeated once, too, and counts for nothing if that fails. What
is printed are medians.

TIDEGATE=BINARY names the Tidegate that is measured, LOADTEST=BINARY the generator, CARGO_TARGET_DIR where they are
otherwise.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import cases
import contenders
import machine
import processes
import report
from processes import Failed, LOAD_CORE, PROXY_CORE

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TARGET = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))
PLACES = {
    "loadtest": os.path.abspath(os.environ.get("LOADTEST", os.path.join(TARGET, "release", "loadtest"))),
    "pingora": os.path.join(TARGET, "pingora", "release", "pingora-peer"),
    "tidegate": os.path.abspath(os.environ.get("TIDEGATE", os.path.join(TARGET, "release", "tidegate"))),
}
# Failures that say that a contender is too slow for a rate, and not that it is wrong.
TOO_SLOW = {"unsent", "timeout"}
# How far the two probes of a slice may be apart, and which share of the proxies' core others may take.
STEADY = 0.15
OTHERS = 0.1
STOLEN = 0.05
# Of so many slices of a case one may be repeated because the machine was not steady.
REPEATED = 5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all cases, not only the core ones")
    parser.add_argument("--cases", help=f"some of these: {','.join(case.name for case in cases.CASES)}")
    parser.add_argument("--contenders", help=f"some of these: {','.join(each.name for each in contenders.ALL)}")
    parser.add_argument("--rounds", type=int, help="10; with --full 12")
    parser.add_argument("--seconds", type=float, default=0.8, help="of each slice")
    parser.add_argument("--out", default=os.path.join(ROOT, "loadtest", "results"), help="where the results go")
    parser.add_argument("--keep", action="store_true", help="do not remove the directory of configurations and logs")
    options = parser.parse_args()
    options.rounds = options.rounds or (12 if options.full else 10)
    return options


class Runner:
    def __init__(self, options, running, directory, descriptors):
        self.options = options
        self.running = running
        self.directory = directory
        self.descriptors = descriptors
        self.slices = []
        # By case: how many slices may still be repeated because the machine was not steady.
        self.spare = {}
        self.left_out = []
        self.softirqd = processes.softirqd()

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def loadtest(self, name, *arguments, core=LOAD_CORE, **pipes):
        command = [PLACES["loadtest"], *map(str, arguments)]
        return self.running.start(name, core, command, stdout=subprocess.PIPE, **pipes)

    def said(self, process):
        """The next thing that a program of ours says."""
        line = process.stdout.readline()
        if not line:
            process.wait(timeout=10)
            raise Failed(f"loadtest has ended with status {process.returncode}: {processes.complaint(process)}")
        return json.loads(line)

    def probe(self):
        process = self.loadtest("probe", "probe", "--core", PROXY_CORE, core=PROXY_CORE)
        try:
            return self.said(process)["nanoseconds"]
        finally:
            self.running.stop([process])

    def start_backends(self, setup):
        """Gives the backends' processes and ports."""
        started, ports = [], []
        for number in range(setup.backends):
            if setup.nginx_backend:
                process, port = self.start_nginx()
            else:
                process = self.loadtest(f"backend{number}", "backend")
                port = int(self.said(process)["address"].rsplit(":", 1)[1])
            processes.wait_for(process, port, "/?size=128", 128)
            started.append(process)
            ports.append(port)
        return started, ports

    def start_nginx(self):
        at = os.path.join(self.directory, "backend")
        os.makedirs(at, exist_ok=True)
        port = processes.free_port()
        with open(os.path.join(at, "index.txt"), "w") as file:
            file.write("x" * 128)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {at}/{kind};" for kind in kinds)
        text = f"""
daemon off; master_process off; worker_processes 1; pid {at}/nginx.pid; error_log {at}/error.log;
events {{ worker_connections {contenders.CONNECTIONS}; }}
http {{
  access_log off; keepalive_requests 1000000000; {temporary} open_file_cache max=10; default_type text/plain;
  root {at}; index index.txt; server {{ listen 127.0.0.1:{port} backlog=4096; }}
}}
"""
        path = os.path.join(at, "nginx.conf")
        with open(path, "w") as file:
            file.write(text)
        return self.running.start("backend-nginx", LOAD_CORE, [processes.program("nginx"), "-c", path]), port

    def start_contenders(self, setup, classes):
        started = []
        for each in classes:
            why = each.missing(PLACES) or each.lacks(setup)
            contender = each(self.directory, setup)
            process = None
            if not why:
                try:
                    process = contender.start(self.running, PLACES)
                    first = f"{contenders.route(0)}/" if setup.routes else "/"
                    fields = processes.wait_for(process, contender.port, f"{first}?size=128", 128)
                    if setup.chain and fields["X-Frame-Options"] != "DENY":
                        raise Failed("its rules over fields do nothing")
                except Failed as failure:
                    why = str(failure)
                    self.running.stop([process] if process else [])
            if why:
                self.leave_out(setup.name, each, why)
                continue
            contender.base = processes.memory(process.pid) if process else None
            started.append((contender, process))
        return started

    def run(self, chosen, classes):
        for setup in (cases.SETUPS[name] for name in cases.SETUPS):
            of_setup = [case for case in chosen if case.setup == setup.name]
            if not of_setup:
                continue
            backends, setup.ports = self.start_backends(setup)
            entrants = self.start_contenders(setup, classes)
            try:
                for turn in range(self.options.rounds):
                    for case in of_setup:
                        self.round(turn, case, entrants)
            finally:
                self.running.stop([process for _, process in entrants if process] + backends)

    def round(self, turn, case, entrants):
        if turn >= (case.rounds or self.options.rounds):
            return
        self.spare.setdefault(case.name, len(entrants) * (case.rounds or self.options.rounds) // REPEATED)
        for contender, process in entrants if turn % 2 == 0 else entrants[::-1]:
            if turn % contenders.SELDOM and self.is_seldom(case, contender):
                continue
            why = case.without.get(contender.name) or self.too_many(case, contender)
            if why:
                self.leave_out(case.name, contender, why)
                continue
            if self.again(self.attempt(turn, case, contender, process)):
                self.attempt(turn, case, contender, process)

    def attempt(self, turn, case, contender, process):
        """Measures a slice, and keeps what came of it."""
        figures = {"case": case.name, "contender": contender.name, "round": turn}
        try:
            figures.update(self.slice(case, contender, process))
        except Failed as failure:
            figures.update(errors=1, errors_by_kind={str(failure): 1})
        contender.truncate_logs()
        figures["use"] = self.usable(case, figures)
        self.slices.append(figures)
        self.tell(figures)
        return figures

    @staticmethod
    def is_seldom(case, contender):
        """Whether a few slices of it are enough. Latency is compared with the direct connection."""
        return not case.rounds and (contender.is_far or contender.name == "direct" and not case.rate)

    def again(self, figures):
        """Whether a slice is worth another try. One that was too slow may have been so for the machine's sake."""
        if figures["use"] in ("unsteady", "slow"):
            self.spare[figures["case"]] -= 1
            return self.spare[figures["case"]] >= 0
        return figures["use"] == "no"

    def too_many(self, case, contender):
        """Why there are too few descriptors for it."""
        needed = case.idle * contender.descriptors_per_connection + 500
        return f"it needs {needed:,} descriptors, and may have {self.descriptors:,}" if needed > self.descriptors else None

    def leave_out(self, where, contender, why):
        one = {"where": where, "contender": contender.name, "why": why}
        if one not in self.left_out and contender.name != "direct":
            self.left_out.append(one)
            self.say(f"{where}: without {contender.title}: {why}")

    @staticmethod
    def usable(case, figures):
        """Whether a slice counts: yes, no, as one that was too slow for the rate, or if there is no better one."""
        if case.reloads and "requests" in figures:
            return "yes"
        if case.rate and set(figures["errors_by_kind"]) <= TOO_SLOW:
            if figures["errors"] or figures["requests_per_second"] < 0.98 * case.rate:
                return "slow"
        if figures["errors"] or not figures.get("requests"):
            return "no"
        probes = figures["probes_ns"]
        steady = max(probes) <= min(probes) * (1 + STEADY) and figures["stolen_share"] <= STOLEN
        return "yes" if steady and figures["others_share"] <= OTHERS else "unsteady"

    def tell(self, figures):
        rate, used = figures.get("requests_per_second", 0), figures.get("cpu_us")
        cost = f"{used:7.2f} us" if used else "          "
        wrong = f"   {figures['errors_by_kind']}" if figures["errors"] else ""
        wrong += "" if figures["use"] in ("yes", "no") else f"   {figures['use']}"
        start = f"{figures['round'] + 1} {figures['case']:16} {figures['contender']:18}"
        self.say(f"{start} {cost} {rate:9.0f}/s{wrong}")

    def slice(self, case, contender, process):
        probes = [self.probe()]
        figures = {}
        idle = None
        try:
            if case.idle:
                idle = self.hold(case, contender, figures, process)
            run = self.wrk if case.kind == "wrk" else self.load
            figures.update(run(case, contender, process))
            if contender.logs and not contender.logged():
                raise Failed("it has logged nothing")
            if idle:
                idle.stdin.close()
                closed = case.idle - self.said(idle)["still_open"]
                if closed:
                    figures["errors"] += closed
                    figures["errors_by_kind"]["idle_closed"] = closed
        finally:
            if idle:
                self.running.stop([idle])
        probes.append(self.probe())
        figures["probes_ns"] = probes
        # A reload replaces processes, and the accounts of those that have gone are gone.
        if process and figures["requests"] and not case.reloads:
            figures["cpu_us"] = figures["cpu_ns"] / figures["requests"] / 1000
        if process:
            figures.setdefault("memory_kib", processes.memory(process.pid))
        return figures

    def hold(self, case, contender, figures, process):
        address = f"127.0.0.1:{contender.port}"
        pipes = {"stdin": subprocess.PIPE}
        idle = self.loadtest("idle", "idle", address, "--connections", case.idle, **pipes)
        try:
            self.said(idle)
        except Failed:
            self.running.stop([idle])
            raise
        figures["memory_kib"] = processes.memory(process.pid)
        figures["idle_kib"] = (figures["memory_kib"] - contender.base) / case.idle
        return idle

    def accounts(self, process):
        """Nanoseconds: the contender's on its core, those that it waited for it, and the core's for all and nobody."""
        used, waited = processes.scheduled(process.pid) if process else (0, 0)
        busy, stolen = processes.core(PROXY_CORE)
        return {
            "cpu_ns": used,
            "waited_ns": waited,
            "softirqd_ns": processes.scheduled_alone(self.softirqd or 0)[0],
            "core_ns": busy,
            "stolen_ns": stolen,
            "at_ns": time.monotonic_ns(),
        }

    @staticmethod
    def difference(before, after):
        passed = {name: after[name] - before[name] for name in before}
        lasted = passed.pop("at_ns")
        passed["others_share"] = max(0, passed.pop("core_ns") - passed["cpu_ns"]) / lasted
        passed["stolen_share"] = passed.pop("stolen_ns") / lasted
        return passed

    def load(self, case, contender, process):
        seconds = case.seconds or self.options.seconds
        options = ["--seconds", seconds, "--expect", case.size, *case.options]
        options += ["--rate", case.rate] if case.rate else []
        options += ["--paths", self.paths(case)] if contender.setup.routes else ["--path", f"/?size={case.size}"]
        generator = self.loadtest("run", "run", f"127.0.0.1:{contender.port}", *options)
        # It ends by itself; this is for when it does not.
        watch = threading.Timer(seconds + 30, generator.kill)
        watch.start()
        try:
            self.said(generator)
            before = self.accounts(process)
            for _ in range(case.reloads):
                time.sleep(seconds / (case.reloads + 1))
                contender.reload(process)
            self.said(generator)
            after = self.accounts(process)
            figures = self.said(generator)
        finally:
            watch.cancel()
            self.running.stop([generator])
        return {**figures, **self.difference(before, after)}

    def paths(self, case):
        """A thousand paths over all routes, the same for every contender."""
        routes = cases.SETUPS[case.setup].routes
        chance = random.Random(routes)
        path = os.path.join(self.directory, f"{case.setup}.paths")
        with open(path, "w") as file:
            for _ in range(1000):
                file.write(f"{contenders.route(chance.randrange(routes))}/items?size={case.size}\n")
        return path

    def wrk(self, case, contender, process):
        # It knows whole seconds alone.
        seconds = max(1, round(self.options.seconds))
        command = ["wrk", "-t1", "-c64", f"-d{seconds}s"]
        command.append(f"http://127.0.0.1:{contender.port}/")
        generator = self.running.start("wrk", LOAD_CORE, command, stdout=subprocess.PIPE)
        try:
            before = self.accounts(process)
            text = generator.communicate(timeout=seconds + 30)[0]
            after = self.accounts(process)
        except subprocess.TimeoutExpired as error:
            raise Failed("wrk does not end") from error
        finally:
            self.running.stop([generator])
        requests = re.search(r"(\d+) requests in", text)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
        if not requests or not rate:
            raise Failed(f"wrk has said nothing: {processes.complaint(generator)}")
        wrong = {}
        for found in re.finditer(r"Non-2xx or 3xx responses: (\d+)", text):
            wrong["status"] = int(found[1])
        for found in re.finditer(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
            wrong.update(zip(("connect", "read", "write", "timeout"), map(int, found.groups())))
        wrong = {kind: times for kind, times in wrong.items() if times}
        return {
            "requests": int(requests[1]),
            "requests_per_second": float(rate[1]),
            "seconds": seconds,
            "bytes": int(requests[1]) * case.size,
            "errors": sum(wrong.values()),
            "errors_by_kind": wrong,
            **self.difference(before, after),
        }


def choose(options):
    if options.cases:
        names = options.cases.split(",")
        chosen = [case for case in cases.CASES if case.name in names]
        unknown = set(names) - {case.name for case in chosen}
    else:
        chosen, unknown = [case for case in cases.CASES if case.core or options.full], set()
    names = options.contenders.split(",") if options.contenders else [each.name for each in contenders.ALL]
    classes = [each for each in contenders.ALL if each.name in names]
    unknown |= set(names) - {each.name for each in classes}
    if unknown:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; see --help")
    return chosen, classes


def check(classes):
    needed = {"loadtest"} | {"tidegate" for each in classes if issubclass(each, contenders.Tidegate)}
    for each in sorted(needed):
        if not os.access(PLACES[each], os.X_OK):
            raise SystemExit(f"there is no {PLACES[each]}; `make peers` builds it")
    if len(os.sched_getaffinity(0)) < 2 or not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("this needs the cores 0 and 1: one for the proxies, one for the load")
    if not processes.program("wrk"):
        raise SystemExit("wrk is missing: scripts/setup.sh wrk")
    return {each.name: each.version(PLACES) for each in classes if not each.missing(PLACES)}


def main():
    options = arguments()
    chosen, classes = choose(options)
    versions = check(classes)
    # An end by a signal is an end in good order: all programs are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    os.sched_setaffinity(0, {LOAD_CORE})
    descriptors = processes.raise_descriptors()
    directory = tempfile.mkdtemp(prefix="peers-")
    described = machine.describe(ROOT, versions, descriptors)
    for line in described["warnings"]:
        print(f"warning: {line}", file=sys.stderr)
    start = time.monotonic()
    try:
        with processes.Processes(directory) as running:
            runner = Runner(options, running, directory, descriptors)
            runner.run(chosen, classes)
    except KeyboardInterrupt:
        raise SystemExit("\ninterrupted; nothing has been written") from None
    finally:
        if options.keep:
            print(f"configurations and logs are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    described["minutes"] = round((time.monotonic() - start) / 60, 1)
    settings = {"rounds": options.rounds, "seconds": options.seconds, "full": options.full}
    good = report.write(options.out, described, settings, chosen, classes, runner.slices, runner.left_out)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
