//! Tests of the real process with real programs.
//!
//! They start the built `tidegate`, put real backends behind it (nginx, a
//! Python server, an origin of their own where the timing matters) and real
//! clients before it (curl, wrk, Python, sockets). All of them listen on ports
//! that the kernel chose; the gateway tells its own in its log.
//!
//! With `TIDEGATE_SOAK_SECONDS` in the environment some of them grow: bodies of
//! 5 GB instead of 256 MiB, longer loads.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "all of this binary is tests")]

mod access_log;
mod backends;
mod bodies;
mod churn;
mod client;
mod clients;
mod commands;
mod demo;
mod descriptors;
mod dns;
mod fallback;
mod faults;
mod gateway;
mod idle;
mod load;
mod named;
mod openapi;
mod origin;
mod probe;
mod program;
mod prometheus;
mod proxy_protocol;
mod reload;
mod sandbox;
mod signals;
mod slow;
mod start;
mod targets;
mod upgrade;
mod websocket;

/// Makes a module for each kernel driver, with a test for each of the named functions, which take the driver's name.
///
/// Where the kernel refuses io_uring, the tests of that driver say so and pass: the gateway does not run on it there
/// either.
macro_rules! on_both_drivers {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        mod epoll {
            $($(#[$doc])* #[test] fn $name() { super::$name("epoll"); })+
        }

        mod io_uring {
            $($(#[$doc])* #[test] fn $name() {
                if crate::gateway::has_io_uring() {
                    super::$name("io_uring");
                }
            })+
        }
    };
}
pub(crate) use on_both_drivers;

/// Whether this is a long run, and so not a part of `make test`.
fn is_soak() -> bool {
    std::env::var_os("TIDEGATE_SOAK_SECONDS").is_some()
}
