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
//! It is read in three steps, and each finds all faults that it can before it gives up: all files into one tree with
//! places (`load`), the tree into [`Config`] (`read`, on top of the small decoder in [`crate::base::decode`]), and the checks
//! of one section against another (`check`). What runs is made from it by [`Snapshot::compile`], which repeats the
//! checks, for a program may have changed the fields in between.
//!
//! [`Snapshot::compile`]: crate::snapshot::Snapshot::compile

pub mod admin;
mod check;
pub mod dns;
pub mod effective;
mod load;
mod read;
pub mod schema;
pub mod sections;
mod suspect;
mod warnings;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::base::decode::{Diagnostic, Diagnostics, Severity, SourceFile, SourceMap};
use crate::base::units::Setting;
use crate::net::Address;
use crate::observe::series::MetricsConfig;
use crate::policy::access_log::AccessLogConfig;
use crate::router::Router;
use crate::upstream::targets::TargetConfig;
pub use admin::AdminConfig;
pub use dns::DnsConfig;
use load::Loader;
pub use load::environment::Environment;
pub use sections::{
    ActionConfig, ConnectionLimitsConfig, DefaultsConfig, Driver, FIELDS_MAX, GatewayConfig, HEAD_MAX, ListenerConfig,
    Pin, RouteConfig, ServiceConfig, TimeoutsConfig,
};

/// One configuration, as it was written. The tables that are keyed by name stand in the order of the file.
#[derive(Clone, Debug)]
pub struct Config {
    /// The files, for the places of errors.
    pub source: Arc<SourceMap>,
    /// `[gateway]`.
    pub gateway: GatewayConfig,
    /// `[listeners.NAME]`, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[admin]`, or `admin = false`.
    pub admin: Setting<AdminConfig>,
    /// `[access_log]`; `None` where it is not there, and nothing is logged.
    pub access_log: Option<AccessLogConfig>,
    /// `[metrics]`.
    pub metrics: MetricsConfig,
    /// `[defaults]`.
    pub defaults: DefaultsConfig,
    /// `[services.NAME]`.
    pub services: Vec<ServiceConfig>,
    /// `[routes.NAME]`.
    pub routes: Vec<RouteConfig>,
    /// What is not wrong, but perhaps not what was meant.
    pub warnings: Vec<Diagnostic>,
    /// What holds for the gateway as a whole, key by key, for people: `[gateway]`, `[admin]`, `[metrics]` and
    /// `[access_log]`.
    pub settings: Vec<effective::Row>,
}

impl Config {
    /// Reads the file at `path`, and those that it includes.
    ///
    /// # Errors
    /// All faults of the files at once, or that one cannot be read; and what there is to warn of.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        Self::load_in(path, &Environment::Process)
    }

    /// The same, with these variables for `${NAME}`.
    ///
    /// # Errors
    /// All faults of the files at once, or that one cannot be read; and what there is to warn of.
    pub fn load_in(path: &Path, environment: &Environment) -> Result<Self, Diagnostics> {
        Self::decode(Loader::file(path, environment))
    }

    /// Reads `text`; `file_name` is what errors call it, and what it includes is relative to it.
    ///
    /// # Errors
    /// All faults of the text at once, and what there is to warn of.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Diagnostics> {
        Self::parse_in(file_name, text, &Environment::Process)
    }

    /// The same, with these variables for `${NAME}`.
    ///
    /// # Errors
    /// All faults of the text at once, and what there is to warn of.
    pub fn parse_in(file_name: &str, text: &str, environment: &Environment) -> Result<Self, Diagnostics> {
        Self::decode(Loader::text(file_name, text, environment))
    }

    fn decode(mut loader: Loader<'_>) -> Result<Self, Diagnostics> {
        // The tree may borrow from both.
        let (texts, literal);
        texts = loader.texts();
        let mut found = Vec::new();
        let mut tree = loader.tree(&texts);
        let mut config = tree.as_ref().map(|tree| read::config(tree, &mut found));
        if loader.take_literally(&found) {
            let before = std::mem::take(&mut found);
            literal = loader.sources().clone();
            let tree = tree.insert(load::tree_of(&literal, &texts));
            config = Some(read::config(tree, &mut found));
            Loader::settle_on(&before, &mut found);
        }
        let (source, mut faults) = loader.finish(found);
        let source = Arc::new(source);
        match (config, tree) {
            (Some((config, Some(router))), Some(tree)) if !faults.iter().any(Diagnostic::is_error) => {
                warnings::config(&config, &router, &mut faults);
                let settings = effective::whole(&source, &tree);
                Ok(Self { source, warnings: faults, settings, ..config })
            }
            _ => Err(Diagnostics::new(source, faults)),
        }
    }

    /// What there is to warn of, to be shown or logged; often nothing.
    #[must_use]
    pub fn warnings(&self) -> Diagnostics {
        Diagnostics::new(Arc::clone(&self.source), self.warnings.clone())
    }

    /// What it was read from: the file that was asked for, those that are included, those of `${file:...}`, and the
    /// directories in which others may appear. The source of [`Diagnostics`] knows them of a configuration that is refused.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        self.source.paths()
    }

    /// The patterns of `include` that name files.
    pub fn patterns(&self) -> impl Iterator<Item = &Path> {
        self.source.patterns().iter().filter(|pattern| pattern.is_filled).map(|pattern| &*pattern.path)
    }

    /// What speaks against this configuration where one runs whose patterns `before` named files: that one of them names
    /// none any more. Whole directories vanish by mistake, when a volume is not mounted or a deployment is half done, and
    /// their routes with them.
    #[must_use]
    pub fn vanished(&self, before: &[PathBuf]) -> Option<Diagnostics> {
        let empty =
            self.source.patterns().iter().filter(|pattern| !pattern.is_filled && before.contains(&pattern.path));
        let faults = empty.map(|pattern| {
            let message = format!("`{}` names no file any more", pattern.path.display());
            let fault = Diagnostic::new(pattern.span.clone(), message, "files that run are gone");
            fault.help("put them back; or, if they are not wanted, leave this pattern out or put an empty file there")
        });
        let faults: Vec<_> = faults.collect();
        (!faults.is_empty()).then(|| Diagnostics::new(Arc::clone(&self.source), faults))
    }

    /// The router of all routes, for so many workers.
    ///
    /// # Errors
    /// What is wrong between the sections, such as a route to a service that is not there.
    pub(crate) fn check(&self, workers: usize) -> Result<Router, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let router = check::config(self, workers, &mut faults);
        router.filter(|_| faults.is_empty()).ok_or(faults)
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
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for listener in &mut self.listeners {
            *listener.address.get_mut() = free;
        }
        if let Setting::On(admin) = &mut self.admin {
            *admin.address.get_mut() = Address::Tcp(free);
        }
    }
}

#[cfg(test)]
mod tests;
