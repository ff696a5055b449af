//! The one door from the gateway to the runtime: listeners, streams, deadlines.
//!
//! Nothing above this floor names the runtime's sockets. A [`Stream`] is a plain
//! TCP connection today and may be an encrypted one tomorrow.

mod address;
pub mod proxy_protocol;
mod reader;
mod stream;

pub use crate::runtime::inherit::Handed;
pub use crate::runtime::{Bound, Handle, Listener, Over, Sleep, TimedOut, Timer, bind, is_taken};
pub use address::Address;
pub use reader::Reader;
pub use stream::{Sending, Stream, connect};
