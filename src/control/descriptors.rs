//! How many descriptors the process takes, and what to do where it may not have them.

use super::{admin, probe, resolve};
use crate::runtime::raise_descriptors;
use crate::snapshot::Snapshot;
use crate::upstream::targets::{TargetAddress, TargetSpec};

/// Descriptors of the process itself, operators not counted.
const OWN_DESCRIPTORS: u64 = 16;

/// Descriptors of one worker, its listeners not counted.
const WORKER_DESCRIPTORS: u64 = 6;

/// Fewer connections on a worker than this are worth a warning.
const FEW_CONNECTIONS: usize = 1024;

/// Gets the descriptors that the connections of clients and to backends take. Where there are not so many, fewer
/// clients are admitted, and a quarter is left for backends: a client whose request cannot be sent on for want of
/// a descriptor had better waited. The log is told, unless `before` was as many.
pub fn fit_descriptors(snapshot: &mut Snapshot, before: Option<usize>) {
    let workers = snapshot.gateway.workers as u64;
    let own =
        OWN_DESCRIPTORS + descriptors(snapshot) + workers * (WORKER_DESCRIPTORS + snapshot.listeners.len() as u64);
    let connections = &mut snapshot.gateway.connections_per_worker;
    let limit = raise_descriptors(own + workers * *connections as u64 * 2);
    let room = limit.saturating_sub(own) / workers * 3 / 4;
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    if room < *connections {
        let advice = "raise `ulimit -n`, or lower connections_per_worker";
        if before == Some(room) {
            tracing::debug!(limit, "descriptors for {room} connections on each worker, not for {connections}");
        } else if room < FEW_CONNECTIONS {
            tracing::warn!(limit, "descriptors for {room} connections on each worker, not for {connections}; {advice}");
        } else {
            tracing::info!(limit, "descriptors for {room} connections on each worker, not for {connections}; {advice}");
        }
        *connections = room;
    }
}

/// How many descriptors the control thread takes at most for what the snapshot wants of it.
fn descriptors(snapshot: &Snapshot) -> u64 {
    let wants = |wanted: bool, most: usize| if wanted { most as u64 } else { 0 };
    let checks = snapshot.services.iter().any(|service| service.health.is_some());
    let is_named = |target: &TargetSpec| matches!(target.address, TargetAddress::Name { .. } | TargetAddress::Srv(_));
    let names = snapshot.services.iter().any(|service| service.targets.iter().any(is_named));
    let admin = wants(snapshot.admin.is_some(), admin::CONNECTIONS_MOST);
    admin + wants(checks, probe::OPEN_MOST) + wants(names, resolve::QUESTIONS_MOST)
}
