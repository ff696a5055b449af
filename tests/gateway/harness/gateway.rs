//! The gateway under test: the real one, from a real file, on free ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use tidegate::config::{Config, Driver};
use tidegate::control::reload::Outcome;
use tidegate::net::Address;
use tidegate::observe::counters::{Counter, sum};
use tidegate::pipeline::Reject;
use tidegate::shard::Shared;
use tidegate::upstream::targets::TargetConfig;

use super::{Client, Response};

/// A gateway that is about to start.
pub(crate) struct Boot {
    config: Config,
}

/// A gateway that runs; it drains and ends when it is dropped.
pub(crate) struct Gateway {
    running: Option<tidegate::gateway::Gateway>,
    shared: Arc<Shared>,
    listeners: Vec<(String, SocketAddr)>,
    admin: Option<Address>,
}

impl Gateway {
    /// The gateway of a configuration file with this text.
    ///
    /// It has one worker, free ports and a short drain; services that the test does not name
    /// lead to a port where nobody listens.
    pub(crate) fn from(text: &str) -> Boot {
        let mut config = Config::parse("test.toml", text).unwrap_or_else(|faults| panic!("{faults}"));
        config.use_free_ports();
        config.gateway.workers = 1;
        // Nobody waits for requests that a test has left behind.
        config.gateway.drain_timeout = Duration::from_millis(100);
        let names: Vec<String> = config.services.iter().map(|service| service.name.get_ref().clone()).collect();
        for name in names {
            config.set_target(&name, unused_address());
        }
        Boot { config }
    }

    /// Where clients connect: the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listeners[0].1
    }

    /// Where the listener called `name` is.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.listeners.iter().find(|(other, _)| other == name).expect("a listener of the file").1
    }

    /// Where operators connect.
    pub(crate) fn admin(&self) -> SocketAddr {
        match &self.admin {
            Some(Address::Tcp(address)) => *address,
            other => panic!("the admin listener is at {other:?}"),
        }
    }

    /// A connection to the first listener.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// The answer to a GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Response {
        self.request(format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    }

    /// The answer to these bytes on a connection of its own.
    pub(crate) fn request(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect();
        client.send(bytes);
        client.response()
    }

    /// A counter, over all workers.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        sum(&self.shared.counters, counter)
    }

    /// How often requests were refused with this code, over all workers.
    pub(crate) fn refused(&self, code: &str) -> u64 {
        let causes = Reject::causes().filter(|(_, other)| *other == code);
        causes.flat_map(|(cause, _)| self.shared.counters.iter().map(move |worker| worker.refused(cause))).sum()
    }

    /// Makes another configuration run.
    pub(crate) fn reload(&self, boot: Boot) -> Outcome {
        self.running().reload(&boot.config)
    }

    /// Where the listener called `name` is now, if there is one.
    pub(crate) fn listener_now(&self, name: &str) -> Option<SocketAddr> {
        self.running().address(name)
    }

    /// The gateway itself.
    pub(crate) fn running(&self) -> &tidegate::gateway::Gateway {
        self.running.as_ref().expect("it runs")
    }

    /// Begins to drain.
    pub(crate) fn drain(&self) {
        self.running().drain();
    }

    /// Waits for the end of all threads.
    pub(crate) fn join(mut self) {
        self.running.take().expect("it runs").join().expect("no thread of the gateway crashes");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.drain();
            let ended = running.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a thread of the gateway crashed");
        }
    }
}

impl Boot {
    /// Sends the service called `name` to `target`.
    pub(crate) fn service(mut self, name: &str, target: SocketAddr) -> Boot {
        assert!(self.config.set_target(name, target), "there is no service {name}");
        self
    }

    /// Sends a service to these targets, each with the same weight.
    pub(crate) fn targets(mut self, name: &str, targets: &[SocketAddr]) -> Boot {
        let service = self.config.services.iter_mut().find(|service| service.name.get_ref() == name);
        let service = service.unwrap_or_else(|| panic!("no service {name}"));
        let place = service.name.span();
        service.targets = targets.iter().map(|target| TargetConfig::at(*target, place.clone())).collect();
        self
    }

    /// Sends every service to `target`.
    pub(crate) fn services(mut self, target: SocketAddr) -> Boot {
        let names: Vec<String> = self.config.services.iter().map(|service| service.name.get_ref().clone()).collect();
        for name in &names {
            self.config.set_target(name, target);
        }
        self
    }

    /// Runs with so many workers.
    pub(crate) fn workers(mut self, workers: usize) -> Boot {
        self.config.gateway.workers = workers;
        self
    }

    /// Runs on this driver.
    pub(crate) fn driver(mut self, driver: Driver) -> Boot {
        self.config.gateway.driver = driver;
        self
    }

    /// Changes what the file says, such as a limit that would take the test too long.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Boot {
        change(&mut self.config);
        self
    }

    /// The configuration as it would be started.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Starts it; every worker is ready when this returns.
    pub(crate) fn start(self) -> Gateway {
        let running = tidegate::gateway::Gateway::start(&self.config).expect("the gateway starts");
        let listeners = running.addresses().into_iter().map(|(name, address)| (name.into_string(), address)).collect();
        let (shared, admin) = (running.shared().clone(), running.admin_address().cloned());
        Gateway { running: Some(running), shared, listeners, admin }
    }
}

/// An address where nobody listens, and nobody will: a socket of ours has it, for as long as the tests run.
pub(crate) fn unused_address() -> SocketAddr {
    static TAKEN: OnceLock<(OwnedFd, SocketAddr)> = OnceLock::new();
    let take = || {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = rustix::net::getsockname(&socket).expect("it is bound");
        (socket, address.try_into().expect("an address of IPv4"))
    };
    TAKEN.get_or_init(take).1
}
