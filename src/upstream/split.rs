//! A route whose requests are shared between services by weight, as for a canary.
//!
//! ```toml
//! [routes.users]
//! path = "/users/*"
//! service = [{ name = "stable", weight = 95 }, { name = "canary", weight = 5 }]
//! sticky = "cookie:session"        # or "ip", "header:NAME", "query:NAME", "path:NAME"
//! ```
//!
//! Without `sticky` each request is a throw of the dice. With it, requests of one key go to one service: the key's hash
//! is a place on a line that the services divide in the order in which they are written, each as long as its weight.
//! Who moves a border moves only the keys between its old place and the new one: from 95 to 90, nobody leaves the
//! canary. A request without a key (no such cookie) is a throw of the dice again.

use serde_spanned::Spanned;
use toml::de::DeValue;

use crate::base::decode::{Section, Value, Wrong};

/// What `service` of a route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitConfig {
    /// The services, at least one, each with its weight.
    pub shares: Vec<ShareConfig>,
}

/// One service of a [`SplitConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareConfig {
    /// The service's name.
    pub name: Spanned<String>,
    /// Its weight beside the others', 0 to [`WEIGHT_MAX`].
    pub weight: u32,
}

/// The largest weight that can be written.
pub const WEIGHT_MAX: u32 = 1_000_000;

impl SplitConfig {
    /// Reads `service` of a route, which is a name or a list; nothing where it is not there or wrong.
    pub fn read(section: &mut Section<'_, '_>) -> Option<SplitConfig> {
        let value = section.optional("service")?;
        match value.get_ref() {
            DeValue::Array(list) if list.is_empty() => {
                section.convert("service", value, |_| {
                    Err::<(), _>(Wrong::content("the list is empty", "write the name of a service"))
                });
                None
            }
            DeValue::Array(list) => {
                let shares: Vec<_> = list.iter().filter_map(|value| share(section, value)).collect();
                if shares.len() < list.len() {
                    return None;
                }
                let config = SplitConfig { shares };
                section.convert("service", value, |_| config.check())?;
                Some(config)
            }
            _ => {
                let name = section.convert("service", value, |value| match value.get_ref() {
                    DeValue::String(_) => crate::base::decode::FromValue::from_value(value),
                    _ => Err(Wrong::Type("the name of a service, or a list of { name = \"NAME\", weight = 1 }".into())),
                })?;
                Some(SplitConfig { shares: vec![ShareConfig { name, weight: 1 }] })
            }
        }
    }

    /// Refuses a list that nobody can have meant.
    fn check(&self) -> Result<(), Wrong> {
        if self.shares.iter().all(|share| share.weight == 0) {
            return Err(Wrong::content("all weights are 0", "give at least one service a weight"));
        }
        for (index, share) in self.shares.iter().enumerate() {
            let name = share.name.get_ref();
            if self.shares[..index].iter().any(|other| other.name.get_ref() == name) {
                return Err(Wrong::content(
                    format!("service `{name}` is there twice"),
                    "write it once, with the sum of the weights",
                ));
            }
        }
        Ok(())
    }
}

/// Reads `{ name = "users", weight = 3 }`.
fn share<'t>(section: &mut Section<'t, '_>, value: &'t Value<'t>) -> Option<ShareConfig> {
    let mut table =
        section.table_of("service", value, "`service`", "a table such as { name = \"users\", weight = 3 }")?;
    let name = table.require("name", "\"users\"", crate::base::decode::FromValue::from_value);
    let mut weight = 1;
    table.read_within("weight", 0..=WEIGHT_MAX as usize, &mut weight);
    table.finish(&[]);
    Some(ShareConfig { name: name?, weight: u32::try_from(weight).unwrap_or(WEIGHT_MAX) })
}

/// Which of some services a request goes to, by their places in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Each with the sum of all weights up to and with its own; those of weight 0 are not in it.
    borders: Box<[(u64, u32)]>,
}

impl Split {
    /// The services with these indexes and weights, one of which is not 0.
    #[must_use]
    pub fn new(shares: impl IntoIterator<Item = (u32, u32)>) -> Split {
        let mut sum = 0;
        let borders = shares.into_iter().filter(|(_, weight)| *weight > 0).map(|(service, weight)| {
            sum += u64::from(weight);
            (sum, service)
        });
        Split { borders: borders.collect() }
    }

    /// The service at `place` of the line, which is 2^64 long.
    #[must_use]
    pub fn choose(&self, place: u64) -> u32 {
        let total = self.borders.last().map_or(1, |(sum, _)| *sum);
        let at = ((u128::from(place) * u128::from(total)) >> 64) as u64;
        let index = self.borders.partition_point(|(sum, _)| *sum <= at);
        self.borders.get(index).map_or(0, |(_, service)| *service)
    }

    /// All services that it may choose.
    pub fn services(&self) -> impl Iterator<Item = u32> {
        self.borders.iter().map(|(_, service)| *service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_divided_by_weight_and_a_border_moves_no_other_keys() {
        let split = Split::new([(4, 95), (7, 0), (9, 5)]);
        assert_eq!((split.choose(0), split.choose(u64::MAX)), (4, 9));
        let mut random = fastrand::Rng::with_seed(7);
        let keys: Vec<u64> = (0..20_000).map(|_| random.u64(..)).collect();
        let canary = keys.iter().filter(|key| split.choose(**key) == 9).count();
        assert!((900..1100).contains(&canary), "{canary} of 20,000 where 1,000 are expected");
        let more = Split::new([(4, 90), (9, 10)]);
        assert!(keys.iter().all(|key| split.choose(*key) != 9 || more.choose(*key) == 9), "nobody leaves the canary");
        assert_eq!(Split::new([(3, 1)]).choose(u64::MAX), 3);
    }
}
