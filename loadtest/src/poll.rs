//! One thread's wait for sockets and for a moment in time, to the microsecond.
//!
//! `epoll_wait` counts milliseconds, so the moment is a timerfd's.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::time::{Duration, Instant};

/// The token of the timer, which no socket may have.
const TIMER: u64 = u64::MAX;
const EVENTS: usize = 1024;

/// What a socket is ready for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: usize,
    pub(crate) write: bool,
    /// There is something to read, if only the end or an error.
    pub(crate) read: bool,
}

/// Which sockets are watched, and until when.
pub(crate) struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// When the timer goes off.
    armed: Option<Instant>,
    events: Vec<Event>,
}

/// What is waited for at a socket; its level counts, not its edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    Read,
    Write,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN | EventFlags::RDHUP,
            Self::Write => EventFlags::OUT,
        }
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // Its edge, so that nobody has to read it; setting it again makes a new one.
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, timer, armed: None, events: Vec::with_capacity(EVENTS) })
    }

    pub(crate) fn add(&self, socket: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token as u64), interest.flags())?)
    }

    pub(crate) fn change(&self, socket: impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token as u64), interest.flags())?)
    }

    /// Waits for sockets, but not beyond `until`; which are ready goes to `ready`.
    pub(crate) fn wait(&mut self, until: Instant, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let now = Instant::now();
        // A moment that has passed is not waited for: the sockets are only looked at.
        let timeout = (until <= now).then_some(Timespec { tv_sec: 0, tv_nsec: 0 });
        if timeout.is_none() && self.armed.is_none_or(|armed| armed <= now || armed > until) {
            self.arm(until - now)?;
            self.armed = Some(until);
        }
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let (data, flags) = (event.data, event.flags);
            if data.u64() == TIMER {
                continue;
            }
            let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            ready.push(Ready {
                token: usize::try_from(data.u64()).unwrap_or(usize::MAX),
                write: failed || flags.contains(EventFlags::OUT),
                read: failed || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
            });
        }
        Ok(())
    }

    fn arm(&self, after: Duration) -> io::Result<()> {
        let value = Timespec::try_from(after).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: never, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_moment_and_not_a_millisecond_later() {
        let mut poll = Poll::new().unwrap();
        let mut ready = Vec::new();
        let mut late = Vec::new();
        for _ in 0..50 {
            let until = Instant::now() + Duration::from_micros(200);
            while Instant::now() < until {
                poll.wait(until, &mut ready).unwrap();
            }
            late.push(until.elapsed());
        }
        late.sort();
        // The best of them: a busy machine delays any one wait.
        assert!(late[0] < Duration::from_micros(500), "{late:?}");
        assert!(ready.is_empty());
    }

    #[test]
    fn a_later_moment_does_not_hide_an_earlier_one() {
        let mut poll = Poll::new().unwrap();
        let (start, mut ready) = (Instant::now(), Vec::new());
        let (listener, hour) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), Duration::from_secs(3600));
        poll.add(&listener, 7, Interest::Read).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        poll.wait(start + hour, &mut ready).unwrap();
        assert!(matches!(ready[..], [Ready { token: 7, read: true, write: false }]));
        drop(listener);
        poll.wait(start + Duration::from_millis(5), &mut ready).unwrap();
        assert!(ready.is_empty() && start.elapsed() < hour);
    }
}
