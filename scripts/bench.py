#!/usr/bin/env python3
"""Instructions of every case in bench/, compared with those of the commit before.

Both commits are built by the same compiler, one after the other in the same place, so that what they have in common is
compiled once and is the same; each with its own benches. A commit that was built before, by this compiler and with these
flags, is not built again. Every case then runs under callgrind, which counts what is
executed in user space: two runs of the same binary differ by 0.02 % at most, whatever else the machine is doing.

A case that takes over 3 % more fails, and the functions are named that grew. Where that is meant, the commit says so, in a
line at the end of its message with the case, or a pattern such as `head/*`, and the reason:

  Instructions: head/parse/* Two fields with the same name are refused now.

The same is asked of a case that is gone. Some cases are bounded by others of the same commit, whatever was before: ten
thousand routes may not cost much more than one, nor the access log much more than none.

With changes that are not committed, these are compared with the last commit; otherwise the commit with its (first) parent.

usage: bench.py [--base REV] [--only PATTERN] [--all]
"""
import argparse
import fnmatch
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import callgrind

# What a case may take more, as a part of what it took.
LIMIT = 0.03

# What a case may take at most, as a part of what another takes.
BOUNDS = [
    ("request/browser_10000_routes", "request/browser", 1.05),
    ("request/browser", "request/browser_without_log", 1.04),
]

# How many functions are named of a case.
NAMED = 5

# All that goes into the binary.
BUILT = ["src", "bench", "Cargo.toml", "Cargo.lock"]

# Where the cases are: a commit without it has none.
PROGRAM = "bench/src/main.rs"

# The function in it that callgrind collects in.
MEASURED = "*instructions::measured*"

# No case takes as long, in seconds.
PATIENCE = 600


class Failure(Exception):
    """Something that must be there is not, and what."""


@dataclass
class Measured:
    """What one iteration of a case costs: instructions in all, and by function."""

    total: float
    functions: dict = field(default_factory=dict)


@dataclass
class Verdict:
    """What has become of a case: `before` and `after` are None where it is new, or gone."""

    name: str
    before: Measured | None
    after: Measured | None
    reason: str | None = None

    @property
    def change(self):
        """How much more it takes now, as a part of what it took."""
        if self.before is None or self.after is None:
            return 0.0
        return self.after.total / self.before.total - 1

    @property
    def is_worse(self):
        return self.change > LIMIT

    @property
    def is_gone(self):
        return self.after is None

    @property
    def fails(self):
        return (self.is_worse or self.is_gone) and self.reason is None

    def grown(self):
        """The functions that take more now, those with most of it first: name, before, after. What is no part of the
        whole to speak of is left out."""
        before, after = self.before.functions, self.after.functions
        both = [(name, before.get(name, 0.0), after.get(name, 0.0)) for name in sorted(before.keys() | after.keys())]
        least = (self.after.total - self.before.total) / 100
        grown = [row for row in both if row[2] - row[1] >= least]
        return sorted(grown, key=lambda row: row[1] - row[2])[:NAMED]


def compare(before, after, meant):
    """Verdicts in the order of the cases now, then those of cases that are gone. `meant` are patterns with reasons."""
    verdicts = [Verdict(name, before.get(name), now) for name, now in after.items()]
    verdicts += [Verdict(name, was, None) for name, was in before.items() if name not in after]
    for verdict in verdicts:
        reasons = [reason for pattern, reason in meant if fnmatch.fnmatchcase(verdict.name, pattern)]
        verdict.reason = reasons[0] if reasons else None
    return verdicts


def check_bounds(results):
    """What is said of the bounds that can be checked, as lines, and whether all of them hold."""
    lines, hold = [], True
    for name, other, most in BOUNDS:
        if name in results and other in results:
            ratio = results[name].total / results[other].total
            holds = ratio <= most
            hold = hold and holds
            lines.append(f"{name} takes {ratio:.3f} of {other}, and may take {most}{'' if holds else ': too much'}")
    return lines, hold


def read_meant(trailers):
    """Patterns and reasons of the lines `PATTERN reason`; a line without a reason excuses nothing."""
    rows = [line.split(maxsplit=1) for line in trailers.splitlines()]
    return [(row[0], row[1].strip()) for row in rows if len(row) == 2]


def report(verdicts, show_all=False):
    """What is said of the verdicts, as lines."""
    width = max([len(verdict.name) for verdict in verdicts], default=0)
    lines = [f"{'instructions an iteration':{width}}  {'before':>11} {'now':>11} {'change':>8}"]
    for verdict in verdicts:
        figures = [f"{side.total:11.1f}" if side else f"{'-':>11}" for side in (verdict.before, verdict.after)]
        if verdict.before is None or verdict.after is None:
            said = f"{'new' if verdict.before is None else 'gone':>8}"
        else:
            said = f"{verdict.change:+8.2%}"
        faulty = verdict.is_worse or verdict.is_gone
        mark = ("  why?" if verdict.is_gone else "  worse") if verdict.fails else ""
        mark = mark or (f"  meant: {verdict.reason}" if faulty else "")
        if mark or show_all or verdict.before is None or verdict.after is None or abs(verdict.change) >= 0.0005:
            lines.append(f"{verdict.name:{width}}  {' '.join(figures)} {said}{mark}")
    same = len(verdicts) - len(lines) + 1
    if same:
        lines.append(f"{same} cases of {len(verdicts)} take what they took.")
    for verdict in verdicts:
        if verdict.is_worse:
            lines += ["", f"{verdict.name} takes {verdict.change:.1%} more. What grew, by itself and without what it calls:"]
            rows = verdict.grown()
            longest = max([len(name) for name, _, _ in rows], default=0)
            lines += [f"  {name:{longest}}  {was:11.1f} -> {now:11.1f}" for name, was, now in rows]
    failed = [verdict.name for verdict in verdicts if verdict.fails]
    if failed:
        lines += [
            "",
            f"{len(failed)} of {len(verdicts)} cases take over {LIMIT:.0%} more, or are gone. Make them cheaper; if it is meant,"
            " say so at the end of the commit's message:",
            f"  Instructions: {failed[0]} REASON",
        ]
    return lines


def git(*arguments, check=True):
    done = subprocess.run(["git", *arguments], capture_output=True)
    if done.returncode != 0:
        if check:
            raise Failure(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return None
    return done.stdout


def commit_of(revision):
    found = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False)
    return found.decode().strip() if found else None


def tree_of_commit(commit):
    """The files of a commit: their contents by path."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit))) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def tree_of_directory(root):
    """The files of the working tree that are, or are about to be, under version control."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0")
    return {path: (root / path).read_bytes() for path in listed if path and (root / path).is_file()}


def lay_out(tree, place):
    """Makes `place` hold these files and no others. Those that stay as they are keep their times, for cargo goes by
    them."""
    present = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    for path in present - tree.keys():
        (place / path).unlink()
        for parent in (place / path).parents:
            if parent == place or any(parent.iterdir()):
                break
            parent.rmdir()
    for path, content in tree.items():
        file = place / path
        if path not in present or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def build(place, target, copy):
    """Builds the program of the tree at `place`, and copies it."""
    # Incremental, so that the second build compiles only what differs from the first, whatever CI says of its own.
    environment = {**os.environ, "CARGO_INCREMENTAL": "1", "CARGO_TARGET_DIR": str(target)}
    command = ["cargo", "build", "--locked", "--profile", "instructions", "--package", "bench", "--bin", "instructions"]
    if subprocess.run(command, cwd=place, env=environment).returncode != 0:
        raise Failure(f"the benches do not build: {' '.join(command)} in {place}")
    shutil.copy2(target / "instructions" / "instructions", copy)


class Side:
    """One of the two that are compared."""

    def __init__(self, name, tree, work):
        self.name, self.tree, self.work = name, tree, work
        # Their names are equally long: where the stack begins depends on that of the program.
        self.program = work / name
        read = lambda path: tree.get(path, b"").decode(errors="replace")
        self.sources = callgrind.Sources(str(work / "tree"), read)

    def cases(self):
        """The cases that are counted, and how many iterations of each."""
        done = subprocess.run([self.program, "list"], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"{self.program} list: {done.stderr.strip()}")
        rows = [line.split() for line in done.stdout.splitlines()]
        return {name: int(iterations) for name, iterations in rows}

    def measure(self, case, iterations):
        """What one iteration of a case costs."""
        output = self.work / "profiles" / self.name / f"{case.replace('/', '.')}.out"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.unlink(missing_ok=True)
        tool = ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={MEASURED}"]
        command = [sys.executable, callgrind.__file__, *tool, f"--callgrind-out-file={output}", self.program, case]
        # Of the environment only what is needed: it lies on the stack. Symbols are bound at the start, where they do not
        # count, and the allocator gives nothing back to the system, which it would do by the clock.
        environment = {"PATH": os.environ["PATH"], "LD_BIND_NOW": "1", "MIMALLOC_PURGE_DELAY": "-1"}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"the case {case} takes over {PATIENCE} s under callgrind") from None
        if done.returncode != 0 or not output.exists():
            raise Failure(f"the case {case} fails under callgrind with status {done.returncode}:\n{done.stderr}")
        try:
            costs = callgrind.read_profile(output.read_text(errors="replace"), self.sources.place)
        except ValueError as error:
            raise Failure(f"{output}: {error}; is `measured` in {PROGRAM} still a function of its own?") from None
        functions = {name: cost / iterations for name, cost in costs.items()}
        return Measured(sum(functions.values()), functions)


def measure_all(sides, only):
    """What the cases of both sides cost, as many at a time as there are cores."""
    cases = {side.name: {name: n for name, n in side.cases().items() if fnmatch.fnmatchcase(name, only)} for side in sides}
    results = {side.name: {} for side in sides}
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        begun = [(side.name, case, pool.submit(side.measure, case, n)) for side in sides for case, n in cases[side.name].items()]
        try:
            for side, case, running in begun:
                results[side][case] = running.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def program_of_commit(side, commit, target):
    """Builds the program of a commit, unless it was the last one that was, by this compiler."""
    compiler = subprocess.run(["rustc", "--version", "--verbose"], capture_output=True, text=True).stdout
    flags = os.environ.get("RUSTFLAGS", "")
    mark, marked = side.program.with_suffix(".built"), f"{commit}\n{compiler}\n{flags}"
    if side.program.exists() and mark.exists() and mark.read_text() == marked:
        return
    mark.unlink(missing_ok=True)
    lay_out(side.tree, side.work / "tree")
    build(side.work / "tree", target, side.program)
    mark.write_text(marked)


def run(options):
    root = Path(git("rev-parse", "--show-toplevel").decode().strip())
    os.chdir(root)
    is_changed = bool(git("status", "--porcelain", "--untracked-files=all", "--", *BUILT).strip())
    revision = options.base or ("HEAD" if is_changed else "HEAD^")
    base = commit_of(revision)
    if base is None:
        if options.base:
            raise Failure(f"there is no revision {options.base}")
        is_shallow = git("rev-parse", "--is-shallow-repository").decode().strip() == "true"
        more = "; it is a shallow one, and `git fetch --deepen 1` brings the parent" if is_shallow else ""
        print(f"instructions: NOT COMPARED, for there is no {revision} in this clone{more}")
        return 0
    name = git("log", "-1", "--format=%h %s", base).decode().strip()
    if git("cat-file", "-e", f"{base}:{PROGRAM}", check=False) is None:
        print(f"instructions: nothing to compare with: there are no cases in {name}")
        return 0
    if not is_changed and git("diff", "--quiet", base, "HEAD", "--", *BUILT, check=False) is not None:
        print(f"instructions: nothing that is built differs from {name}")
        return 0
    print(f"instructions: {'the working tree' if is_changed else 'this commit'} compared with {name}", flush=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or root / "target").absolute()
    work = target / "compared"
    work.mkdir(parents=True, exist_ok=True)
    before = Side("base", tree_of_commit(base), work)
    after = Side("head", tree_of_directory(root), work)
    begun = time.monotonic()
    program_of_commit(before, base, target)
    lay_out(after.tree, work / "tree")
    build(work / "tree", target, after.program)
    built = time.monotonic()
    results = measure_all([before, after], options.only)
    trailers = git("log", "--format=%(trailers:key=Instructions,valueonly,unfold)", f"{base}..HEAD").decode()
    verdicts = compare(results["base"], results["head"], read_meant(trailers))
    print("\n".join(report(verdicts, options.all)))
    bounds, hold = check_bounds(results["head"])
    print("\n".join(bounds))
    print(f"instructions: built in {built - begun:.0f} s, counted in {time.monotonic() - built:.0f} s")
    return 1 if any(verdict.fails for verdict in verdicts) or not hold else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="compare with this revision")
    parser.add_argument("--only", default="*", help="cases of this pattern, such as 'head/*'")
    parser.add_argument("--all", action="store_true", help="show also the cases that take what they took")
    options = parser.parse_args()
    try:
        return run(options)
    except Failure as failure:
        print(f"instructions: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
