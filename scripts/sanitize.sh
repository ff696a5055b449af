#!/usr/bin/env bash
# Runs the library's tests whose name contains FILTER under a memory checker:
# `scripts/sanitize.sh [FILTER]`, where FILTER is `runtime` when left out.
#
# AddressSanitizer where the toolchain carries its run time (rustup's
# x86_64-unknown-linux-gnu does, and RUSTC_BOOTSTRAP=1 lets a stable compiler
# use it), valgrind elsewhere. CHECKER=address or CHECKER=valgrind chooses.
set -euo pipefail
cd "$(dirname "$0")/.."
filter=${1:-runtime}
target=$(rustc -vV | sed -n 's/^host: //p')
directory="${CARGO_TARGET_DIR:-target}/sanitize"

if [ -z "${CHECKER:-}" ]; then
    library=$(find "$(rustc --print target-libdir)" -name 'librustc*_rt.asan.a' | head -n 1)
    CHECKER=valgrind
    [ -z "$library" ] || CHECKER=address
fi

case "$CHECKER" in
address)
    export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes"
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1}"
    ;;
valgrind)
    scripts/setup.sh valgrind
    upper=$(echo "$target" | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${upper}_RUNNER=valgrind --quiet --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite"
    ;;
*)
    echo "sanitize: CHECKER is address or valgrind, not $CHECKER" >&2
    exit 2
    ;;
esac

# Instrumenting optimised code takes the compiler four times as long.
export CARGO_PROFILE_TEST_OPT_LEVEL=0

echo "sanitize: the library's tests named *$filter*, under $CHECKER"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --locked --target "$target" --target-dir "$directory/$CHECKER" --lib "$filter" | tee "$log"
if grep -q '^test result: ok. 0 passed' "$log"; then
    echo "sanitize: no test is named *$filter*, so nothing was checked" >&2
    exit 1
fi
