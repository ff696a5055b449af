//! Backends: targets and connection pools.
