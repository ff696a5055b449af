//! What the system says of name servers: `/etc/resolv.conf`, read again when it has changed.
//!
//! The file is rewritten under a process that runs for months: by a new DHCP lease, a VPN, a restarted container. It is
//! looked at before a question, at most every few seconds, and compared by its contents, for a file that is replaced or
//! mounted over shows that in neither its time nor its inode for sure. Reading it is one small read of this thread, as it
//! is for the hosts file. What cannot be used (half written, gone for a moment) changes nothing: what was last good
//! holds. Where `[gateway.dns]` names servers, the file is read at the start alone, for its search list.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;

use super::client::QUESTIONS_MOST;
use crate::base::time::Instant;
use crate::config::DnsConfig;

/// Where the system's configuration is.
pub(super) const PATH: &str = "/etc/resolv.conf";

/// How often it is looked at, at most.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// How long the file may be.
const SIZE_MOST: u64 = 64 * 1024;

/// How questions are asked, according to one version of the file.
#[derive(Debug)]
pub(super) struct Setup {
    /// Who asks.
    pub(super) resolver: TokioResolver,
    /// What is appended to names.
    pub(super) search: Vec<Name>,
    /// Names with so many dots are first tried as they are.
    pub(super) ndots: usize,
    /// Who is asked.
    servers: Vec<IpAddr>,
}

/// The file, and what it comes to.
#[derive(Debug)]
pub(super) struct System {
    path: PathBuf,
    config: DnsConfig,
    /// What was found there when it was last looked at.
    found: Result<Vec<u8>, String>,
    every: Duration,
    next: Instant,
    pub(super) setup: Arc<Setup>,
}

impl System {
    /// Reads the file at `path`, which is then looked at after each time of `every`. Must be called on a runtime of
    /// tokio.
    ///
    /// # Errors
    /// When hickory cannot work with the configuration.
    pub(super) fn new(path: &Path, every: Duration, config: &DnsConfig, now: Instant) -> Result<System, NetError> {
        let found = read(path);
        let parsed = parse(&found).unwrap_or_else(|error| {
            if config.servers.is_empty() {
                // What resolv.conf(5) says of a machine without that file.
                let (path, advice) = (path.display(), "write [gateway.dns] servers = [...] to ask others");
                tracing::warn!("{path} names no servers, so 127.0.0.1 is asked: {error}; {advice}");
            }
            let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
            (ResolverConfig::from_name_servers(vec![server(local)]), ResolverOpts::default())
        });
        let setup = Arc::new(Setup::new(parsed, config)?);
        let next = if config.servers.is_empty() { now + every } else { Instant::NEVER };
        Ok(System { path: path.into(), config: config.clone(), found, every, next, setup })
    }

    /// How to ask a question now.
    pub(super) fn setup(&mut self, now: Instant) -> Arc<Setup> {
        if now >= self.next {
            self.next = now + self.every;
            let found = read(&self.path);
            if found != self.found {
                self.found = found;
                self.renew();
            }
        }
        self.setup.clone()
    }

    /// Takes what was found, if it is of use.
    fn renew(&mut self) {
        let path = self.path.display();
        let renewed =
            parse(&self.found).and_then(|parsed| Setup::new(parsed, &self.config).map_err(|error| error.to_string()));
        match renewed {
            Ok(setup) => {
                let servers: Vec<String> = setup.servers.iter().map(ToString::to_string).collect();
                tracing::info!(servers = servers.join(" "), "{path} has changed, and holds from now on");
                self.setup = Arc::new(setup);
            }
            Err(error) => {
                tracing::warn!(
                    "{path} has changed, and is of no use: {error}; what it said before stays in use; mend it, or write `servers` in [gateway.dns]"
                );
            }
        }
    }
}

impl Setup {
    fn new(parsed: (ResolverConfig, ResolverOpts), config: &DnsConfig) -> Result<Setup, NetError> {
        let (system, mut options) = parsed;
        let (domain, mut search, mut servers) = system.into_parts();
        if search.is_empty() {
            search.extend(domain);
        }
        if !config.servers.is_empty() {
            servers = config.servers.iter().map(|address| server(*address)).collect();
        }
        options.timeout = config.timeout;
        // hickory counts what comes after the first.
        options.attempts = config.attempts.max(1) - 1;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.max_active_requests = QUESTIONS_MOST;
        let ndots = options.ndots;
        let addresses = servers.iter().map(|server| server.ip).collect();
        let servers = ResolverConfig::from_name_servers(servers);
        let builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build()?;
        Ok(Setup { resolver, search, ndots, servers: addresses })
    }
}

/// The contents of the file, or why there are none.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        // Opening a pipe would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut contents = Vec::new();
        let length = File::open(path)?.take(SIZE_MOST + 1).read_to_end(&mut contents)?;
        if length as u64 > SIZE_MOST {
            return Err(io::Error::other("it is longer than 64 KiB"));
        }
        Ok(contents)
    };
    read().map_err(|error| error.to_string())
}

fn parse(found: &Result<Vec<u8>, String>) -> Result<(ResolverConfig, ResolverOpts), String> {
    let contents = found.as_ref().map_err(Clone::clone)?;
    parse_resolv_conf(contents).map_err(|error| error.to_string())
}

/// A name server that is asked over UDP, and over TCP where that is not enough.
fn server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A place for a file of its own, which goes with it.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Place {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            Place(std::env::temp_dir().join(format!("tidegate-resolv-{}-{number}.conf", std::process::id())))
        }

        fn write(&self, text: &str) {
            fs::write(&self.0, text).unwrap();
        }

        fn system(&self, config: &DnsConfig) -> System {
            System::new(&self.0, EVERY, config, Instant::ZERO).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
            let _ = fs::remove_dir(&self.0);
        }
    }

    /// Servers, search list and ndots.
    fn told(setup: &Setup) -> String {
        let all = |list: Vec<String>| list.join(" ");
        let servers = all(setup.servers.iter().map(ToString::to_string).collect());
        let search = all(setup.search.iter().map(ToString::to_string).collect());
        format!("{servers}; {search}; {}", setup.ndots)
    }

    const OLD: &str = "nameserver 10.0.0.1\nsearch one.test\n";
    const NEW: &str = "nameserver 10.0.0.2\nnameserver ::7\nsearch two.test three.test\noptions ndots:5\n";

    #[tokio::test]
    async fn a_change_holds_from_the_next_look_on() {
        let place = Place::new();
        place.write(OLD);
        let mut system = place.system(&DnsConfig::default());
        let first = system.setup(Instant::ZERO);
        assert_eq!(told(&first), "10.0.0.1; one.test; 1");
        place.write(NEW);
        let soon = Instant::ZERO + EVERY / 2;
        assert!(Arc::ptr_eq(&system.setup(soon), &first), "it is not looked at for every question");
        let then = Instant::ZERO + EVERY;
        let second = system.setup(then);
        assert_eq!(told(&second), "10.0.0.2 ::7; two.test three.test; 5");
        // As long as nothing changes, connections to servers are kept.
        place.write(NEW);
        assert!(Arc::ptr_eq(&system.setup(then + EVERY), &second));
        // A file in its place is seen as well, and so is one that was there before.
        let other = Place::new();
        other.write(OLD);
        fs::rename(&other.0, &place.0).unwrap();
        assert_eq!(told(&system.setup(then + EVERY * 2)), "10.0.0.1; one.test; 1");
    }

    #[tokio::test]
    async fn what_is_of_no_use_changes_nothing() {
        let place = Place::new();
        place.write(OLD);
        let mut system = place.system(&DnsConfig::default());
        let first = system.setup(Instant::ZERO);
        let mut now = Instant::ZERO;
        for broken in
            ["", "nameserver", "nameserver ns.example\n", "search two.test\n", "\0\u{ff}", &"# \n".repeat(30_000)]
        {
            now = now + EVERY;
            place.write(broken);
            assert!(Arc::ptr_eq(&system.setup(now), &first), "{broken:.40}");
        }
        fs::remove_file(&place.0).unwrap();
        assert!(Arc::ptr_eq(&system.setup(now + EVERY), &first), "it is gone");
        fs::create_dir(&place.0).unwrap();
        assert!(Arc::ptr_eq(&system.setup(now + EVERY * 2), &first), "it is a directory");
        fs::remove_dir(&place.0).unwrap();
        place.write(NEW);
        assert_eq!(system.setup(now + EVERY * 3).servers.len(), 2);
    }

    #[tokio::test]
    async fn without_a_file_this_machine_is_asked_until_there_is_one() {
        let place = Place::new();
        let mut system = place.system(&DnsConfig::default());
        assert_eq!(system.setup(Instant::ZERO).servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        place.write(OLD);
        assert_eq!(told(&system.setup(Instant::ZERO + EVERY)), "10.0.0.1; one.test; 1");
    }

    #[tokio::test]
    async fn where_servers_are_configured_the_file_is_not_looked_at_again() {
        let place = Place::new();
        place.write(OLD);
        let servers = vec![SocketAddr::from(([10, 0, 0, 9], 5353))];
        let mut system = place.system(&DnsConfig { servers, ..DnsConfig::default() });
        place.write(NEW);
        let long = Duration::from_secs(365 * 24 * 3600);
        assert_eq!(told(&system.setup(Instant::ZERO + long)), "10.0.0.9; one.test; 1");
    }
}
