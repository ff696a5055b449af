//! Starts the workers and the control thread; the one file that sees both planes.
