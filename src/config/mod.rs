//! What the user wrote: the TOML file, its errors with carets, its units.
//!
//! ```toml
//! [listeners.public]
//! address = "0.0.0.0:8080"
//!
//! [services.users]
//! targets = ["127.0.0.1:3001"]
//!
//! [routes.users]
//! path = "/api/users/*"
//! service = "users"
//! ```
//!
//! `config/gateway.toml` is the reference: every key, what it does, and its default.
//!
//! A file is read in three steps, and each finds all faults that it can before it gives up: TOML into a tree with places
//! ([`toml::de::DeTable`]), the tree into [`Config`] (`read`, on top of the small decoder in [`crate::base::decode`]), and the checks
//! of one section against another (`check`). What runs is made from it by [`Snapshot::compile`], which repeats the
//! checks, for a program may have changed the fields in between.
//!
//! [`Snapshot::compile`]: crate::snapshot::Snapshot::compile

mod check;
pub mod dns;
mod read;
pub mod sections;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

pub use crate::base::decode::{Diagnostic, Diagnostics, SourceFile};
use crate::policy::access_log::AccessLogConfig;
use crate::upstream::targets::TargetConfig;
pub(crate) use check::router;
pub use dns::DnsConfig;
pub use sections::{
    ActionConfig, AdminConfig, ConnectionLimitsConfig, DefaultsConfig, Driver, FIELDS_MAX, GatewayConfig, HEAD_MAX,
    ListenerConfig, Pin, RouteConfig, ServiceConfig, TimeoutsConfig,
};

/// One configuration, as it was written. The tables that are keyed by name stand in the order of the file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, for the places of errors.
    pub source: Arc<SourceFile>,
    /// `[gateway]`.
    pub gateway: GatewayConfig,
    /// `[listeners.NAME]`, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[access_log]`; `None` where it is not there, and nothing is logged.
    pub access_log: Option<AccessLogConfig>,
    /// `[defaults]`.
    pub defaults: DefaultsConfig,
    /// `[services.NAME]`.
    pub services: Vec<ServiceConfig>,
    /// `[routes.NAME]`.
    pub routes: Vec<RouteConfig>,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// All faults of the file at once, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        let name = path.display().to_string();
        let fail = |text: String, fault: Diagnostic| {
            Err(Diagnostics::new(Arc::new(SourceFile::new(&name, text)), vec![fault]))
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return fail(String::new(), Diagnostic::of_file(format!("cannot read the file: {error}"))),
        };
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&name, &text),
            Err(error) => {
                let place = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let fault = Diagnostic::new(place..place + 1, "the file is not UTF-8", "this is not a character")
                    .help("save the file as UTF-8");
                fail(text, fault)
            }
        }
    }

    /// Reads `text`; `file_name` is what errors call it.
    ///
    /// # Errors
    /// All faults of the text at once.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Diagnostics> {
        let source = Arc::new(SourceFile::new(file_name, text));
        let mut faults = Vec::new();
        let config = read::config(Arc::clone(&source), &mut faults);
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(Diagnostics::new(source, faults)),
        }
    }

    /// What is wrong between the sections, such as a route to a service that is not there.
    #[must_use]
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        check::config(self, &mut faults);
        faults
    }

    /// The service called `name`.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceConfig> {
        self.services.iter().find(|service| service.name.get_ref() == name)
    }

    /// Sends the service called `name` to `target`, and to nothing else. `false` where there is no such service.
    pub fn set_target(&mut self, name: &str, target: SocketAddr) -> bool {
        let service = self.services.iter_mut().find(|service| service.name.get_ref() == name);
        service.is_some_and(|service| {
            service.targets = vec![TargetConfig::at(target, service.name.span())];
            true
        })
    }

    /// Makes every listener and the admin listener bind a free port on loopback, so that any number of gateways can run
    /// beside each other.
    pub fn use_free_ports(&mut self) {
        let listeners = self.listeners.iter_mut().map(|listener| &mut listener.address);
        for address in listeners.chain([&mut self.admin.address]) {
            *address.get_mut() = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        }
    }
}

#[cfg(test)]
mod tests;
