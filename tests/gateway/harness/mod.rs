//! What the tests of the gateway stand on: a real gateway in this process, an
//! origin that does exactly what it is told, and clients that see every byte.
//!
//! ```ignore
//! let origin = Origin::start().reply("/a", 200, "hello");
//! let gateway = Gateway::from(include_str!("../../config/examples/minimal.toml"))
//!     .service("app", origin.address())
//!     .start();
//! assert_eq!(gateway.get("/a").status, 200);
//! ```
//!
//! Nothing sleeps: what has to be waited for is a blocking read with a time
//! limit, or [`eventually`].

mod client;
mod directory;
mod gate;
mod gateway;
pub(crate) mod message;
mod origin;

pub(crate) use client::Client;
pub(crate) use directory::Directory;
pub(crate) use gate::Gate;
pub(crate) use gateway::{Boot, Gateway, unused_address};
pub(crate) use message::Response;
pub(crate) use origin::{Conversation, Origin};
pub(crate) use tidegate::config::Driver;
pub(crate) use tidegate::observe::counters::Counter;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tidegate::runtime::{Choice, Options, Runtime};

/// How long a test waits for what must come. It is long, for it is used up
/// only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Does `what` again for as long as it is interrupted. A call with a time limit is, whenever the process was stopped for
/// a moment.
pub(crate) fn uninterrupted<T>(mut what: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match what() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Lets `time` pass, where that is what the test is about.
pub(crate) fn pass(time: Duration) {
    let begun = Instant::now();
    eventually("some time", || begun.elapsed() > time);
}

/// Runs `test` on epoll, and on io_uring where the kernel lets us.
pub(crate) fn on_both_drivers(test: impl Fn(Driver)) {
    test(Driver::Epoll);
    if has_io_uring() {
        test(Driver::IoUring);
    }
}

/// Whether this machine has io_uring; without it the tests pass on epoll alone.
pub(crate) fn has_io_uring() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| Runtime::new(&Options { driver: Choice::IoUring, ..Options::default() }).is_ok())
}
