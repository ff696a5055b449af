//! What can stand in a configuration file: one description of every key, for programs.
//!
//! The decoders say what is wrong with a value, and need code for that. What editors and `tidegate config` need is plainer:
//! which keys there are, of which kind, with which default. That is here, as constants; a test asks the decoders for every
//! key that they know and compares, and another that the defaults are those that hold.
//!
//! ```text
//! tidegate schema > tidegate.schema.json
//! ```
//!
//! An editor with the TOML language server completes and checks a file that begins with
//! `#:schema tidegate.schema.json`.

mod access_log;
mod json;
mod process;
mod routes;
mod services;

pub(super) use process::FILE;
pub(super) use routes::ROUTE;
pub(super) use services::SERVICE;

pub use json::document;

/// A table with known keys.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name among the definitions of the schema.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    pub(super) when: When,
    pub(super) about: &'static str,
}

/// What holds where a key is not written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// Nothing: it must be written.
    Required,
    /// Nothing of its own.
    None,
    /// This, as it would be written; `{}` is a table whose keys have their own defaults.
    Is(&'static str),
    /// This, or what it says where another key has this value.
    With(&'static str, &'static str, fn(&str) -> String),
}

/// On which tables a default holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Always,
    /// Where another key has this value, as it would be written.
    Is(&'static str, &'static str),
    /// Where another key has this value, or is not written.
    IsOrFree(&'static str, &'static str),
    /// Where another key has not this value.
    IsNot(&'static str, &'static str),
    /// Where none of these keys is there.
    Without(&'static [&'static str]),
}

/// What a value can be.
#[derive(Debug)]
pub(super) enum Kind {
    Boolean,
    True,
    False,
    /// From the first to the second.
    Integer(i64, i64),
    Number(f64, f64),
    Text,
    /// Text that fits this expression.
    Pattern(&'static str),
    Word(&'static [&'static str]),
    Secret,
    Duration,
    Size,
    Rate,
    List(&'static Kind),
    /// A table whose keys are of the user's choice.
    Map(&'static Kind),
    Table(&'static Table),
    /// Tables with names of the user's choice.
    Named(&'static Table),
    Any(&'static [Kind]),
}

impl Kind {
    /// The table that a value of this kind may be.
    pub(super) fn table(&self) -> Option<&'static Table> {
        match self {
            Self::Table(table) => Some(table),
            Self::Any(kinds) => kinds.iter().find_map(Self::table),
            _ => None,
        }
    }
}

impl Key {
    const fn new(name: &'static str, kind: Kind, default: Default, about: &'static str) -> Self {
        Self { name, kind, default, when: When::Always, about }
    }

    const fn required(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self::new(name, kind, Default::Required, about)
    }

    const fn free(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self::new(name, kind, Default::None, about)
    }

    const fn of(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Self {
        Self::new(name, kind, Default::Is(default), about)
    }

    const fn when(self, when: When) -> Self {
        let Self { name, kind, default, about, .. } = self;
        Self { name, kind, default, when, about }
    }
}

impl Table {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// `false`, or a duration.
const DURATION_OR_OFF: Kind = Kind::Any(&[Kind::Duration, Kind::False]);

/// Sizes and numbers up to so much fit 64 bits.
const ANY_NUMBER: i64 = i64::MAX;

const NAMES: Kind = Kind::List(&Kind::Text);

#[cfg(test)]
mod tests;
