//! Wakes: from the worker's own thread, and from any other.
//!
//! A waker may end up anywhere (a channel's sender, an HTTP/2 library's state),
//! so it is `Send`, and names the task without touching it. On the worker's own
//! thread a wake is a push to the ready queue. From elsewhere it goes through a
//! lock-free queue, and one eventfd rings a worker that sleeps.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Wake;
use std::thread::Thread;

use crossbeam_queue::SegQueue;

use super::executor::Tasks;
use super::parker::Parker;
use crate::base::slab::Key;

/// What other threads see of a worker.
#[derive(Debug)]
pub(super) struct Remote {
    woken: SegQueue<Arc<TaskRef>>,
    pub(super) parker: Parker,
    bell: Bell,
    /// The worker is gone, and takes nothing from the queue any more.
    closed: AtomicBool,
}

/// How a sleeping worker is woken.
#[derive(Debug)]
pub(super) enum Bell {
    /// The driver polls this eventfd.
    EventFd(OwnedFd),
    /// The worker is parked (the memory driver has no descriptors).
    Thread(Thread),
}

impl Remote {
    pub(super) fn new(bell: Bell) -> Arc<Remote> {
        Arc::new(Remote { woken: SegQueue::new(), parker: Parker::new(), bell, closed: AtomicBool::new(false) })
    }

    /// The next task that another thread has woken.
    pub(super) fn pop(&self) -> Option<Arc<TaskRef>> {
        let task = self.woken.pop()?;
        // Cleared before the task runs, with the order that makes all that the
        // waker wrote visible to it; a wake after this queues the task again.
        task.queued_remotely.swap(false, Ordering::AcqRel);
        Some(task)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.woken.is_empty()
    }

    /// How many tasks other threads have woken.
    pub(super) fn len(&self) -> usize {
        self.woken.len()
    }

    /// The worker ends: later wakes leave nothing behind.
    ///
    /// A queued task holds the queue that it is in, so what stayed there would
    /// never be freed. This is the parker's handshake again (close, fence, empty
    /// the queue; push, fence, look whether it is closed): a task pushed at the
    /// same time is taken out by one of the two.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.clear();
    }

    fn clear(&self) {
        while self.woken.pop().is_some() {}
    }

    fn push(&self, task: Arc<TaskRef>) {
        if task.queued_remotely.swap(true, Ordering::AcqRel) {
            return;
        }
        self.woken.push(task);
        if self.parker.notify() {
            match &self.bell {
                // It fails only when its counter is full, and then it rings anyway.
                Bell::EventFd(eventfd) => drop(rustix::io::write(eventfd, &1u64.to_ne_bytes())),
                Bell::Thread(thread) => thread.unpark(),
            }
        }
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) {
            self.clear();
        }
    }
}

/// A task as its wakers know it.
#[derive(Debug)]
pub(super) struct TaskRef {
    pub(super) key: Key,
    remote: Arc<Remote>,
    queued_remotely: AtomicBool,
}

impl TaskRef {
    pub(super) fn new(key: Key, remote: &Arc<Remote>) -> Arc<TaskRef> {
        Arc::new(TaskRef { key, remote: remote.clone(), queued_remotely: AtomicBool::new(false) })
    }

    /// Queues the task if its runtime is the one of this thread.
    fn wake_here(&self) -> bool {
        let here = LOCAL.try_with(|local| {
            let local = local.borrow();
            let own = local.as_ref().filter(|local| Arc::ptr_eq(&local.remote, &self.remote));
            own.map(|local| local.tasks.borrow_mut().wake(self.key)).is_some()
        });
        here.unwrap_or(false)
    }
}

impl Wake for TaskRef {
    fn wake(self: Arc<Self>) {
        if !self.wake_here() {
            let remote = self.remote.clone();
            remote.push(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.wake_here() {
            self.remote.push(self.clone());
        }
    }
}

/// The runtime that runs on this thread.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) tasks: Rc<RefCell<Tasks>>,
    pub(super) remote: Arc<Remote>,
}

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// Makes a runtime the one of this thread until dropped; they nest.
pub(super) struct Enter(Option<Local>);

impl Enter {
    pub(super) fn new(local: Local) -> Enter {
        Enter(LOCAL.with(|slot| slot.replace(Some(local))))
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        // Dropped outside of the borrow: it may own the last task.
        let left = LOCAL.with(|slot| slot.replace(self.0.take()));
        drop(left);
    }
}
