//! The tasks that look after the services of the edition that runs: one that resolves names and one that checks health for
//! each service that wants it.
//!
//! With another edition, the tasks of what has stayed the same go on: what they know of names and targets, and when the
//! next question is due, does not change. The others end, and new ones begin.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::board::{Board, Service};
use super::resolve::{Client, Keeper};
use super::{AFTER_CRASH, keep_alive, probe, resolve};
use crate::base::time::Instant;
use crate::config::DnsConfig;
use crate::snapshot::publish::Edition;
use crate::upstream::health::Checks;
use crate::upstream::targets::TargetSpec;

/// How long services that are new wait for the first answers of name servers.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// What looks after all services.
pub(super) struct Care {
    board: Arc<Board>,
    crowd: Arc<probe::Crowd>,
    dns: DnsConfig,
    client: Option<Arc<Client>>,
    tasks: JoinSet<()>,
    running: HashMap<Box<str>, Running>,
}

/// What looks after one service.
#[derive(Default)]
struct Running {
    resolving: Option<AbortHandle>,
    checking: Option<AbortHandle>,
}

impl Running {
    fn end(&self) {
        self.resolving.iter().chain(&self.checking).for_each(AbortHandle::abort);
    }
}

impl Care {
    pub(super) fn new(board: Arc<Board>) -> Care {
        let crowd = Arc::new(probe::Crowd::new(board.panics.clone()));
        let (client, tasks, running) = Default::default();
        Care { board, crowd, dns: DnsConfig::default(), client, tasks, running }
    }

    /// Gets the services of `edition` ready that do not run yet, so that they have targets when it is published. It may
    /// take two seconds, for name servers.
    pub(super) async fn prepare(&mut self, edition: &Edition) -> Vec<Arc<Service>> {
        self.ask_servers_of(&edition.snapshot.gateway.dns);
        let known: HashMap<Box<str>, Arc<Service>> =
            self.board.services().iter().map(|service| (service.name().into(), service.clone())).collect();
        let services = edition.snapshot.services.iter().zip(&edition.members).map(|(compiled, members)| {
            let known = known.get(&compiled.name).filter(|known| Arc::ptr_eq(&known.members, members)).cloned();
            known.unwrap_or_else(|| Arc::new(Service::new(members.clone())))
        });
        let services: Vec<_> = services.collect();
        // Each task drops its sender once its names were asked for.
        let (first, mut asked) = mpsc::channel::<()>(1);
        let mut named = Vec::new();
        for (service, compiled) in services.iter().zip(&edition.snapshot.services) {
            if known.get(&compiled.name).is_none_or(|known| !Arc::ptr_eq(known, service)) {
                service.configure(&compiled.targets, compiled.health.as_ref());
                let resolving = self.resolve(service, Some(first.clone()));
                named.extend(resolving.is_some().then(|| service.clone()));
                self.running.insert(compiled.name.clone(), Running { resolving, checking: None });
            }
        }
        drop(first);
        if !named.is_empty() {
            // Nothing is ever sent: it ends when all senders are dropped.
            let in_time = tokio::time::timeout(FIRST_ANSWERS, asked.recv()).await.is_ok();
            for service in named.iter().filter(|service| service.members.endpoints().is_empty()) {
                let (service, why) =
                    (service.name(), if in_time { "cannot be resolved" } else { "are not resolved yet" });
                tracing::warn!(service, "the names of its targets {why}; requests to it fail until they are");
            }
        }
        services
    }

    /// Looks after `services`, the ones that [`Care::prepare`] has returned for `edition`, and no others from now on.
    pub(super) fn take_over(&mut self, edition: &Edition, services: Vec<Arc<Service>>) {
        for (service, compiled) in services.iter().zip(&edition.snapshot.services) {
            self.adjust(service, &compiled.targets, compiled.health.as_ref());
        }
        let stay: HashSet<&str> = services.iter().map(|service| service.name()).collect();
        self.running.extract_if(|name, _| !stay.contains(&**name)).for_each(|(_, former)| former.end());
        self.board.set_services(services);
        // Those that have ended leave their results behind.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Asks these name servers from now on; who asks others begins anew when the edition is taken over.
    fn ask_servers_of(&mut self, dns: &DnsConfig) {
        if self.client.is_some() && self.dns == *dns {
            return;
        }
        self.dns = dns.clone();
        self.client = match Client::new(dns, self.board.dns.clone()) {
            Ok(client) => Some(Arc::new(client)),
            Err(error) => {
                tracing::error!(%error, "names cannot be resolved; targets with names are not used; mend what the error says and reload");
                None
            }
        };
        let resolving = self.running.values_mut().filter_map(|running| running.resolving.take());
        resolving.for_each(|task| task.abort());
    }

    /// Makes the tasks of a service those that it needs now.
    fn adjust(&mut self, service: &Arc<Service>, targets: &[TargetSpec], checks: Option<&Checks>) {
        let changes = service.configure(targets, checks);
        let Running { mut resolving, mut checking } = self.running.remove(service.name()).unwrap_or_default();
        if changes.targets {
            resolving.take().iter().for_each(AbortHandle::abort);
            service.use_what_is_known(Instant::from_clock());
        }
        if changes.checks {
            checking.take().iter().for_each(AbortHandle::abort);
        }
        let resolving = resolving.or_else(|| self.resolve(service, None));
        let checking = checking.or_else(|| self.check(service));
        self.running.insert(service.name().into(), Running { resolving, checking });
    }

    /// Begins to resolve the targets that have names, if there are any. `first` is dropped once each name was asked for.
    fn resolve(&mut self, service: &Arc<Service>, first: Option<mpsc::Sender<()>>) -> Option<AbortHandle> {
        let client = self.client.clone().filter(|_| resolve::has_names(service))?;
        let name = format!("the task that resolves the names of {}", service.name());
        let (service, dns, first) = (service.clone(), self.dns.clone(), Mutex::new(first));
        let make = move || {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            Keeper::new(service.clone(), client.clone(), &dns).run(first)
        };
        Some(self.tasks.spawn(keep_alive(name, self.board.panics.clone(), AFTER_CRASH, make)))
    }

    /// Begins to ask after the targets, if the service wants that.
    fn check(&mut self, service: &Arc<Service>) -> Option<AbortHandle> {
        let checks = service.checks()?;
        let name = format!("the task that checks the targets of {}", service.name());
        let (service, crowd) = (service.clone(), self.crowd.clone());
        let make = move || probe::watch(service.clone(), checks.clone(), crowd.clone());
        Some(self.tasks.spawn(keep_alive(name, self.board.panics.clone(), AFTER_CRASH, make)))
    }
}
