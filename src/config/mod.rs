//! What the user wrote: the TOML file, its errors with carets, its units.
