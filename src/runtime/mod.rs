//! The runtime of one worker: a single-threaded executor over one driver.
//!
//! It is ours because what exists loses bytes and sockets on cancellation,
//! starves tasks, dies with a panic, does not fall back when io_uring is
//! refused, and cannot be simulated. It does about ten things: accept, receive,
//! send, connect, shut down, close, watch, sleep, wake and spawn.
//!
//! | file | what |
//! |---|---|
//! | `executor` | tasks and the ready queue |
//! | `keep` | tasks that are begun anew after a panic |
//! | `remote`, `parker` | wakes from this thread and from others |
//! | `timer` | a timing wheel |
//! | `sleep` | timers and deadlines, as tasks have them |
//! | `buffer` | the pool of receive buffers |
//! | `socket` | streams and listeners |
//! | `sending` | what they send, and when |
//! | `staging` | short sends of one turn, made together |
//! | `driver/` | epoll, io_uring, memory |
//! | `setup` | which driver, and why |
//!
//! The rules that hold on every driver, and that `tests` checks on each:
//! - A dropped receive, accept, connect or timer loses no byte, buffer or socket.
//! - A send that is dropped unfinished poisons its connection.
//! - A task that panics ends alone, or is begun anew where it is kept. A task that is always ready starves nobody.
//! - An empty buffer pool slows reading down; it neither fails nor spins.
//!
//! All unsafe code of the project is in here.

pub mod buffer;
mod driver;
mod executor;
pub mod inherit;
mod keep;
mod parker;
mod remote;
mod sending;
mod setup;
mod sleep;
mod socket;
mod staging;
mod sync;
mod sys;
#[cfg(test)]
mod tests;
mod timer;

pub use buffer::{BUFFER_SIZE, Chunk};
pub use driver::memory::Network;
pub use sending::Sending;
pub use setup::{Bound, Choice, DriverKind, Fallback, Options, bind, is_taken, pin_to_core, raise_descriptors};
pub use sleep::{Limited, Sleep, TimedOut, Timeout, Timer};
pub use socket::{Accept, Connect, Listener, Over, Recv, Socket};
#[cfg(test)]
pub(crate) use timer::TICK;

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::slab::Key;
use crate::base::time::Instant;
use buffer::Pool;
use driver::Driver;
use executor::{Ended, TURN_BUDGET, Tasks};
use remote::{Enter, Local, Remote, TaskRef};
use staging::Staging;
use timer::Wheel;

/// A runtime; it lives and dies on one thread.
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
}

/// The runtime as its tasks see it; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    core: Rc<Core>,
}

struct Core {
    tasks: Rc<RefCell<Tasks>>,
    remote: Arc<Remote>,
    driver: RefCell<Driver>,
    timers: RefCell<Wheel>,
    staging: Staging,
    /// The round in which the running task has put something there; 0 if it has not.
    departing: Cell<u64>,
    pool: Rc<Pool>,
    now: Cell<Instant>,
    budget: Cell<u32>,
    panics: Cell<u64>,
    turns: Cell<u64>,
    sleeps: Cell<u64>,
    /// Memory for the wakers of timers that fire; empty between turns.
    due: RefCell<Vec<Waker>>,
}

/// What a runtime holds on to, and what it has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Live tasks.
    pub tasks: usize,
    /// Live timers.
    pub timers: usize,
    /// Streams and listeners, those whose close is not over yet included.
    pub sockets: usize,
    /// Operations that the kernel has not answered yet.
    pub operations: usize,
    /// Connections accepted that nobody has taken.
    pub accepted: usize,
    /// Buffers out of the pool, those that the kernel was given excepted.
    pub buffers: usize,
    /// Bytes that sockets hold in memory of their own until their peers take them.
    pub unsent: usize,
    /// Tasks that ended with a panic or were begun anew after one, since the start.
    pub panics: u64,
    /// Looks at the driver, since the start.
    pub turns: u64,
    /// Those of them for which the thread went to sleep, unless something had come by then.
    pub sleeps: u64,
}

impl Runtime {
    fn from_parts(driver: Driver, remote: Arc<Remote>, pool: Rc<Pool>, now: Instant) -> Runtime {
        let core = Core {
            tasks: Rc::default(),
            remote,
            driver: RefCell::new(driver),
            timers: RefCell::new(Wheel::new(now)),
            staging: Staging::new(),
            departing: Cell::new(0),
            pool,
            now: Cell::new(now),
            budget: Cell::new(TURN_BUDGET),
            panics: Cell::new(0),
            turns: Cell::new(0),
            sleeps: Cell::new(0),
            due: RefCell::default(),
        };
        Runtime { handle: Handle { core: Rc::new(core) } }
    }

    /// The handle that tasks, sockets and timers are made with.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `main` and all spawned tasks until `main` has ended.
    ///
    /// The other tasks stay as they are, until the next call or the drop.
    pub fn block_on<F: Future>(&self, main: F) -> F::Output {
        let core = &self.handle.core;
        let _entered = Enter::new(Local { tasks: core.tasks.clone(), remote: core.remote.clone() });
        let mut main = pin!(main);
        let waker = Waker::from(TaskRef::new(Key::NONE, &core.remote));
        core.tasks.borrow_mut().wake(Key::NONE);
        loop {
            if core.tasks.borrow_mut().take_main() {
                core.begin_task();
                if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return output;
                }
            }
            core.run_ready();
            core.flush();
            core.turn();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let core = &self.handle.core;
        let _entered = Enter::new(Local { tasks: core.tasks.clone(), remote: core.remote.clone() });
        // Tasks hold handles, and the handle holds the tasks: the circle ends here.
        // A task's drop may spawn another, hence the loop.
        loop {
            let work = core.tasks.borrow_mut().clear();
            if work.is_empty() {
                break;
            }
            for work in work {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(work)));
            }
        }
        core.driver.borrow_mut().finish(&core.pool);
        core.remote.close();
    }
}

impl Core {
    /// What a task may do in one run counts from here.
    fn begin_task(&self) {
        self.budget.set(TURN_BUDGET);
        self.departing.set(0);
    }

    /// Makes the sends that wait for the end of the turn. Whoever waits for them goes on before the kernel is looked at,
    /// unless others are ready, too: as a rule it only begins to wait for something else.
    fn flush(&self) {
        let others = self.tasks.borrow().ready();
        if self.staging.flush(&self.driver) && others == 0 {
            self.run_ready();
            self.staging.flush(&self.driver);
        }
    }

    /// Runs the tasks that are ready now, each once.
    fn run_ready(&self) {
        let ready = self.tasks.borrow().ready();
        for _ in 0..ready {
            let Some(turn) = self.tasks.borrow_mut().next() else { break };
            self.begin_task();
            match turn.run() {
                Ended::Waits(turn) => self.tasks.borrow_mut().put_back(turn),
                Ended::Finished(key) => self.tasks.borrow_mut().remove(key),
                Ended::Panicked(key, message) => {
                    self.panics.set(self.panics.get() + 1);
                    tracing::error!(%message, "a task panicked and was ended, which is a fault of Tidegate; its connection is closed, the others go on; please report it");
                    self.tasks.borrow_mut().remove(key);
                }
            }
        }
    }

    /// Looks at the driver, the timers and the wakes of other threads, and
    /// sleeps when there is nothing to do.
    fn turn(&self) {
        self.turns.set(self.turns.get() + 1);
        let mut driver = self.driver.borrow_mut();
        driver.rouse(&self.pool);
        let until = if self.tasks.borrow().is_idle() {
            self.timers.borrow().next_event().unwrap_or(Instant::NEVER)
        } else {
            Instant::ZERO
        };
        let parker = &self.remote.parker;
        let now = if until > self.now.get() {
            self.sleeps.set(self.sleeps.get() + 1);
            parker.prepare();
            let until = if self.remote.is_empty() { until } else { Instant::ZERO };
            let now = driver.wait(until, self.now.get(), &self.pool);
            parker.awake();
            now
        } else {
            driver.wait(until, self.now.get(), &self.pool)
        };
        drop(driver);
        self.now.set(now);
        let mut due = self.due.take();
        self.timers.borrow_mut().expire(now, &mut due);
        due.drain(..).for_each(Waker::wake);
        self.due.replace(due);
        // No more than there are now: other threads may push as fast as we pop.
        for _ in 0..self.remote.len() {
            let Some(task) = self.remote.pop() else { break };
            self.tasks.borrow_mut().wake(task.key);
        }
    }
}

impl Handle {
    /// Runs `work` as a task of its own. Nobody waits for it.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.core.tasks.borrow_mut().spawn(Box::pin(work), &self.core.remote);
    }

    /// Wakes every task, so that each looks at what has changed around it.
    pub fn wake_all(&self) {
        self.core.tasks.borrow_mut().wake_all();
    }

    /// The time at the last wake-up.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.core.now.get()
    }

    /// The time right now: on the virtual clock the same as [`Handle::now`].
    #[must_use]
    pub fn now_exactly(&self) -> Instant {
        match &*self.core.driver.borrow() {
            Driver::Memory(_) => self.now(),
            _ => Instant::from_clock(),
        }
    }

    /// Waits until `deadline`; never ends for [`Instant::NEVER`].
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep::new(self.clone(), deadline)
    }

    /// Waits for `duration` from now on.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits for `work`, but not longer than until `deadline`; then it is dropped.
    pub fn timeout<F: Future>(&self, deadline: Instant, work: F) -> Timeout<F> {
        Timeout::new(self.sleep_until(deadline), work)
    }

    /// A timer that can be armed again and again, at less cost than a new one each time.
    #[must_use]
    pub fn timer(&self) -> Timer {
        Timer::new(self.clone())
    }

    /// Lets the other tasks and the kernel have a turn.
    pub fn yield_now(&self) -> Yield {
        Yield(false)
    }

    /// Connects to `address`. The attempt begins in this call.
    ///
    /// # Errors
    /// The system's, such as `ConnectionRefused`.
    pub fn connect(&self, address: SocketAddr) -> Connect {
        let begun = self.driver().connect(address);
        Connect::new(self.clone(), begun)
    }

    /// Connects to the Unix socket at `path`. While its listener's queue is full, it tries again every few
    /// milliseconds, for as long as the future is awaited.
    ///
    /// # Errors
    /// The system's, such as `NotFound`, `PermissionDenied`, and `ConnectionRefused` when nobody listens there any
    /// more; `InvalidInput` for a path that cannot be one.
    pub fn connect_unix(&self, path: &Arc<Path>) -> Connect {
        let begun = self.driver().connect_unix(path);
        Connect::new_unix(self.clone(), begun, path)
    }

    /// Accepts the connections of a socket that [`bind`] made.
    ///
    /// # Errors
    /// When the driver cannot take the socket, and always on the memory driver,
    /// which listens with [`Handle::listen_in_memory`].
    pub fn listen(&self, bound: Bound) -> io::Result<Listener> {
        let key = self.driver().adopt_listener(bound.into_fd())?;
        Ok(Listener::new(self.clone(), key))
    }

    /// Listens at an address of the in-memory network.
    ///
    /// # Errors
    /// `AddrInUse`; `Unsupported` on the other drivers.
    pub fn listen_in_memory(&self, address: SocketAddr) -> io::Result<Listener> {
        let Driver::Memory(driver) = &mut *self.driver() else { return Err(io::ErrorKind::Unsupported.into()) };
        let key = driver.listen(address)?;
        Ok(Listener::new(self.clone(), key))
    }

    /// Listens at a path of the in-memory network.
    ///
    /// # Errors
    /// `AddrInUse`; `Unsupported` on the other drivers.
    pub fn listen_in_memory_at_path(&self, path: &Path) -> io::Result<Listener> {
        let Driver::Memory(driver) = &mut *self.driver() else { return Err(io::ErrorKind::Unsupported.into()) };
        let key = driver.listen_unix(path)?;
        Ok(Listener::new(self.clone(), key))
    }

    /// What the runtime holds on to, and what it has counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let held = self.core.driver.borrow().held();
        Stats {
            tasks: self.core.tasks.borrow().len(),
            timers: self.core.timers.borrow().len(),
            sockets: held.sockets,
            operations: held.operations,
            accepted: held.accepted,
            buffers: self.core.pool.in_use() - held.lent,
            unsent: self.core.pool.unsent(),
            panics: self.core.panics.get(),
            turns: self.core.turns.get(),
            sleeps: self.core.sleeps.get(),
        }
    }

    fn driver(&self) -> RefMut<'_, Driver> {
        self.core.driver.borrow_mut()
    }

    fn pool(&self) -> &Rc<Pool> {
        &self.core.pool
    }

    /// Whether the running task may complete another operation in this turn;
    /// otherwise it is queued again.
    fn poll_budget(&self, context: &Context<'_>) -> Poll<()> {
        if self.core.budget.get() > 0 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the running task has sent something that goes out at the end of the turn, after which it goes on.
    #[must_use]
    pub fn is_departing(&self) -> bool {
        self.core.departing.get() == self.core.staging.round()
    }

    /// The running task has completed an operation. One that only looked pays
    /// nothing: a task may wait for more things than its budget allows to do.
    fn spend_budget(&self) {
        self.core.budget.set(self.core.budget.get().saturating_sub(1));
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// A pause of one turn; see [`Handle::yield_now`].
#[derive(Debug)]
#[must_use = "a pause does nothing until it is awaited"]
pub struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
