//! The tasks of one worker, and whose turn it is.
//!
//! One queue, first come first served, and a task that wakes itself goes to its
//! end. Between two looks at the kernel each task runs at most once, and once more
//! where it waited for a short send to go out; and each turn may do only so many
//! operations ([`TURN_BUDGET`]): a task that is always ready starves neither the
//! others nor I/O nor timers.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::remote::{Remote, TaskRef};
use crate::base::slab::{Key, Slab};

/// Operations that a task may complete in one turn before it has to queue again.
pub(super) const TURN_BUDGET: u32 = 128;

/// A task's future; it is dropped outside of every borrow, for it may do anything.
type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks that there is memory in the queue for from the start: how many are ready together is chance.
const USUAL: usize = 256;

/// All tasks and the queue of those that are ready.
pub(super) struct Tasks {
    slots: Slab<Task>,
    ready: VecDeque<Key>,
    /// Whether the future that the runtime itself runs is ready; its key is [`Key::NONE`].
    main: bool,
}

struct Task {
    /// Empty while the task runs.
    work: Option<Work>,
    waker: Option<Waker>,
    queued: bool,
}

/// A task taken out to run.
pub(super) struct Turn {
    key: Key,
    work: Work,
    waker: Waker,
}

/// How a turn ended.
pub(super) enum Ended {
    /// It waits, and is to be put back.
    Waits(Turn),
    /// It has finished.
    Finished(Key),
    /// It has panicked; the message is the panic's.
    Panicked(Key, String),
}

impl Default for Tasks {
    fn default() -> Tasks {
        Tasks { slots: Slab::default(), ready: VecDeque::with_capacity(USUAL), main: false }
    }
}

impl Tasks {
    /// Adds a task, ready to run.
    pub(super) fn spawn(&mut self, work: Work, remote: &Arc<Remote>) {
        let key = self.slots.insert_with(|key| {
            let waker = Some(Waker::from(TaskRef::new(key, remote)));
            Task { work: Some(work), waker, queued: true }
        });
        self.ready.push_back(key);
    }

    /// Queues a task, unless it is queued already or gone.
    pub(super) fn wake(&mut self, key: Key) {
        if key == Key::NONE {
            self.main = true;
        } else if let Some(task) = self.slots.get_mut(key)
            && !task.queued
        {
            task.queued = true;
            self.ready.push_back(key);
        }
    }

    /// Queues every task.
    pub(super) fn wake_all(&mut self) {
        self.main = true;
        for key in self.slots.keys() {
            self.wake(key);
        }
    }

    /// Whether the main future was woken since the last call.
    pub(super) fn take_main(&mut self) -> bool {
        std::mem::take(&mut self.main)
    }

    /// Whether nothing is ready.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && !self.main
    }

    /// How many tasks are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many tasks there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Takes the next ready task out.
    pub(super) fn next(&mut self) -> Option<Turn> {
        loop {
            let key = self.ready.pop_front()?;
            let Some(task) = self.slots.get_mut(key) else { continue };
            task.queued = false;
            if let (Some(work), Some(waker)) = (task.work.take(), task.waker.take()) {
                return Some(Turn { key, work, waker });
            }
        }
    }

    /// Puts a task that waits back.
    pub(super) fn put_back(&mut self, turn: Turn) {
        if let Some(task) = self.slots.get_mut(turn.key) {
            (task.work, task.waker) = (Some(turn.work), Some(turn.waker));
        }
    }

    /// Forgets a task that has ended.
    pub(super) fn remove(&mut self, key: Key) {
        self.slots.remove(key);
    }

    /// Takes the work of all tasks out, to be dropped by the caller.
    pub(super) fn clear(&mut self) -> Vec<Work> {
        self.ready.clear();
        let keys = self.slots.keys();
        keys.into_iter().filter_map(|key| self.slots.remove(key)?.work).collect()
    }
}

impl Turn {
    /// Polls the task once. A panic ends the task and nothing else.
    pub(super) fn run(mut self) -> Ended {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::from_waker(&self.waker);
            self.work.as_mut().poll(&mut context)
        }));
        match polled {
            Ok(Poll::Pending) => Ended::Waits(self),
            Ok(Poll::Ready(())) => drop_work(self.key, self.work, None),
            Err(panic) => drop_work(self.key, self.work, Some(message(panic.as_ref()))),
        }
    }
}

/// Drops what is left of a task; that may panic, too.
fn drop_work(key: Key, work: Work, panicked: Option<String>) -> Ended {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(work)));
    match (panicked, dropped) {
        (Some(panic), _) => Ended::Panicked(key, panic),
        (None, Err(panic)) => Ended::Panicked(key, message(panic.as_ref())),
        (None, Ok(())) => Ended::Finished(key),
    }
}

/// What a panic says.
pub(super) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
