//! Asks name servers, through hickory, and the hosts file.
//!
//! What the system's configuration says holds (see [`system`]): its name servers (unless others are configured), its
//! search list, its `ndots`, and `/etc/hosts`, which is read for every question. hickory does not cache, for then it and
//! not we would know the TTLs; it asks again over TCP where an answer was truncated.
//!
//! The search list is walked here and not by hickory, so that both families of an address come from the same name, and
//! so that a server that fails for one name does not lead to another: the next name is tried only where the one before
//! has no records.
//!
//! `localhost` and what is below it (RFC 6761 section 6.3) is never asked for. It is 127.0.0.1 alone: `::1` is the same
//! machine, and a service that listens at only one of them would lose every second request.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answers::{HostReply, Reply, SourceReply, Srv, first_group};
use super::counts::{Counts, Failure};
use super::system::{self, Setup, System};
use crate::base::time::Instant;
use crate::base::units::display_duration;
use crate::config::DnsConfig;
use crate::upstream::targets::TargetAddress;

/// Questions that are open at a time, each on a socket of its own.
pub(in crate::control) const QUESTIONS_MOST: usize = 64;

/// Targets of SRV records that are asked for.
const SRV_TARGETS_MOST: usize = 256;

/// What asks.
#[derive(Debug)]
pub(in crate::control) struct Client {
    system: Mutex<System>,
    permits: Semaphore,
    timeout: Duration,
    attempts: u32,
    counts: Arc<Counts>,
}

impl Client {
    /// Reads the system's configuration. Must be called on a runtime of tokio.
    ///
    /// # Errors
    /// When hickory cannot work with the configuration.
    pub(in crate::control) fn new(config: &DnsConfig, counts: Arc<Counts>) -> Result<Client, NetError> {
        let system = System::new(Path::new(system::PATH), system::EVERY, config, Instant::from_clock())?;
        Ok(Client::with(system, config, counts))
    }

    /// What asks as `system` says.
    fn with(system: System, config: &DnsConfig, counts: Arc<Counts>) -> Client {
        let attempts = u32::try_from(config.attempts).unwrap_or(1).max(1);
        let (system, permits) = (Mutex::new(system), Semaphore::new(QUESTIONS_MOST));
        Client { system, permits, timeout: config.timeout, attempts, counts }
    }

    /// How to ask a question now.
    fn setup(&self) -> Arc<Setup> {
        self.system.lock().unwrap_or_else(PoisonError::into_inner).setup(Instant::from_clock())
    }

    /// Counts a question that has ended in a panic.
    pub(in crate::control) fn count_panic(&self) {
        self.counts.failure(Failure::Internal);
    }

    /// Asks for all that is needed to know the endpoints of a target with a name.
    pub(in crate::control) async fn ask(self: Arc<Client>, target: &TargetAddress) -> SourceReply {
        let setup = self.setup();
        match target {
            TargetAddress::Srv(name) => self.ask_srv(setup, name).await,
            TargetAddress::Name { host, .. } => SourceReply::Host(self.ask_host(&setup, host).await),
            TargetAddress::Ip(_) | TargetAddress::Unix(_) => {
                let none = Reply::Absent("it has no name");
                SourceReply::Host(HostReply { v4: none.clone(), v6: none })
            }
        }
    }

    async fn ask_host(&self, setup: &Setup, host: &str) -> HostReply {
        if let Some(reply) = local(host) {
            return reply;
        }
        let candidates = match candidates(host, &setup.search, setup.ndots) {
            Ok(candidates) => candidates,
            Err(error) => return HostReply { v4: Reply::Failed(error.clone()), v6: Reply::Failed(error) },
        };
        let mut gone = Reply::Absent("NXDOMAIN");
        for name in candidates {
            let of = |kind| self.lookup(setup, &name, kind, ip);
            let (v4, v6) = (of(RecordType::A), of(RecordType::AAAA));
            match tokio::join!(v4, v6) {
                (Reply::Absent(why), Reply::Absent(other)) => {
                    if [why, other] != ["NXDOMAIN"; 2] {
                        gone = Reply::Absent("no records");
                    }
                }
                (v4, v6) => return HostReply { v4, v6 },
            }
        }
        self.count_absent(&gone);
        HostReply { v4: gone.clone(), v6: gone }
    }

    async fn ask_srv(self: Arc<Client>, setup: Arc<Setup>, name: &str) -> SourceReply {
        let reply = match candidates(name, &setup.search, setup.ndots) {
            Ok(candidates) => self.lookup_srv(&setup, candidates).await,
            Err(error) => Reply::Failed(error),
        };
        let Reply::Found(records, ttl) = reply else { return SourceReply::Srv(reply, Vec::new()) };
        let mut records = first_group(records);
        let mut hosts: Vec<String> =
            records.iter().map(|srv| srv.host.clone()).filter(|host| !host.is_empty()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.truncate(SRV_TARGETS_MOST);
        records.retain(|srv| srv.host.is_empty() || hosts.binary_search(&srv.host).is_ok());
        let mut asking = JoinSet::new();
        for host in hosts {
            let (client, setup) = (self.clone(), setup.clone());
            // The target of a record is a whole name.
            asking.spawn(async move { (host.clone(), client.ask_host(&setup, &format!("{host}.")).await) });
        }
        let replies = asking.join_all().await;
        SourceReply::Srv(Reply::Found(records, ttl), replies)
    }

    async fn lookup_srv(&self, setup: &Setup, candidates: Vec<Name>) -> Reply<Srv> {
        let mut gone = Reply::Absent("NXDOMAIN");
        for name in candidates {
            match self.lookup(setup, &name, RecordType::SRV, srv).await {
                Reply::Absent("NXDOMAIN") => {}
                Reply::Absent(why) => gone = Reply::Absent(why),
                reply => return reply,
            }
        }
        self.count_absent(&gone);
        gone
    }

    /// Counts a name that is not there. The search list leads to many that are not, on the way to the one that is.
    fn count_absent<T>(&self, gone: &Reply<T>) {
        let is_none = matches!(gone, Reply::Absent("NXDOMAIN"));
        self.counts.failure(if is_none { Failure::NxDomain } else { Failure::NoRecords });
    }

    /// Asks one question.
    async fn lookup<T: Ord>(
        &self,
        setup: &Setup,
        name: &Name,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Reply<T> {
        // It is never closed.
        let _permit = self.permits.acquire().await;
        self.counts.query();
        // hickory keeps to its own time; this is for the case that it does not.
        let patience = self.timeout * self.attempts + Duration::from_millis(500);
        let asked = tokio::time::timeout(patience, setup.resolver.lookup(name.clone(), kind)).await;
        let error = match asked {
            Ok(Ok(lookup)) => return records(&lookup, read),
            Ok(Err(error)) => error,
            Err(_) => NetError::Timeout,
        };
        let (failure, reply) = match &error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => return Reply::Absent("NXDOMAIN"),
                _ => return Reply::Absent("no records"),
            },
            NetError::Timeout => {
                let waited = display_duration(self.timeout * self.attempts);
                (Failure::Timeout, Reply::Failed(format!("no name server has answered within {waited}")))
            }
            NetError::Dns(DnsError::ResponseCode(code)) => {
                (Failure::Server, Reply::Failed(format!("the name server has answered with an error: {code}")))
            }
            NetError::Io(error) => (Failure::Network, Reply::Failed(format!("no name server can be reached: {error}"))),
            NetError::NoConnections => (Failure::Network, Reply::Failed("no name server can be reached".to_owned())),
            other => (Failure::Server, Reply::Failed(format!("the answer of the name server is of no use: {other}"))),
        };
        self.counts.failure(failure);
        reply
    }
}

/// The whole names that a written one may stand for, in the order in which they are tried (resolv.conf(5)).
fn candidates(written: &str, search: &[Name], ndots: usize) -> Result<Vec<Name>, String> {
    let parse = |text: &str| Name::from_ascii(text).map_err(|error| format!("`{written}` is not a name: {error}"));
    let mut whole = parse(written)?;
    if written.ends_with('.') {
        return Ok(vec![whole]);
    }
    let relative = whole.clone();
    whole.set_fqdn(true);
    let searched = search.iter().filter_map(|domain| {
        let mut name = relative.clone().append_domain(domain).ok()?;
        name.set_fqdn(true);
        Some(name)
    });
    let mut names: Vec<Name> = searched.collect();
    let has_dots = written.matches('.').count() >= ndots;
    names.insert(if has_dots { 0 } else { names.len() }, whole);
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// What this machine knows by itself: its hosts file, and `localhost`.
fn local(host: &str) -> Option<HostReply> {
    from_hosts(host, &Hosts::from_system().unwrap_or_default())
}

fn from_hosts(host: &str, hosts: &Hosts) -> Option<HostReply> {
    let mut name = Name::from_ascii(host).ok()?.to_lowercase();
    name.set_fqdn(true);
    let of = |kind: RecordType| {
        let found = hosts.lookup_static_host(&Query::query(name.clone(), kind));
        found.map_or(Reply::Absent("hosts file"), |lookup| records(&lookup, ip))
    };
    let (mut v4, mut v6) = (of(RecordType::A), of(RecordType::AAAA));
    if name.is_localhost() {
        v6 = Reply::Absent("localhost");
        if !matches!(v4, Reply::Found(..)) {
            v4 = Reply::Found(vec![Ipv4Addr::LOCALHOST.into()], u32::MAX >> 1);
        }
    }
    let known = matches!(v4, Reply::Found(..)) || matches!(v6, Reply::Found(..));
    known.then_some(HostReply { v4, v6 })
}

fn ip(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
    // Some block names with addresses that no server has; 0.0.0.0 would be this machine.
    .filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else { return None };
    let host = srv.target.to_lowercase().to_ascii().trim_end_matches('.').to_owned();
    let record = Srv { priority: srv.priority, weight: srv.weight, port: srv.port, host };
    // Nobody can connect to port 0; the target `.` may have it.
    (record.port != 0 || record.host.is_empty()).then_some(record)
}

/// The records of an answer, and the shortest TTL on the way to them.
fn records<T: Ord>(lookup: &Lookup, read: impl Fn(&RData) -> Option<T>) -> Reply<T> {
    let mut records: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
    let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
    records.sort_unstable();
    records.dedup();
    if records.is_empty() { Reply::Absent("no records") } else { Reply::Found(records, ttl) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| Name::from_ascii(name).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_changed_file_of_the_system_holds_for_the_next_question() {
        let path = std::env::temp_dir().join(format!("tidegate-resolv-{}.conf", std::process::id()));
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("nameserver 127.0.0.1\nsearch one.test\n");
        let config = DnsConfig::default();
        let system = System::new(&path, Duration::ZERO, &config, Instant::ZERO).unwrap();
        let client = Arc::new(Client::with(system, &config, Arc::default()));
        write("nameserver 127.0.0.1\nsearch two.test\n");
        // It is no name, so that nobody is asked for it.
        let question = TargetAddress::Srv("a".repeat(64).as_str().into());
        assert!(matches!(client.clone().ask(&question).await, SourceReply::Srv(Reply::Failed(_), _)));
        let used = client.system.lock().unwrap().setup.clone();
        assert_eq!(used.search, names(&["two.test"]));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_search_list_is_walked_as_resolv_conf_says() {
        let search = names(&["svc.local.", "local."]);
        for (written, ndots, expected) in [
            ("users", 1, &["users.svc.local.", "users.local.", "users."][..]),
            ("users.prod", 1, &["users.prod.", "users.prod.svc.local.", "users.prod.local."]),
            ("users.prod", 5, &["users.prod.svc.local.", "users.prod.local.", "users.prod."]),
            ("users.", 1, &["users."]),
            ("_http._tcp.users", 1, &["_http._tcp.users.", "_http._tcp.users.svc.local.", "_http._tcp.users.local."]),
        ] {
            assert_eq!(candidates(written, &search, ndots).unwrap(), names(expected), "{written}");
        }
        assert_eq!(candidates("users", &[], 1).unwrap(), names(&["users."]));
        let long = "a".repeat(64);
        assert!(candidates(&long, &[], 1).unwrap_err().contains("is not a name"));
    }

    #[test]
    fn the_hosts_file_answers_for_both_families() {
        let mut hosts = Hosts::default();
        let file =
            "10.0.0.1 Users.internal users\n10.0.0.2 users.internal\n::7 six\n127.0.0.3 app.localhost\n::1 localhost\n";
        hosts.read_hosts_conf(file.as_bytes()).unwrap();
        let of = |host: &str| {
            from_hosts(host, &hosts).map(|reply| {
                [reply.v4, reply.v6].map(|reply| match reply {
                    Reply::Found(addresses, _) => {
                        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                    }
                    Reply::Absent(_) => "-".to_owned(),
                    Reply::Failed(error) => panic!("{error}"),
                })
            })
        };
        let is = |host: &str, v4: &str, v6: &str| assert_eq!(of(host), Some([v4.to_owned(), v6.to_owned()]), "{host}");
        is("users.internal", "10.0.0.1 10.0.0.2", "-");
        is("USERS", "10.0.0.1", "-");
        is("users.", "10.0.0.1", "-");
        is("six", "-", "::7");
        is("localhost", "127.0.0.1", "-");
        is("localhost.", "127.0.0.1", "-");
        is("app.localhost", "127.0.0.3", "-");
        is("other.localhost", "127.0.0.1", "-");
        assert_eq!(of("orders.internal"), None);
    }
}
