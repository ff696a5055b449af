//! The way from the order to stop to the end of the listeners.
//!
//! First the process says that it is leaving: `/ready` answers 503, and every answer to a client says that its connection
//! ends with it. After `drain_delay`, when load balancers have noticed, the listeners take what has queued up and close.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tokio::sync::Notify;

use super::supervisor;
use crate::shard::Shared;
use crate::snapshot::publish::Published;

/// What orders the gateway to drain; it can be cloned and sent around.
#[derive(Clone, Debug)]
pub struct DrainHandle {
    shared: Arc<Shared>,
    published: Arc<Published>,
    order: Arc<Notify>,
}

impl DrainHandle {
    pub(super) fn new(shared: Arc<Shared>, published: Arc<Published>) -> DrainHandle {
        DrainHandle { shared, published, order: Arc::default() }
    }

    /// Begins to drain; returns at once. Doing it again changes nothing.
    pub fn drain(&self) {
        self.order.notify_one();
    }

    /// Whether it leaves or drains already.
    pub(super) fn is_leaving(&self) -> bool {
        self.shared.is_leaving() || self.shared.is_draining()
    }

    /// Drains without a delay, as when a worker has crashed.
    pub fn drain_at_once(&self) {
        self.published.current().doorways.iter().for_each(|doorway| doorway.close_spares());
        self.shared.drain();
        self.shared.wake_workers();
    }

    /// Does the work of a thread that the process cannot do without. If it crashes, the process drains and ends: half of a
    /// gateway is not left to serve on, with connections that nobody accepts or targets that nobody looks after.
    ///
    /// # Panics
    /// When the work does.
    pub fn guard(&self, who: &'static str, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            tracing::error!("{who} has crashed; what runs elsewhere is finished, and the process ends");
            self.drain_at_once();
            resume_unwind(panic);
        }
    }

    /// Drains without a delay and without waiting for what runs: it is broken off.
    pub fn break_off(&self) {
        self.shared.break_off();
        self.drain_at_once();
    }

    /// Carries the order out when it comes.
    pub(super) async fn carry_out(self) {
        self.order.notified().await;
        self.shared.leave();
        self.shared.wake_workers();
        supervisor::stopping();
        if let Some(delay) = self.published.current().snapshot.gateway.drain_delay {
            tracing::info!(?delay, "leaving: /ready answers 503, and connections end with their next answer");
            tokio::time::sleep(delay).await;
        }
        self.drain_at_once();
    }
}
