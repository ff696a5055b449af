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
//! as the mirror's service would have got it from this route: with that service's `request_headers` and Host, and with
//! nothing that is meant for the other. It goes to one target, once, and waits for no connection; how it ends counts
//! neither for the target nor against it. Requests whose body is larger than `body` are not
//! copied, nor those for which there is no room: on each worker [`COPIES_MAX`] copies of [`BYTES_MAX`] bytes together
//! are on their way at a time. What is not copied is counted.

use std::cell::Cell;
use std::rc::Rc;

use serde_spanned::Spanned;

use crate::base::decode::{Section, Wrong};
use crate::base::units::Size;

/// Copies on their way at a time, on each worker.
pub const COPIES_MAX: usize = 256;

/// Bytes of the copies on their way at a time, on each worker.
pub const BYTES_MAX: usize = 32 * 1024 * 1024;

const _: () = assert!(BODY_MAX.bytes() as usize <= BYTES_MAX / 2, "one copy must not take all the room");

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
    /// The place of the lane that leads to the service, among those of the route.
    pub lane: usize,
    /// Of 2^32 requests, how many are copied.
    share: u64,
    /// Bytes of the largest body that is copied.
    pub body: usize,
}

impl Mirror {
    /// What is written, with the place of the lane to its service.
    #[must_use]
    pub fn compile(config: &MirrorConfig, lane: usize) -> Mirror {
        let share = (config.share * 4_294_967_296.0) as u64;
        Mirror { lane, share: share.max(1), body: usize::try_from(config.body.bytes()).unwrap_or(usize::MAX) }
    }

    /// Whether a request is copied, by a number that is thrown for it.
    #[must_use]
    pub fn takes(&self, random: u32) -> bool {
        u64::from(random) < self.share
    }
}

/// The copies of one worker that are on their way.
#[derive(Debug, Default)]
pub struct Copies {
    count: Cell<usize>,
    bytes: Cell<usize>,
}

/// The room of one copy; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the room is held for as long as this is kept"]
pub struct Room {
    copies: Rc<Copies>,
    bytes: usize,
}

impl Copies {
    /// Room for a copy of `bytes` bytes, if there is any.
    pub fn admit(self: &Rc<Self>, bytes: usize) -> Option<Room> {
        let all = self.bytes.get().saturating_add(bytes);
        if self.count.get() >= COPIES_MAX || all > BYTES_MAX {
            return None;
        }
        self.count.set(self.count.get() + 1);
        self.bytes.set(all);
        Some(Room { copies: self.clone(), bytes })
    }
}

impl Room {
    /// Gives back the room of the bytes: they have been sent. The copy still counts as one.
    pub fn sent(&mut self) {
        let bytes = &self.copies.bytes;
        bytes.set(bytes.get() - std::mem::take(&mut self.bytes));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Copies { count, bytes } = &*self.copies;
        count.set(count.get() - 1);
        bytes.set(bytes.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_copies_and_so_many_bytes() {
        let copies = Rc::new(Copies::default());
        let small: Vec<_> = (0..COPIES_MAX).map(|_| copies.admit(1).expect("there is room")).collect();
        assert!(copies.admit(0).is_none(), "as many as there may be");
        drop(small);
        let large = copies.admit(BYTES_MAX - 1).expect("all is free again");
        assert!(copies.admit(2).is_none() && copies.admit(usize::MAX).is_none());
        let mut last = copies.admit(1).expect("it fits exactly");
        last.sent();
        assert_eq!((copies.count.get(), copies.bytes.get()), (2, BYTES_MAX - 1));
        drop((large, last));
        assert_eq!((copies.count.get(), copies.bytes.get()), (0, 0));
    }

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
