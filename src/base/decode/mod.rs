//! Decoding of configuration tables, and what is wrong with them.
//!
//! It is on the bottom floor so that each feature reads its own table beside what it runs: a [`Section`] is one table
//! of the file, a [`FromValue`] one value, and a [`Diagnostic`] a fault with its place. `config/` puts the features
//! together.

mod diagnostics;
mod section;
mod source;
mod value;

pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use section::{Section, TableOr, WHOLE_FILE, closest};
pub use source::{Pattern, Place, SourceFile, SourceMap, Substitution};
pub use value::{DOLLAR, FromValue, Value, Wrong, own_text, raw_text, text, type_of};
