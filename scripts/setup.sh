#!/usr/bin/env bash
# Makes sure that what a make target needs is on this machine, and installs
# what is missing: `scripts/setup.sh NEED...`. Quick and silent when all is
# there.
set -euo pipefail
cd "$(dirname "$0")/.."

# The version is part of the house style: another one may judge differently.
CARGO_DENY_VERSION=0.20.2

# Outside the clone, so that the next clone on this machine finds them.
TOOLS="${XDG_CACHE_HOME:-${HOME:-}/.cache}/tidegate/tools"
if ! mkdir -p "$TOOLS" 2>/dev/null || [ ! -w "$TOOLS" ]; then
    TOOLS="$PWD/.tools"
fi

# Where Debian's node-ws is.
DEBIAN_WS=/usr/share/nodejs/ws

say() { echo "setup: $*" >&2; }

# Debian keeps nginx, HAProxy and named in a directory that only root's PATH names.
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    elif have sudo && [ -t 0 ]; then
        sudo "$@"
    else
        return 1
    fi
}

# Until the given command ends, no package starts its service: we want
# programs to run in tests, not servers on port 80.
# Runs as root: bash -c "$(declare -f install_quietly); install_quietly NAME..."
install_quietly() {
    local policy=/usr/sbin/policy-rc.d ours=""
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        ours=yes
    fi
    export DEBIAN_FRONTEND=noninteractive
    local apt="apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300"
    local status=0
    # The package lists of a new machine are missing or stale.
    $apt install --no-install-recommends "$@" </dev/null ||
        { $apt update </dev/null && $apt install --no-install-recommends "$@" </dev/null; } || status=$?
    [ -z "$ours" ] || rm -f "$policy"
    case " $* " in *" caddy "*) systemctl disable caddy >/dev/null 2>&1 || true ;; esac
    case " $* " in *" bind9 "*) update-rc.d named disable >/dev/null 2>&1 || true ;; esac
    case " $* " in *" haproxy "*) update-rc.d haproxy disable >/dev/null 2>&1 || true ;; esac
    case " $* " in *" prometheus "*) update-rc.d prometheus disable >/dev/null 2>&1 || true ;; esac
    case " $* " in *" nginx-light "*) update-rc.d nginx disable >/dev/null 2>&1 || true ;; esac
    return "$status"
}

missing_packages=()

need_program() { # PROGRAM PACKAGE...
    local program=$1
    shift
    have "$program" || missing_packages+=("$@")
}

install_packages() {
    [ ${#missing_packages[@]} -gt 0 ] || return 0
    say "installing the packages ${missing_packages[*]}"
    if ! have apt-get; then
        say "this machine has no apt-get; install what these Debian packages hold: ${missing_packages[*]}"
        exit 1
    fi
    if ! as_root bash -c "$(declare -f install_quietly); install_quietly ${missing_packages[*]}" >&2; then
        say "could not install them. As root: apt-get install --no-install-recommends ${missing_packages[*]}"
        exit 1
    fi
}

need_rust() {
    if ! have cargo; then
        say "Rust is missing: install rustup (https://rustup.rs), then run this again"
        exit 1
    fi
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        say "adding rustfmt and clippy to the toolchain"
        rustup component add rustfmt clippy >&2
    fi
}

# Built without optimisation: that takes one minute instead of many, and a
# check takes a second either way.
need_cargo_deny() {
    local root="$TOOLS/cargo-deny-$CARGO_DENY_VERSION"
    if [ ! -x "$root/bin/cargo-deny" ]; then
        say "building cargo-deny $CARGO_DENY_VERSION, once for this machine (a minute or two)"
        local building="$root.$$"
        CARGO_NET_RETRY=5 cargo install --quiet --locked "cargo-deny@$CARGO_DENY_VERSION" --root "$building" \
            --debug --config profile.dev.debug=0 >&2
        rm -rf "$root"
        mv "$building" "$root"
    fi
    mkdir -p .tools
    ln -sfn "$root/bin/cargo-deny" .tools/cargo-deny
}

# npm's `ws`, of the version and with the hash that the lock file says; where there is no npm, Debian's package of it.
need_node_packages() {
    local of=tests/process/node root
    if ! have npm; then
        mkdir -p .tools/node-debian/node_modules
        ln -sfn "$DEBIAN_WS" .tools/node-debian/node_modules/ws
        ln -sfn node-debian .tools/node
        return
    fi
    root="$TOOLS/node-$(sha256sum "$of/package-lock.json" | cut -c1-16)"
    if [ ! -d "$root/node_modules/ws" ]; then
        say "installing the npm packages of $of"
        local building="$root.$$"
        mkdir -p "$building"
        cp "$of/package.json" "$of/package-lock.json" "$building"
        npm ci --prefix "$building" --ignore-scripts --no-audit --no-fund --no-update-notifier \
            --fetch-retries=5 >&2 </dev/null
        rm -rf "$root"
        mv "$building" "$root"
    fi
    mkdir -p .tools
    ln -sfn "$root" .tools/node
}

# Python packages, likewise, each list in an environment of its own: need_python_packages LIST MODULE ENVIRONMENT
need_python_packages() {
    local of=tests/process/python/$1 root
    root="$TOOLS/$3-$({ cat "$of" && python3 --version; } | sha256sum | cut -c1-16)"
    # What an environment was made of may have been removed since.
    if ! "$root/bin/python3" -c "import $2" >/dev/null 2>&1; then
        say "installing the Python packages of $of"
        rm -rf "$root"
        python3 -m venv "$root" >&2
        "$root/bin/python3" -m pip install --quiet --disable-pip-version-check --retries 5 --no-deps \
            --require-hashes --requirement "$of" >&2 </dev/null
    fi
    mkdir -p .tools
    ln -sfn "$root" ".tools/$3"
}

for need in "$@"; do
    case "$need" in
    rust) need_rust ;;
    caddy) need_program caddy caddy ;;
    cc) need_program cc gcc libc6-dev ;;
    cmake) need_program cmake cmake ;;
    curl) need_program curl curl ca-certificates ;;
    haproxy) need_program haproxy haproxy ;;
    make) need_program make make ;;
    named) need_program named bind9 ;;
    nginx) need_program nginx nginx-light ;;
    prometheus)
        need_program prometheus prometheus
        need_program promtool prometheus
        ;;
    node)
        need_program node nodejs
        # Debian's npm brings four hundred packages with it; its ws comes alone.
        have npm || [ -d "$DEBIAN_WS" ] || missing_packages+=(node-ws)
        ;;
    python3) need_program python3 python3 ;;
    valgrind) need_program valgrind valgrind libc6-dbg ;;
    schemathesis | websockets)
        need_program python3 python3
        # Debian has the part of Python that makes environments in a package of its own.
        python3 -c "import ensurepip, venv" >/dev/null 2>&1 || missing_packages+=(python3-venv)
        ;;
    wrk) need_program wrk wrk ;;
    cargo-deny) ;; # after the packages, for it needs a C compiler
    *)
        say "unknown need: $need"
        exit 2
        ;;
    esac
done
install_packages
case " $* " in *" cargo-deny "*) need_cargo_deny ;; esac
case " $* " in *" node "*) need_node_packages ;; esac
case " $* " in *" schemathesis "*) need_python_packages schemathesis.txt schemathesis schemathesis ;; esac
case " $* " in *" websockets "*) need_python_packages requirements.txt websockets python ;; esac
