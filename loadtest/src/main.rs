//! The load generator and the comparison with peers.
//!
//! An empty shell for now: the generator (on monoio, a runtime independent of
//! the one under test) arrives with the peers comparison. It exits with an
//! error so that nobody mistakes it for a measurement.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut stderr = std::io::stderr();
    let _ = std::io::Write::write_all(
        &mut stderr,
        b"loadtest: not built yet; `make bench` runs the benchmarks there are\n",
    );
    ExitCode::FAILURE
}
