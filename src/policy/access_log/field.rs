//! The names of what a line can say.

use crate::base::decode::{FromValue, Value, Wrong, closest, text};

macro_rules! fields {
    ($($variant:ident = $name:literal,)+) => {
        /// Something that a line can say of a request; the module `access_log` has the meanings.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl Field {
            /// All of them with their names, in the order in which a line has them where nothing else is written.
            pub const ALL: &[(Field, &str)] = &[$((Field::$variant, $name),)+];

            /// The keys of members of JSON, in the order of the fields.
            const KEYS: [Key; Field::ALL.len()] = [$(Key::new(concat!(",\"", $name, "\":\"")),)+];
        }
    };
}

fields! {
    Time = "time",
    RequestId = "request_id",
    TraceId = "trace_id",
    Client = "client",
    Peer = "peer",
    Method = "method",
    Host = "host",
    Path = "path",
    Query = "query",
    Uri = "uri",
    Protocol = "protocol",
    Status = "status",
    BytesReceived = "bytes_received",
    BytesSent = "bytes_sent",
    Route = "route",
    Service = "service",
    Target = "target",
    Attempts = "attempts",
    Outcome = "outcome",
    Code = "code",
    Gateway = "gateway_ms",
    Queue = "queue_ms",
    Connect = "connect_ms",
    Pause = "pause_ms",
    Upload = "upload_ms",
    FirstByte = "first_byte_ms",
    Backend = "backend_ms",
    Total = "total_ms",
}

/// The key of a member of JSON that is not the first, and the quote that a text begins with.
#[derive(Clone, Copy, Debug)]
struct Key {
    bytes: [u8; KEY_MOST],
    /// With the quote.
    length: u8,
}

/// The longest key.
pub(super) const KEY_MOST: usize = 24;

impl Key {
    const fn new(text: &str) -> Key {
        let (text, mut bytes) = (text.as_bytes(), [0; KEY_MOST]);
        assert!(text.len() <= KEY_MOST, "there is room for the longest key");
        bytes.split_at_mut(text.len()).0.copy_from_slice(text);
        Key { bytes, length: text.len() as u8 }
    }
}

impl Field {
    /// Writes its key, as that of a member of JSON that is not the first, and says how long it is. The quote that a text
    /// begins with belongs to it.
    #[inline(always)]
    pub(super) fn put_key(self, of_text: bool, to: &mut [u8; KEY_MOST]) -> usize {
        static KEYS: [Key; Field::ALL.len()] = Field::KEYS;
        let Key { bytes, length } = &KEYS[self as usize];
        *to = *bytes;
        usize::from(*length) - usize::from(!of_text)
    }

    /// Whether only a request that goes to a service has it.
    #[inline(always)]
    pub(super) const fn is_of_service(self) -> bool {
        use Field::{Attempts, Backend, Connect, FirstByte, Pause, Queue, Upload};
        matches!(self, Attempts | Queue | Connect | Pause | Upload | FirstByte | Backend)
    }

    /// The field with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Field> {
        Field::ALL.iter().find(|(_, other)| *other == name).map(|(field, _)| *field)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Field::ALL[self as usize].1
    }

    /// What a line has where nothing else is written: all but what is there in another form.
    #[must_use]
    pub fn usual() -> Vec<Field> {
        Field::ALL.iter().map(|(field, _)| *field).filter(|field| *field != Field::Uri).collect()
    }

    /// The name that was probably meant, or all of them.
    pub(super) fn help(name: &str) -> String {
        let names: Vec<&str> = Field::ALL.iter().map(|(_, name)| *name).collect();
        match closest(name, &names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there is only: {}", names.join(", ")),
        }
    }
}

impl FromValue for Field {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let name = text(value, "the name of a field, such as \"status\"")?;
        Field::find(name).ok_or_else(|| Wrong::content(format!("there is no field `{name}`"), Field::help(name)))
    }
}
