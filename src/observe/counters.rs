//! The counters of the workers.
//!
//! Each worker has its own, on cache lines of its own, and is the only one who
//! writes them: a relaxed load and store, as cheap as a plain addition. The
//! control thread adds them up when somebody asks, without stopping anyone.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pulse::Pulse;

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $kind:ident $name:literal, $help:literal;)+) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $(#[doc = $help] $(#[$doc])* $variant,)+ }

        impl Counter {
            /// Every counter: itself, whether it is a gauge, its name and what it means.
            pub const ALL: &[(Counter, bool, &str, &str)] =
                &[$((Counter::$variant, counters!(@$kind), $name, $help),)+];
        }
    };
    (@gauge) => { true };
    (@counter) => { false };
}

counters! {
    Connections = counter "tidegate_connections_total", "Client connections accepted.";
    ConnectionsOpen = gauge "tidegate_connections_open", "Client connections open now.";
    ConnectionsRefused = counter "tidegate_connections_refused_total", "Client connections refused because a worker had as many as allowed.";
    ProxyRefused = counter "tidegate_proxy_refused_total", "Client connections closed because their PROXY protocol header was wrong, late or from nobody trusted.";
    AcceptErrors = counter "tidegate_accept_errors_total", "Failed attempts to accept a connection, such as for want of descriptors.";
    Requests = counter "tidegate_requests_total", "Requests whose head was complete or refused.";
    Responses1xx = counter "tidegate_responses_informational_total", "Interim responses sent on to clients.";
    Responses2xx = counter "tidegate_responses_success_total", "Responses with a status of 200 to 299.";
    Responses3xx = counter "tidegate_responses_redirect_total", "Responses with a status of 300 to 399.";
    Responses4xx = counter "tidegate_responses_client_error_total", "Responses with a status of 400 to 499.";
    Responses5xx = counter "tidegate_responses_server_error_total", "Responses with a status of 500 to 599.";
    ResponsesCut = counter "tidegate_responses_cut_total", "Responses that were cut because their body failed midway.";
    ClientsGone = counter "tidegate_clients_gone_total", "Requests whose client left before the response was sent.";
    BytesReceived = counter "tidegate_client_received_bytes_total", "Bytes received from clients.";
    BytesSent = counter "tidegate_client_sent_bytes_total", "Bytes of proxied responses sent to clients.";
    UpstreamConnects = counter "tidegate_upstream_connects_total", "Connections made to backends.";
    UpstreamConnectErrors = counter "tidegate_upstream_connect_errors_total", "Connections to backends that could not be made.";
    UpstreamReused = counter "tidegate_upstream_reused_total", "Requests sent over a kept connection.";
    UpstreamReplaced = counter "tidegate_upstream_replaced_total", "Requests sent again because a kept connection had died.";
    UpstreamStale = counter "tidegate_upstream_stale_total", "Kept connections found closed or unusable.";
    UpstreamQueued = counter "tidegate_upstream_queued_total", "Requests that waited for a connection because max_connections was reached.";
    Retries = counter "tidegate_retries_total", "Requests sent again after a failure.";
    RetriesOverBudget = counter "tidegate_retries_over_budget_total", "Requests not sent again because too many others were.";
    Ejections = counter "tidegate_ejections_total", "Targets left out for a while because they failed.";
    Fallbacks = counter "tidegate_fallbacks_total", "Requests that a fallback took because a service had no target to send them to.";
    Mirrors = counter "tidegate_mirrored_total", "Copies of requests sent to mirrors.";
    MirrorsDropped = counter "tidegate_mirrors_dropped_total", "Copies not sent for want of room or because a body was too large.";
    Tunnels = counter "tidegate_tunnels_total", "Connections that were upgraded to another protocol.";
    TunnelsOpen = gauge "tidegate_tunnels_open", "Upgraded connections open now.";
    TunnelsCut = counter "tidegate_tunnels_cut_total", "Upgraded connections that ended before both sides had ended them.";
    TunnelBytesUp = counter "tidegate_tunnel_received_bytes_total", "Bytes carried from clients to backends over upgraded connections.";
    TunnelBytesDown = counter "tidegate_tunnel_sent_bytes_total", "Bytes carried from backends to clients over upgraded connections.";
    Unfinished = counter "tidegate_drain_unfinished_total", "Requests and upgraded connections that were broken off when a drain's time was over; the log has it, too, for the process ends then.";
    Panics = counter "tidegate_task_panics_total", "Tasks that panicked and were ended, or begun anew where the worker needs them.";
    EventsDropped = counter "tidegate_events_dropped_total", "Log events dropped because the queue was full.";
}

/// How many refusals by cause there is room for.
pub const REFUSALS: usize = 128;

/// How many cuts by cause there is room for.
pub const CUTS: usize = 8;

/// What a client connection can be doing.
pub const STATES: usize = 4;

/// The counters of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    values: [AtomicU64; Counter::ALL.len()],
    refusals: [AtomicU64; REFUSALS],
    cuts: [AtomicU64; CUTS],
    states: [AtomicU64; STATES],
    /// How the worker itself is doing.
    pub pulse: Pulse,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            values: [const { AtomicU64::new(0) }; _],
            refusals: [const { AtomicU64::new(0) }; _],
            cuts: [const { AtomicU64::new(0) }; _],
            states: [const { AtomicU64::new(0) }; _],
            pulse: Pulse::default(),
        }
    }
}

impl Counters {
    /// Adds `amount`. Only the owning worker may call this.
    pub fn add(&self, counter: Counter, amount: u64) {
        bump(&self.values[counter as usize], amount);
    }

    /// Adds one. Only the owning worker may call this.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Takes one off a gauge. Only the owning worker may call this.
    pub fn release(&self, counter: Counter) {
        self.add(counter, u64::MAX);
    }

    /// Sets a value. Only the owning worker may call this.
    pub fn set(&self, counter: Counter, value: u64) {
        self.values[counter as usize].store(value, Ordering::Relaxed);
    }

    /// Counts a refusal; causes beyond [`REFUSALS`] share the last place.
    pub fn refuse(&self, cause: usize) {
        bump(&self.refusals[cause.min(REFUSALS - 1)], 1);
    }

    /// Counts a response that was cut; causes beyond [`CUTS`] share the last place.
    pub fn cut(&self, cause: usize) {
        bump(&self.cuts[cause.min(CUTS - 1)], 1);
    }

    /// A client connection is in the state `to` from now on, and in `from` no more. Only the owning worker may call this.
    pub fn change_state(&self, from: Option<usize>, to: Option<usize>) {
        if let Some(from) = from {
            bump(&self.states[from], u64::MAX);
        }
        if let Some(to) = to {
            bump(&self.states[to], 1);
        }
    }

    /// How many client connections are in a state.
    #[must_use]
    pub fn state(&self, state: usize) -> u64 {
        read(&self.states[state])
    }

    /// The value now.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        read(&self.values[counter as usize])
    }

    /// Responses cut for one cause.
    #[must_use]
    pub fn were_cut(&self, cause: usize) -> u64 {
        self.cuts.get(cause).map_or(0, read)
    }

    /// Refusals of one cause.
    #[must_use]
    pub fn refused(&self, cause: usize) -> u64 {
        self.refusals.get(cause).map_or(0, read)
    }
}

/// Its only writer adds to a value.
pub(super) fn bump(value: &AtomicU64, amount: u64) {
    value.store(read(value).wrapping_add(amount), Ordering::Relaxed);
}

/// What its only writer has last written.
pub(super) fn read(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

/// The sum over all workers.
pub fn sum<'a>(workers: impl IntoIterator<Item = &'a Counters>, counter: Counter) -> u64 {
    workers.into_iter().fold(0, |sum, worker| sum.wrapping_add(worker.get(counter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_goes_up_and_down_and_workers_add_up() {
        let (first, second) = (Counters::default(), Counters::default());
        first.count(Counter::ConnectionsOpen);
        second.count(Counter::ConnectionsOpen);
        first.release(Counter::ConnectionsOpen);
        assert_eq!(sum([&first, &second], Counter::ConnectionsOpen), 1);
        first.refuse(3);
        first.refuse(REFUSALS + 7);
        assert_eq!((first.refused(3), first.refused(REFUSALS - 1), first.refused(REFUSALS)), (1, 1, 0));
    }

    #[test]
    fn names_are_unique_and_say_what_they_are() {
        for (at, (counter, gauge, name, help)) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, at);
            assert_eq!(name.ends_with("_total"), !gauge, "{name}");
            assert!(help.ends_with('.'));
            assert!(Counter::ALL.iter().filter(|(_, _, other, _)| other == name).count() == 1);
        }
    }
}
