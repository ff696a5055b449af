//! `[admin]`: where operators connect, and who of them is let in.
//!
//! ```toml
//! [admin]
//! address = "127.0.0.1:9180"              # or "unix:/run/tidegate/admin.sock", which its owner alone can open
//! token = "NWJkZTY1ODktZDE3ZC00"          # what requests show: Authorization: Bearer NWJk...
//! hosts = ["gateway.internal"]            # names that it is asked by, beside `localhost` and its address
//! ```
//!
//! Who reaches the admin listener may stop the gateway. So without a `token` it listens on loopback or on a Unix socket
//! only. `hosts` is what keeps web pages out: a page whose name suddenly means this machine (DNS rebinding) asks by that
//! name. `admin = false` is for no admin listener at all.

use std::net::{Ipv4Addr, SocketAddr};

use serde_spanned::Spanned;

use super::read::bind_address;
use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, text};
use crate::base::secret::Secret;
use crate::net::Address;
use crate::upstream::targets::unix_path;

/// What the user wrote in `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// `address`: an IP address and a port, or the path of a Unix socket.
    pub address: Spanned<Address>,
    /// `token`: what a request must show; `None` for nothing.
    pub token: Option<Secret>,
    /// `hosts`: names that it may be asked by, in lower case.
    pub hosts: Vec<Spanned<HostName>>,
}

/// A name that stands in a Host field, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(pub Box<str>);

impl Default for AdminConfig {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9180));
        Self { address: Spanned::new(0..0, address.into()), token: None, hosts: Vec::new() }
    }
}

impl AdminConfig {
    /// Reads the section. `None` where the address is wrong, which is a fault by then.
    pub fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let address = section.require("address", "\"127.0.0.1:9180\"", address);
        let (mut token, mut hosts) = (None, Vec::new());
        section.inherit("token", &mut token);
        section.read_list("hosts", "a list of names, such as [\"gateway.internal\"]", &mut hosts);
        section.finish(&[]);
        // A token that is there and wrong is a fault of its own.
        let is_open = section.place("token").is_none();
        if let Some(Address::Tcp(public)) = address.as_ref().map(Spanned::get_ref)
            && is_open
            && !public.ip().is_loopback()
            && let Some(place) = section.place("address")
        {
            let message = format!(
                "`{public}` is not on loopback, and without a `token` the admin listener asks nobody who he is"
            );
            let help = format!(
                "write \"127.0.0.1:{}\" and reach it through a tunnel, or add a `token` of 16 characters or more",
                public.port()
            );
            section.fault(Diagnostic::new(place, message, "whoever gets here could stop the gateway").help(help));
        }
        let token = token.map(|Token(secret)| secret);
        Some(Self { address: address?, token, hosts })
    }
}

fn address(value: &Value<'_>) -> Result<Spanned<Address>, Wrong> {
    let written = text(value, "an address such as \"127.0.0.1:9180\" or \"unix:/run/tidegate/admin.sock\"")?;
    if written.starts_with("unix:") {
        let path = unix_path(written)?;
        return Ok(Spanned::new(value.span(), Address::Unix(path.into())));
    }
    let address = bind_address(value)?;
    Ok(Spanned::new(address.span(), Address::Tcp(*address.get_ref())))
}

/// What the text of a token must be.
struct Token(Secret);

/// Shorter ones could be found by trying.
const TOKEN_SHORTEST: usize = 16;

/// A field of a head has to hold it.
const TOKEN_LONGEST: usize = 1024;

impl FromValue for Token {
    /// The faults do not repeat what was written.
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a string of 16 characters or more")?;
        let help = "make one with `openssl rand -hex 32`";
        // What a bearer token can be made of: RFC 6750 section 2.1.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match text.len() {
            length @ ..TOKEN_SHORTEST => {
                Err(Wrong::content(format!("a token of {length} characters could be found by trying"), help))
            }
            TOKEN_LONGEST.. => Err(Wrong::content("the token is longer than 1024 characters", help)),
            _ if !text.bytes().all(plain) => {
                Err(Wrong::content("a token is made of letters, digits and `-._~+/=` alone", help))
            }
            _ => Ok(Self(Secret::new(text.to_owned()))),
        }
    }
}

impl FromValue for HostName {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a name such as \"gateway.internal\"")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        let wrong =
            |problem: &str, help: String| Err(Wrong::content(format!("`{}` {problem}", text.escape_debug()), help));
        let is_address = text.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok();
        match text.split_once(':') {
            Some((scheme, rest)) if rest.starts_with("//") => {
                wrong("is a URL", format!("leave out `{scheme}://`, and what follows the name"))
            }
            Some((name, _)) if !is_address => wrong("has a port, which is not compared", format!("write \"{name}\"")),
            _ if text.contains('*') => wrong("has a wildcard", "write each name out".into()),
            _ if text.is_empty() || text.len() > 255 || !text.bytes().all(plain) => {
                wrong("is not a name", "write a name such as \"gateway.internal\"".into())
            }
            _ => Ok(Self(text.trim_matches(['[', ']', '.']).to_ascii_lowercase().into())),
        }
    }
}
