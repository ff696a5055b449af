//! The tree of all files into [`Config`], section by section.
//!
//! The keys of the contract that are not built yet are listed here too, so that they are told apart from mistyped ones.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::admin::AdminConfig;
use super::dns::DnsConfig;
use super::sections::{
    ActionConfig, ConnectionLimitsConfig, DefaultsConfig, Driver, FIELDS_MAX, GatewayConfig, HEAD_MAX, ListenerConfig,
    Pin, RouteConfig, ServiceConfig, TimeoutsConfig,
};
use super::{Config, check, suspect};
use crate::base::decode::{Diagnostic, FromValue, Section, SourceFile, SourceMap, Value, WHOLE_FILE, Wrong, text};
use crate::base::units::{Rate, Setting, Size};
use crate::observe::series::MetricsConfig;
use crate::policy::access_log::{AccessLogConfig, ScopeConfig};
use crate::policy::forwarded::ForwardedConfig;
use crate::policy::headers::{RulesConfig, Scope};
use crate::policy::limits::LimitsConfig;
use crate::policy::redirect::RedirectConfig;
use crate::policy::request_id::RequestIdConfig;
use crate::policy::respond::RespondConfig;
use crate::policy::upgrade::UpgradeConfig;
use crate::router::{ForwardConfig, MatchConfig, Router};
use crate::upstream::affinity::AffinityConfig;
use crate::upstream::balance::HashBy;
use crate::upstream::ejection::EjectionConfig;
use crate::upstream::fallback::FallbackConfig;
use crate::upstream::health::HealthConfig;
use crate::upstream::mirror::MirrorConfig;
use crate::upstream::retry::RetriesConfig;
use crate::upstream::settings::PoolConfig;
use crate::upstream::split::SplitConfig;
use crate::upstream::targets::TargetAddress;
use crate::upstream::{balance, targets};

/// Reads the whole tree, and adds what is wrong with it to `faults`. The router of its routes comes back too, if there is
/// one.
pub(super) fn config(tree: &DeTable<'_>, faults: &mut Vec<Diagnostic>) -> (Config, Option<Router>) {
    let mut file = Section::new(WHOLE_FILE, 0..0, tree, faults);
    // The files are here already.
    file.optional("include");
    let gateway = file.table("gateway", "[gateway]").map(gateway).unwrap_or_default();
    let listeners = listeners(&mut file);
    let admin = match file.table_or_off("admin", "[admin]") {
        Some(Setting::Off) => Setting::Off,
        Some(Setting::On(section)) => Setting::On(AdminConfig::read(section).unwrap_or_default()),
        None => Setting::On(AdminConfig::default()),
    };
    let access_log = file.table("access_log", "[access_log]").map(AccessLogConfig::read);
    let metrics = file.table("metrics", "[metrics]").map(MetricsConfig::read).unwrap_or_default();
    let defaults = file.table("defaults", "[defaults]").map(defaults).unwrap_or_default();
    let services = file.named("services", |name, section| Some(service(name, section)));
    let routes = file.named("routes", route);
    file.finish(&["consumers"]);
    // Who has read the files puts them in.
    let source = Arc::new(SourceMap::new(SourceFile::new("", "")));
    let (warnings, settings) = (Vec::new(), Vec::new());
    let config = Config {
        source,
        gateway,
        listeners,
        admin,
        access_log,
        metrics,
        defaults,
        services,
        routes,
        warnings,
        settings,
    };
    // It is made once more for the workers that there are.
    let router = check::config(&config, 1, faults);
    (config, router)
}

fn gateway(mut section: Section<'_, '_>) -> GatewayConfig {
    let mut config = GatewayConfig::default();
    section.read_within("workers", 0..=1024, &mut config.workers);
    section.read("driver", &mut config.driver);
    section.read("pin", &mut config.pin);
    section.read("sync_interval", &mut config.sync_interval);
    section.read("drain_delay", &mut config.drain_delay);
    section.read("drain_timeout", &mut config.drain_timeout);
    section.read("watch", &mut config.watch);
    section.read_within("connections_per_worker", 1..=1_048_576, &mut config.connections_per_worker);
    section.read("merge_slashes", &mut config.merge_slashes);
    if let Some(section) = section.table("limits", "[gateway.limits]") {
        config.limits = connection_limits(section);
    }
    if let Some(section) = section.table("dns", "[gateway.dns]") {
        config.dns = DnsConfig::read(section);
    }
    config.forwarded = ForwardedConfig::read(&mut section);
    section.read("via", &mut config.via);
    if let Some(section) = section.table("request_id", "`request_id`") {
        config.request_id = RequestIdConfig::read(section);
    }
    section.finish(&[]);
    config
}

fn connection_limits(mut section: Section<'_, '_>) -> ConnectionLimitsConfig {
    let mut config = ConnectionLimitsConfig::default();
    section.read_within("head", Size::kib(1)..=HEAD_MAX, &mut config.head);
    section.read_within("fields", 1..=FIELDS_MAX, &mut config.fields);
    section.read_within("target", Size(64)..=HEAD_MAX, &mut config.target);
    section.read("head_timeout", &mut config.head_timeout);
    section.read("idle_timeout", &mut config.idle_timeout);
    section.read("body_rate", &mut config.body_rate);
    section.read("body_rate_grace", &mut config.body_rate_grace);
    section.read("requests_per_connection", &mut config.requests_per_connection);
    section.finish(&[]);
    // Not where the default target meets a smaller head: it shrinks with it.
    if let Some(place) = section.place("target").filter(|_| config.target > config.head) {
        let message = format!("`target` ({}) is larger than `head` ({})", config.target, config.head);
        let fault = Diagnostic::new(place, message, "a target is a part of the head");
        section.fault(fault.help("make `head` larger or `target` smaller"));
    }
    if config.body_rate == Setting::On(Rate { bytes_per_second: 0 }) {
        config.body_rate = Setting::Off;
    }
    if config.requests_per_connection == Setting::On(0) {
        config.requests_per_connection = Setting::Off;
    }
    config
}

fn listeners(file: &mut Section<'_, '_>) -> Vec<ListenerConfig> {
    let before = file.fault_count();
    let listeners = file.named("listeners", |name, section| {
        let address = section.require("address", "\"0.0.0.0:8080\"", bind_address);
        let mut proxy_protocol = Spanned::new(0..0, false);
        section.read("proxy_protocol", &mut proxy_protocol);
        section.finish(&["tls"]);
        Some(ListenerConfig { name, address: address?, proxy_protocol })
    });
    if listeners.is_empty() && file.fault_count() == before {
        let fault = Diagnostic::of_file("there is no listener, so no client could connect");
        file.fault(fault.help("add a section [listeners.public] with address = \"0.0.0.0:8080\""));
    }
    listeners
}

fn defaults(mut section: Section<'_, '_>) -> DefaultsConfig {
    let limits = limits(&mut section);
    let headers = RulesConfig::read(&mut section, Scope::Shared);
    let retries = RetriesConfig::read(&mut section);
    let access_log = ScopeConfig::read(&mut section);
    section.finish(&["auth", "rate_limit", "cache"]);
    DefaultsConfig { limits, headers, retries, access_log }
}

fn service(name: Spanned<String>, section: &mut Section<'_, '_>) -> ServiceConfig {
    let targets = targets::read(section);
    let timeouts = timeouts(section);
    let balance = balance::read(section);
    let (mut slow_start, mut proxy_protocol) = (Setting::Off, Setting::Off);
    section.read("slow_start", &mut slow_start);
    let ejection = EjectionConfig::read(section);
    let affinity = AffinityConfig::read(section);
    let retries = RetriesConfig::read(section);
    let pool = PoolConfig::read(section);
    let fallback = FallbackConfig::read(section);
    section.read("proxy_protocol", &mut proxy_protocol);
    let headers = RulesConfig::read(section, Scope::Shared);
    let health = match section.table_or_off("health", "`health`") {
        Some(Setting::On(section)) => Some(HealthConfig::read(section)),
        Some(Setting::Off) | None => None,
    };
    if let Some(place) = section.place("health").filter(|_| health.as_ref().is_some_and(|health| health.port.is_some()))
        && let Some(target) = targets.iter().find(|target| matches!(target.address, TargetAddress::Unix(_)))
    {
        let message = format!("`port` of `health` means nothing to the target `{}`", target.address);
        let fault =
            Diagnostic::new(place, message, "the port is in here").related(target.span.clone(), "a Unix socket");
        section.fault(fault.help("leave `port` out, or make the socket a service of its own"));
    }
    section.finish(&["breaker"]);
    let is_found_out = health.is_some() || ejection != Setting::Off;
    suspect::service(section, &targets, &balance, is_found_out);
    if let Some(Setting::On(retries)) = &retries {
        suspect::attempts(section, &targets, retries.attempts);
    }
    let (slow_start, proxy_protocol) = (slow_start.value(), proxy_protocol.value());
    ServiceConfig {
        name,
        targets,
        timeouts,
        balance,
        slow_start,
        ejection,
        affinity,
        retries,
        pool,
        fallback,
        proxy_protocol,
        headers,
        health,
    }
}

fn timeouts(section: &mut Section<'_, '_>) -> TimeoutsConfig {
    let mut config = TimeoutsConfig::default();
    section.inherit("connect_timeout", &mut config.connect);
    section.inherit("send_timeout", &mut config.send);
    section.inherit("first_byte_timeout", &mut config.first_byte);
    section.inherit("between_bytes_timeout", &mut config.between_bytes);
    section.inherit("timeout", &mut config.total);
    config.in_vain = suspect::timeouts(section, &config);
    config
}

fn route(name: Spanned<String>, section: &mut Section<'_, '_>) -> Option<RouteConfig> {
    let matches = MatchConfig::read(section);
    let action = action(section);
    let forward = ForwardConfig::read(section);
    let timeouts = timeouts(section);
    let retries = RetriesConfig::read(section);
    let limits = limits(section);
    let upgrade = UpgradeConfig::read(section);
    let headers = RulesConfig::read(section, Scope::Route);
    let mut preserve_host = true;
    section.read("preserve_host", &mut preserve_host);
    let sticky = sticky(section, action.as_ref());
    let mirror = MirrorConfig::read(section);
    let access_log = ScopeConfig::read(section);
    section.finish(&["auth", "rate_limit", "cache"]);
    Some(RouteConfig {
        name,
        matches,
        action: action?,
        forward,
        timeouts,
        retries,
        limits,
        upgrade,
        headers,
        preserve_host,
        sticky,
        mirror,
        access_log,
    })
}

/// What keeps the requests of one client at one of several services.
fn sticky(section: &mut Section<'_, '_>, action: Option<&ActionConfig>) -> Option<Spanned<HashBy>> {
    let mut sticky = None;
    section.inherit("sticky", &mut sticky);
    let one = matches!(action, Some(ActionConfig::Service(split)) if split.shares.len() == 1);
    if let Some(place) = section.place("sticky").filter(|_| one) {
        let fault = Diagnostic::new(place, "`sticky` has no effect on a route with one service", "there is no choice");
        section.fault(
            fault.help("leave it out; to keep a client at one target, use `affinity` or `balance` of the service"),
        );
    }
    sticky
}

/// Keys of a route that are about what is sent to a service.
const OF_SERVICES: &[&str] = &[
    "strip_prefix",
    "rewrite",
    "forward_path",
    "preserve_host",
    "request_headers",
    "upgrade",
    "connect_timeout",
    "send_timeout",
    "first_byte_timeout",
    "between_bytes_timeout",
    "timeout",
    "retries",
    "sticky",
    "mirror",
];

/// What becomes of the requests of a route: exactly one of three keys says it.
fn action(section: &mut Section<'_, '_>) -> Option<ActionConfig> {
    let keys = ["service", "redirect", "respond"];
    let mut there: Vec<_> = keys.iter().filter_map(|key| Some((*key, section.place(key)?))).collect();
    there.sort_by_key(|(_, place)| place.start);
    if let [(first, first_place), (second, place), ..] = there.as_slice() {
        let message = format!("`{first}` and `{second}` are both there, and each says what becomes of a request");
        let fault = Diagnostic::new(place.clone(), message, "the one").related(first_place.clone(), "the other");
        section.fault(fault.help("leave one of them, or write a route for each"));
    }
    let only = there.first().map_or("service", |(key, _)| key);
    if only != "service" {
        for key in OF_SERVICES {
            if let Some(place) = section.place(key) {
                let message = format!("`{key}` has no effect on a route with `{only}`");
                let fault = Diagnostic::new(place, message, "nothing is sent to a service here");
                section.fault(fault.help("leave it out"));
            }
        }
    }
    // All are read, so that the faults of each are found.
    let redirect = RedirectConfig::read(section).map(ActionConfig::Redirect);
    let respond = RespondConfig::read(section).map(ActionConfig::Respond);
    let service = match only {
        "service" if there.is_empty() => {
            section.require_value("service", "\"users\"");
            None
        }
        _ => SplitConfig::read(section),
    };
    match only {
        "redirect" => redirect,
        "respond" => respond,
        _ => service.map(ActionConfig::Service),
    }
}

fn limits(section: &mut Section<'_, '_>) -> Option<Setting<LimitsConfig>> {
    Some(match section.table_or_off("limits", "`limits`")? {
        Setting::Off => Setting::Off,
        Setting::On(mut section) => {
            let mut config = LimitsConfig::default();
            section.inherit("body", &mut config.body);
            section.finish(&[]);
            Setting::On(config)
        }
    })
}

/// Where to listen: an IP address and a port.
pub(super) fn bind_address(value: &Value<'_>) -> Result<Spanned<SocketAddr>, Wrong> {
    let text = text(value, "an address such as \"0.0.0.0:8080\"")?;
    let wrong = |problem: String, help: String| Err(Wrong::content(problem, help));
    if text.starts_with("unix:") {
        return wrong("unix sockets are not built yet".into(), "write an IP address and a port".into());
    }
    match (text.parse(), text.rsplit_once(':')) {
        (Ok(address), _) => Ok(Spanned::new(value.span(), address)),
        (_, Some(("", port))) => wrong(
            format!("`{text}` does not say which address of this machine"),
            format!("for all of them write \"0.0.0.0:{port}\" or \"[::]:{port}\""),
        ),
        (_, Some((host, port))) if is_name(host) => wrong(
            format!("`{text}` is a name, and a listener needs an address"),
            format!("write \"127.0.0.1:{port}\" for this machine alone, \"0.0.0.0:{port}\" for all networks"),
        ),
        _ => wrong(format!("`{text}` is not an address with a port"), address_help(text, 8080)),
    }
}

/// What to write instead of `text`, where that can be told.
fn address_help(text: &str, port: u16) -> String {
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => format!("add a port: \"{}\"", SocketAddr::new(address, port)),
        Err(_) => format!("write an IP address and a port from 0 to 65535, such as \"127.0.0.1:{port}\""),
    }
}

/// Whether this could be the name of a host.
fn is_name(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    host.chars().all(plain) && host.chars().any(|c| c.is_ascii_alphabetic())
}

impl FromValue for Driver {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "\"auto\", \"io_uring\" or \"epoll\"")?;
        let all = [Self::Auto, Self::IoUring, Self::Epoll];
        all.into_iter().find(|driver| driver.name() == text).ok_or_else(|| {
            Wrong::content(format!("there is no driver `{text}`"), "write \"auto\", \"io_uring\" or \"epoll\"")
        })
    }
}

impl FromValue for Pin {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let expected = "`true`, `false` or \"auto\"";
        match value.get_ref() {
            DeValue::Boolean(true) => Ok(Self::On),
            DeValue::Boolean(false) => Ok(Self::Off),
            _ => match text(value, expected)? {
                "auto" => Ok(Self::Auto),
                other => Err(Wrong::content(format!("`{other}` is not a way to pin"), format!("write {expected}"))),
            },
        }
    }
}
