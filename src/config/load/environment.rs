//! Where the values of `${NAME}` come from: the environment of the process, or what a test says.

use std::collections::HashMap;
use std::env::VarError;

/// The variables that a configuration can name.
#[derive(Clone, Debug, Default)]
pub enum Environment {
    /// Those of the process, as they are when they are asked for.
    #[default]
    Process,
    /// These and no others.
    Of(HashMap<String, String>),
}

impl Environment {
    /// These variables and no others.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::Of(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The value of a variable, if it is set.
    ///
    /// # Errors
    /// It is set to what is not UTF-8.
    pub(super) fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match self {
            Self::Of(variables) => Ok(variables.get(name).cloned()),
            Self::Process => match std::env::var(name) {
                Ok(value) => Ok(Some(value)),
                Err(VarError::NotPresent) => Ok(None),
                Err(VarError::NotUnicode(_)) => Err(format!("the value of the variable `{name}` is not UTF-8")),
            },
        }
    }
}
