//! The one door from the gateway to the runtime: listeners, streams, deadlines.
