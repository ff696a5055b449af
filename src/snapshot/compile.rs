//! What the user wrote into what runs: defaults applied, inheritance resolved, names turned into indexes.

use std::collections::HashMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::thread::available_parallelism;

use serde_spanned::Spanned;

use super::outline::outline;
use super::{
    Admin, BodyRate, ConnectionLimits, Fallback, Fields, Gateway, Listener, RouteId, Service, ServiceId, Snapshot,
    routes,
};
use crate::base::units::{Rate, Setting, Size};
use crate::config::admin::HostName;
use crate::config::{
    AdminConfig, Config, ConnectionLimitsConfig, Diagnostic, GatewayConfig, ListenerConfig, ServiceConfig,
};
use crate::policy::access_log::AccessLog;
use crate::policy::forwarded::Forwarding;
use crate::policy::request_id::RequestIds;
use crate::policy::via::Via;
use crate::router::Router;
use crate::upstream::fallback::FallbackConfig;
use crate::upstream::health::Checks;
use crate::upstream::settings::Settings;
use crate::upstream::targets::TargetConfig;

/// Checks a configuration and compiles it. What is wrong between its sections refuses it, or else the first fault that
/// only what is compiled shows.
pub(super) fn snapshot(config: &Config) -> Result<Snapshot, Vec<Diagnostic>> {
    let gateway = gateway(&config.gateway);
    let router = config.check(gateway.workers)?;
    with_router(config, gateway, router).map_err(|fault| vec![*fault])
}

fn with_router(config: &Config, gateway: Gateway, router: Router) -> Result<Snapshot, Box<Diagnostic>> {
    let names = config.services.iter().enumerate();
    let services = names.map(|(index, service)| (service.name.get_ref().as_str(), index)).collect();
    let fields = fields(&config.gateway);
    let routes = config.routes.iter().zip(0..).map(|(written, index)| {
        let captures: Vec<&str> = router.capture_names(RouteId(index)).iter().map(|name| &**name).collect();
        routes::route(config, written, &services, &captures, &fields)
    });
    let routes = routes.collect::<Result<_, _>>()?;
    let outlines = config.routes.iter().map(|written| outline(written, &services));
    let outlines = outlines.collect::<Result<_, _>>()?;
    let listeners = config.listeners.iter();
    Ok(Snapshot {
        gateway,
        limits: connection_limits(&config.gateway.limits),
        fields,
        listeners: listeners.map(listener).collect(),
        admin: admin(&config.admin),
        access_log: AccessLog::compile(
            config.access_log.as_ref(),
            config.routes.iter().map(|route| route.name.get_ref().as_str()),
            config.services.iter().map(|service| service.name.get_ref().as_str()),
        ),
        metrics: config.metrics,
        services: config.services.iter().map(|written| service(written, &services)).collect::<Result<_, _>>()?,
        routes,
        outlines,
        router,
        slashes: config.gateway.slashes(),
        settings: config.settings.clone(),
        hidden: config.source.hidden().collect(),
        patterns: config.patterns().map(Into::into).collect(),
        files: config.files().to_vec(),
    })
}

fn gateway(config: &GatewayConfig) -> Gateway {
    Gateway {
        workers: match config.workers {
            0 => available_parallelism().map_or(1, NonZeroUsize::get),
            workers => workers,
        },
        driver: config.driver,
        pin: config.pin,
        sync_interval: config.sync_interval,
        drain_delay: config.drain_delay.value(),
        drain_timeout: config.drain_timeout,
        connections_per_worker: config.connections_per_worker.max(1),
        watch: config.watch,
        dns: config.dns.clone(),
    }
}

fn fields(config: &GatewayConfig) -> Fields {
    Fields {
        forwarding: Forwarding::compile(&config.forwarded),
        via: Via::compile(&config.via),
        request_ids: RequestIds::compile(&config.request_id),
    }
}

fn listener(config: &ListenerConfig) -> Listener {
    let (address, proxy_protocol) = (*config.address.get_ref(), *config.proxy_protocol.get_ref());
    Listener { name: name(config.name.get_ref()), address, proxy_protocol }
}

fn admin(config: &Setting<AdminConfig>) -> Option<Admin> {
    let Setting::On(config) = config else { return None };
    let hosts = config.hosts.iter().map(|host| {
        let HostName(name) = host.get_ref();
        name.clone()
    });
    Some(Admin { address: config.address.get_ref().clone(), token: config.token.clone(), hosts: hosts.collect() })
}

fn connection_limits(config: &ConnectionLimitsConfig) -> ConnectionLimits {
    let bytes = |size: Size| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
    let rate = |rate: Rate| {
        let bytes_per_second = NonZeroU64::new(rate.bytes_per_second)?;
        Some(BodyRate { bytes_per_second, grace: config.body_rate_grace })
    };
    ConnectionLimits {
        head: bytes(config.head),
        fields: config.fields,
        target: bytes(config.target.min(config.head)),
        head_timeout: config.head_timeout,
        idle_timeout: config.idle_timeout,
        body_rate: config.body_rate.value().and_then(rate),
        requests_per_connection: config.requests_per_connection.value().and_then(NonZeroUsize::new),
    }
}

fn service(config: &ServiceConfig, services: &HashMap<&str, usize>) -> Result<Service, Box<Diagnostic>> {
    if config.targets.is_empty() {
        let message = format!("service `{}` has no target", config.name.get_ref());
        return Err(Diagnostic::new(config.name.span(), message, "this service").into());
    }
    let settings = Settings {
        method: config.balance.clone(),
        slow_start: config.slow_start,
        ejection: match &config.ejection {
            Setting::Off => None,
            Setting::On(ejection) => Some(ejection.compile()),
        },
        affinity: config.affinity.as_ref().map(|affinity| affinity.compile(config.name.get_ref())),
        pool: config.pool.compile(),
        proxy_protocol: config.proxy_protocol,
    };
    Ok(Service {
        name: name(config.name.get_ref()),
        targets: config.targets.iter().map(TargetConfig::compile).collect(),
        health: config.health.as_ref().map(|health| Checks::compile(health).with_proxy_protocol(config.proxy_protocol)),
        settings: Arc::new(settings),
        fallback: match &config.fallback {
            None => None,
            Some(FallbackConfig::Service(other)) => Some(Fallback::Service(service_id(other, services)?)),
            Some(FallbackConfig::Response(response)) => Some(Fallback::Response(response.clone())),
        },
    })
}

pub(super) fn service_id(
    name: &Spanned<String>,
    services: &HashMap<&str, usize>,
) -> Result<ServiceId, Box<Diagnostic>> {
    let Some(&index) = services.get(name.get_ref().as_str()) else {
        let message = format!("there is no service `{}`", name.get_ref());
        return Err(Diagnostic::new(name.span(), message, "this service").into());
    };
    Ok(ServiceId(u32::try_from(index).expect("fewer services than fit 32 bits")))
}

pub(super) fn name(text: &str) -> Box<str> {
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::parse::{HeadLimits, RequestHead};
    use crate::router::{Captures, ListenerId, Lookup, RouteId};
    use crate::snapshot::Timeouts;
    use crate::upstream::balance::{HashBy, Method};
    use crate::upstream::settings::ProxyProtocol;
    use std::time::Duration;

    const TEXT: &str = r#"
        [gateway]
        workers = 3
        [gateway.limits]
        head = "4KiB"
        body_rate = "0"
        requests_per_connection = 0
        [listeners.public]
        address = "0.0.0.0:8080"
        [defaults]
        limits = { body = "1KiB" }
        [services.orders]
        targets = ["127.0.0.1:3002"]
        [services.users]
        targets = ["127.0.0.1:3001"]
        timeout = "9s"
        first_byte_timeout = false
        send_timeout = "8s"
        pool = { idle_connections = 7 }
        [routes.users]
        path = "/api/users/*"
        service = "users"
        strip_prefix = "/api"
        connect_timeout = "1s"
        timeout = false
        [routes.orders]
        path = "/orders"
        service = "orders"
        limits = { body = false }
    "#;

    fn compiled() -> Snapshot {
        let config = Config::parse("test.toml", TEXT).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        Snapshot::compile(&config).unwrap()
    }

    /// The route of a GET for `path`, and the path that it sends on.
    fn route_for(snapshot: &Snapshot, path: &str) -> Option<(RouteId, String)> {
        let mut head = RequestHead::default();
        head.parse(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes(), &HeadLimits::default()).unwrap();
        let lookup = Lookup { head: &head, path: path.as_bytes(), listener: ListenerId(0), worker: 0 };
        let (mut captures, mut target) = (Captures::default(), Vec::new());
        let id = snapshot.router.find(&lookup, &mut captures).ok()?;
        snapshot.router.forward(id, path.as_bytes(), path.as_bytes(), &mut captures, &mut target).unwrap();
        Some((id, String::from_utf8(target).unwrap()))
    }

    #[test]
    fn names_become_indexes_and_inheritance_is_resolved() {
        let snapshot = compiled();
        let (id, sent) = route_for(&snapshot, "/api/users/7").unwrap();
        let users = snapshot.route(id);
        assert_eq!((id, &*users.name, &*users.path), (RouteId(0), "users", "/api/users/*"));
        let service = snapshot.service(users.action.service().unwrap());
        assert_eq!((&*service.name, service.targets[0].address.to_string()), ("users", "127.0.0.1:3001".to_owned()));
        assert_eq!(service.settings.pool.idle_connections, 7);
        let seconds = Duration::from_secs;
        let expected = Timeouts {
            connect: seconds(1),
            send: Some(seconds(8)),
            first_byte: None,
            between_bytes: Some(seconds(60)),
            total: None,
        };
        assert_eq!(users.timeouts, expected);
        assert_eq!(users.limits.body, 1024);
        assert_eq!(sent, "/users/7");

        let orders = snapshot.route(route_for(&snapshot, "/orders").unwrap().0);
        assert_eq!(&*snapshot.service(orders.action.service().unwrap()).name, "orders");
        let expected = Timeouts {
            connect: seconds(5),
            send: Some(seconds(30)),
            first_byte: Some(seconds(30)),
            between_bytes: Some(seconds(60)),
            total: None,
        };
        assert_eq!(orders.timeouts, expected);
        assert_eq!(orders.limits.body, u64::MAX);
        assert_eq!(route_for(&snapshot, "/orders/7"), None);
    }

    #[test]
    fn what_a_service_says_of_its_targets() {
        let text = r#"
            [listeners.public]
            address = "0.0.0.0:8080"
            [services.spare]
            targets = ["unix:/run/spare.sock", { address = "Users.internal:80", weight = 3 }, "127.0.0.1:3001"]
            fallback = { status = 200, body = "later" }
            ejection = false
            slow_start = "30s"
            retries = false
            [services.users]
            targets = ["srv:_http._tcp.users.internal"]
            balance = { method = "consistent_hash", by = "cookie:session", load = false }
            affinity = { cookie = "backend" }
            fallback = { service = "spare" }
            retries = { attempts = 5, on = ["timeout", "5xx"] }
            pool = { max_connections = 0 }
            proxy_protocol = "v2"
            [routes.users]
            path = "/users"
            service = "users"
            retries = { attempts = 3 }
            [routes.spare]
            path = "/spare"
            service = "spare"
        "#;
        let config = Config::parse("test.toml", text).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
        let snapshot = Snapshot::compile(&config).unwrap();
        let [spare, users] = &snapshot.services[..] else { panic!("there are two") };
        let targets: Vec<String> = spare.targets.iter().map(|target| target.address.to_string()).collect();
        assert_eq!(targets, ["unix:/run/spare.sock", "users.internal:80", "127.0.0.1:3001"]);
        assert_eq!(spare.targets.iter().map(|target| target.weight).collect::<Vec<_>>(), [1, 3, 1]);
        let known = spare.targets.iter().map(|target| target.endpoint().map(|endpoint| endpoint.address.to_string()));
        let known: Vec<_> = known.collect();
        assert_eq!(known, [Some("unix:/run/spare.sock".into()), None, Some("127.0.0.1:3001".into())]);
        assert_eq!((&spare.settings.ejection, spare.settings.slow_start), (&None, Some(Duration::from_secs(30))));
        assert!(matches!(&spare.fallback, Some(Fallback::Response(response)) if &*response.body == "later"));

        let hash = Method::ConsistentHash { by: HashBy::Cookie("session".into()), load: None };
        assert_eq!(users.settings.method, hash);
        assert_eq!(users.fallback, Some(Fallback::Service(ServiceId(0))));
        assert_eq!(users.settings.pool.max_connections, None);
        assert_eq!(users.settings.proxy_protocol, Some(ProxyProtocol::V2));
        assert!(users.settings.affinity.is_some() && users.settings.ejection.is_some());
        let retries = snapshot.routes[0].retries.as_ref().unwrap();
        assert_eq!((retries.attempts, retries.on_connect, retries.on_timeout), (3, false, true));
        assert!(retries.on_statuses.contains(599) && snapshot.routes[1].retries.is_none());
    }

    #[test]
    fn what_is_off_is_none_and_a_target_fits_its_head() {
        let snapshot = compiled();
        assert_eq!((snapshot.limits.head, snapshot.limits.target), (4096, 4096));
        assert_eq!((snapshot.limits.body_rate, snapshot.limits.requests_per_connection), (None, None));
        assert_eq!(snapshot.gateway.workers, 3);
    }

    #[test]
    fn one_worker_for_each_core() {
        let gateway = gateway(&GatewayConfig::default());
        assert!(gateway.workers >= 1);
    }

    #[test]
    fn changed_fields_are_checked_again() {
        let mut config = Config::parse("test.toml", TEXT).unwrap();
        config.services.remove(0);
        let faults = Snapshot::compile(&config).unwrap_err();
        assert!(faults.compact().contains("a service that is not there, `orders`"), "{faults}");

        let mut config = Config::parse("test.toml", TEXT).unwrap();
        config.services[0].targets.clear();
        let faults = Snapshot::compile(&config).unwrap_err();
        assert!(faults.compact().contains("service `orders` has no target"), "{faults}");
    }
}
