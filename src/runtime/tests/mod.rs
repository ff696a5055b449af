//! The conformance suite: what every driver has to do, checked on each.

mod smoke;

use std::net::SocketAddr;
use std::time::Duration;

use super::{Choice, DriverKind, Handle, Listener, Network, Options, Runtime, bind};

/// Runs `test` on every driver that this machine has; all three, or the test fails.
fn on_every_driver(test: impl Fn(&Runtime)) {
    for kind in [DriverKind::Epoll, DriverKind::Memory, DriverKind::IoUring] {
        let runtime = runtime(kind, &Options::default());
        assert_eq!(runtime.driver_kind(), kind);
        test(&runtime);
    }
}

/// A runtime on the driver `kind`.
fn runtime(kind: DriverKind, options: &Options) -> Runtime {
    let driver = match kind {
        DriverKind::Memory => {
            let latency = Duration::ZERO..Duration::from_micros(50);
            return Runtime::in_memory(Network { latency, ..Network::default() }, options.buffers);
        }
        DriverKind::Epoll => Choice::Epoll,
        DriverKind::IoUring => Choice::IoUring,
    };
    Runtime::new(&Options { driver, ..*options }).expect("the driver is there").0
}

/// A listener and its address on any driver.
fn listen(handle: &Handle) -> (Listener, SocketAddr) {
    let fixed = SocketAddr::from(([127, 0, 0, 1], 80));
    if let Ok(listener) = handle.listen_in_memory(fixed) {
        return (listener, fixed);
    }
    let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = bound.address().expect("bound");
    (handle.listen(bound).expect("adopted"), address)
}
