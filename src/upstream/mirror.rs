//! Copies of a share of a route's requests for another service, whose answers nobody sees.
//!
//! ```toml
//! [routes.users]
//! path = "/users/*"
//! service = "users"
//! mirror = { service = "users-next", share = 0.1, body = "64KiB" }
//! ```
//!
//! A copy is sent when the request it copies is over, by a task of its own, so that it delays nobody. It is the request
//! as the service got it, and is tried once. Requests whose body is larger than `body` are not copied, nor those for
//! which there is no room: [`MOST`] copies are on their way at a time on each worker. What is not copied is counted.

use serde_spanned::Spanned;

use crate::base::decode::{Section, Wrong};
use crate::base::units::Size;

/// Copies on their way at a time, on each worker.
pub const MOST: usize = 256;

/// What `mirror` of a route says.
#[derive(Clone, Debug)]
pub struct MirrorConfig {
    /// The service that gets the copies.
    pub service: Spanned<String>,
    /// The share of the requests that are copied, above 0 and up to 1.
    pub share: f64,
    /// The largest body that is copied.
    pub body: Size,
}

/// The largest `body` that can be written.
const BODY_MAX: Size = Size::mib(16);

impl MirrorConfig {
    /// Reads `mirror` of a route; nothing where it is not there or wrong.
    pub fn read(section: &mut Section<'_, '_>) -> Option<MirrorConfig> {
        let mut table = section.table("mirror", "`mirror`")?;
        let service = table.require("service", "\"users-next\"", crate::base::decode::FromValue::from_value);
        let mut share = Share(1.0);
        table.read("share", &mut share);
        let mut body = Size::kib(64);
        table.read_within("body", Size(0)..=BODY_MAX, &mut body);
        table.finish(&[]);
        Some(MirrorConfig { service: service?, share: share.0, body })
    }
}

/// A number above 0 and up to 1.
struct Share(f64);

impl crate::base::decode::FromValue for Share {
    fn from_value(value: &crate::base::decode::Value<'_>) -> Result<Self, Wrong> {
        use toml::de::DeValue;
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => return Err(Wrong::Type("a number such as 0.1".into())),
        };
        match number {
            Some(number) if number > 0.0 && number <= 1.0 => Ok(Share(number)),
            _ => Err(Wrong::content("it is not a share", "write a number above 0 and up to 1, such as 0.1")),
        }
    }
}

/// Which requests are copied, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The index of the service.
    pub service: u32,
    /// Of 2^32 requests, how many are copied.
    share: u64,
    /// Bytes of the largest body that is copied.
    pub body: usize,
}

impl Mirror {
    /// What is written, with the index of its service.
    #[must_use]
    pub fn compile(config: &MirrorConfig, service: u32) -> Mirror {
        let share = (config.share * 4_294_967_296.0) as u64;
        Mirror { service, share: share.max(1), body: usize::try_from(config.body.bytes()).unwrap_or(usize::MAX) }
    }

    /// Whether a request is copied, by a number that is thrown for it.
    #[must_use]
    pub fn takes(&self, random: u32) -> bool {
        u64::from(random) < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept() {
        let mirror = |share| {
            let service = Spanned::new(0..0, "next".to_owned());
            Mirror::compile(&MirrorConfig { service, share, body: Size::kib(1) }, 3)
        };
        let all = mirror(1.0);
        assert!(all.takes(0) && all.takes(u32::MAX));
        let mut random = fastrand::Rng::with_seed(7);
        let tenth = mirror(0.1);
        let taken = (0..20_000).filter(|_| tenth.takes(random.u32(..))).count();
        assert!((1900..2100).contains(&taken), "{taken} of 20,000 where 2,000 are expected");
        assert!(mirror(1e-12).takes(0) && !mirror(1e-12).takes(1));
    }
}
