//! What runs: the compiled, immutable form of one configuration.
