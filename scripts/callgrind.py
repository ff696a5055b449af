"""What the scripts that count instructions share: starting a program under callgrind, and reading what it has counted.

As a program, `callgrind.py COMMAND...` is the command with its auxiliary vector hidden.
"""
import ctypes
import os
import platform
import re
import struct
import sys
from collections import Counter


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]


def hide_auxiliary_vector():
    """Lets prctl(PR_GET_AUXV) fail, so that it is read from /proc.

    valgrind takes the vDSO away and says so in its own /proc/self/auxv; the kernel still says where it was, and who
    believes that crashes.
    """
    call = {"x86_64": 157, "aarch64": 167}[platform.machine()]
    load, jump_if_equal, give = 0x20, 0x15, 0x06
    allow, fail_with_einval, get_auxv = 0x7FFF0000, 0x00050016, 0x41555856
    instructions = [
        (load, 0, 0, 0),  # the number of the call
        (jump_if_equal, 0, 3, call),
        (load, 0, 0, 16),  # its first argument
        (jump_if_equal, 0, 1, get_auxv),
        (give, 0, 0, fail_with_einval),
        (give, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = Filter(len(instructions), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    assert libc.prctl(set_no_new_privileges, 1, 0, 0, 0) == 0
    assert libc.prctl(set_seccomp, mode_filter, ctypes.byref(program), 0, 0) == 0


NAMED = re.compile(r"(c?(?:fl|fi|fe|fn|ob))=\((\d+)\)(?: (.*))?$")


def read_profile(text, place):
    """Adds up what callgrind has written: a Counter of instructions by place.

    `place(file, line, home, symbol)` names where a line of code is, which has become a part of the function `symbol` in
    the file `home`. Only what is executed there counts, not what is called from there.
    """
    names, costs = {}, Counter()
    file, line, home, symbol = "???", 0, "???", "???"
    is_call, summary = False, None
    for row in text.splitlines():
        if named := NAMED.match(row):
            key, number, name = named.groups()
            # Files and functions are numbered each for themselves, whether they call or are called.
            kind = "file" if key[-2:] in ("fl", "fi", "fe") else key[-2:]
            if name is not None:
                names[kind, number] = name
            if key in ("fl", "fi", "fe"):
                file = names[kind, number]
                home = file if key == "fl" else home
            elif key == "fn":
                symbol = names[kind, number]
        elif row.startswith("calls="):
            is_call = True
        elif row[:1] in set("0123456789+-*"):
            position, _, cost = row.partition(" ")
            line = line if position == "*" else line + int(position) if position[0] in "+-" else int(position)
            if cost and not is_call:
                costs[place(file, line, home, symbol)] += int(cost)
            is_call = False
        elif row.startswith(("summary:", "totals:")) and summary is None:
            summary = int(row.split()[1])
    total = sum(costs.values())
    if not summary or total != summary:
        raise ValueError(f"callgrind says {summary} instructions in all, and {total} line by line")
    return costs


HASH = re.compile(r"(::h[0-9a-f]{16})?(\.llvm\.\d+)?$")
CLOSURE = re.compile(r"::\{\{?closure[^{}]*\}\}?")


def fold(symbol):
    """One name for all forms that the compiler has made of a generic function, and for what is inside of it."""
    symbol = HASH.sub("", CLOSURE.sub("", symbol))
    folded, depth = [], 0
    for at, character in enumerate(symbol):
        if character == "<" and (depth or re.search(r"\w(::)?$", symbol[:at])):
            if not depth and symbol[:at].endswith("::"):
                del folded[-2:]
            depth += 1
        elif character == ">" and depth and symbol[at - 1] != "-":
            depth -= 1
        elif not depth:
            folded.append(character)
    return "".join(folded)


FUNCTION = re.compile(r'( *)(?:pub(?:\([^)]*\))? )?(?:(?:const|async|unsafe|extern "C") )*fn (\w+)')
IMPLEMENTATION = re.compile(r"( *)(?:unsafe )?impl\b(.*)")


class Source:
    """A Rust file, as far as it is to be known in which function a line is."""

    def __init__(self, text):
        lines = text.splitlines()
        self.functions = []  # (first line, last line, name), in their order
        implementations = []
        for number, line in enumerate(lines, 1):
            if found := IMPLEMENTATION.match(line):
                end = block_end(lines, number, found[1])
                implementations.append((number, end, type_name(found[2])))
            elif found := FUNCTION.match(line):
                inside = [name for first, last, name in implementations if first <= number <= last]
                name = "::".join(inside[-1:] + [found[2]])
                self.functions.append((number, block_end(lines, number, found[1]), name))

    def function(self, line):
        """The name of the innermost function at this line."""
        inside = [name for first, last, name in self.functions if first <= line <= last]
        return inside[-1] if inside else None


def block_end(lines, number, indent):
    """The last line of the item that begins there: as rustfmt writes it, the first brace that closes at its indent."""
    first = lines[number - 1].rstrip()
    if first.endswith(("}", ";")):
        return number
    for later in range(number, len(lines)):
        if lines[later].startswith(indent + "}"):
            return later + 1
    return len(lines)


def type_name(header):
    """`Reader` of `<'a> fmt::Debug for Reader<'a> {`."""
    before, header = None, header.rstrip("{ ").replace("->", "")
    while before != header:
        before, header = header, re.sub(r"<[^<>]*>", "", header)
    words = header.split(" where ")[0].split(" for ")[-1].strip(" &")
    return words.split("::")[-1]


class Sources:
    """Names places by the sources of a tree: what is written there by its file and its function, also where the compiler
    has put it into another one. What others have written, such as the standard library, is a part of the function that
    it was put into, wherever that is."""

    def __init__(self, root, read):
        self.root, self.read, self.known, self.places = os.path.join(root, ""), read, {}, {}

    def place(self, *where):
        found = self.places.get(where)
        if found is None:
            found = self.places[where] = self.find(*where)
        return found

    def find(self, file, line, home, symbol):
        if function := self.function(file, line):
            return function
        symbol = fold(symbol)
        return f"{home.removeprefix(self.root)} {short(symbol)}" if home.startswith(self.root) else symbol

    def function(self, file, line):
        """The function in the tree where this line is; None if there is none."""
        if not file.startswith(self.root):
            return None
        path = file.removeprefix(self.root)
        if path not in self.known:
            self.known[path] = Source(self.read(path) or "")
        name = self.known[path].function(line)
        return name and f"{path} {name}"


def short(symbol):
    """A symbol without its modules, as [`Source`] names a function: `B::c` of `a::B::c` and of `<a::B as d::E>::c`."""
    symbol = re.sub(r"^<&?(?:mut )?(.*) as .*>::", r"\1::", symbol)
    *_, owner, name = ["", *symbol.split("::")]
    return f"{owner}::{name}" if owner[:1].isupper() else name


if __name__ == "__main__":
    hide_auxiliary_vector()
    os.execvp(sys.argv[1], sys.argv[1:])
