//! Futures that are used again and again.
//!
//! A connection idles as a small task; while it has a request it needs ten times the memory. A [`Recycler`] keeps
//! futures that carry out one piece of work after the other, so that idle connections hold none of that memory, and busy
//! ones neither allocate it nor move it: a future that is made anew for each request is written whole, and most of it is
//! written for nothing.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Where a future finds its work, and leaves what has come of it.
pub struct Desk<I, O> {
    work: Cell<Option<I>>,
    done: Cell<Option<O>>,
}

impl<I, O> Desk<I, O> {
    /// The next piece of work.
    pub async fn next(&self) -> I {
        poll_fn(|_| match self.work.take() {
            Some(work) => Poll::Ready(work),
            // Nobody has to be woken: it is polled by who puts work here.
            None => Poll::Pending,
        })
        .await
    }

    /// What has come of the work; the next is to be asked for then.
    pub fn finish(&self, output: O) {
        self.done.set(Some(output));
    }
}

/// A future at its desk.
struct Place<I, O, F> {
    future: Pin<Box<F>>,
    desk: Rc<Desk<I, O>>,
}

/// Futures of one type, which take work from their desks for ever.
pub struct Recycler<I, O, F> {
    spare: RefCell<Vec<Place<I, O, F>>>,
    make: fn(Rc<Desk<I, O>>) -> F,
    keep: usize,
}

/// A piece of work on its way.
#[must_use = "a future does nothing until it is awaited"]
pub struct Recycled<I, O, F> {
    place: Option<Place<I, O, F>>,
    home: Rc<Recycler<I, O, F>>,
}

impl<I, O, F: Future<Output = Infallible>> Recycler<I, O, F> {
    /// A recycler that keeps at most `keep` futures that have nothing to do, and makes others.
    #[must_use]
    pub fn new(keep: usize, make: fn(Rc<Desk<I, O>>) -> F) -> Rc<Recycler<I, O, F>> {
        Rc::new(Recycler { spare: RefCell::default(), make, keep })
    }

    /// Gives `work` to a future that has none.
    pub fn run(self: &Rc<Self>, work: I) -> Recycled<I, O, F> {
        let spare = self.spare.borrow_mut().pop();
        let place = spare.unwrap_or_else(|| {
            let desk = Rc::new(Desk { work: Cell::new(None), done: Cell::new(None) });
            Place { future: Box::pin((self.make)(desk.clone())), desk }
        });
        place.desk.work.set(Some(work));
        Recycled { place: Some(place), home: self.clone() }
    }
}

impl<I, O, F: Future<Output = Infallible>> Future for Recycled<I, O, F> {
    type Output = O;

    /// # Panics
    /// When polled after it has ended, as other futures do.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<O> {
        let place = self.place.as_mut().expect("polled until it has ended");
        let Poll::Pending = place.future.as_mut().poll(context);
        let Some(done) = place.desk.done.take() else { return Poll::Pending };
        // One that is dropped in the middle of its work, or has panicked, is of no use any more.
        let place = self.place.take();
        let mut spare = self.home.spare.borrow_mut();
        if spare.len() < self.home.keep {
            spare.extend(place);
        }
        Poll::Ready(done)
    }
}

impl<I, O> fmt::Debug for Desk<I, O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl<I, O, F> fmt::Debug for Recycler<I, O, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recycler").field("spare", &self.spare.borrow().len()).finish_non_exhaustive()
    }
}

impl<I, O, F> fmt::Debug for Recycled<I, O, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recycled").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// What is asked for: the number of owners of something, now or after a pause, or a panic.
    enum Work {
        Now(Rc<()>),
        Paused(Rc<()>),
        Panic,
    }

    async fn count(desk: Rc<Desk<Work, usize>>) -> Infallible {
        loop {
            let owned = match desk.next().await {
                Work::Now(owned) => owned,
                Work::Paused(owned) => {
                    let mut paused = false;
                    poll_fn(|_| if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending })
                        .await;
                    owned
                }
                Work::Panic => panic!("as asked for"),
            };
            desk.finish(Rc::strong_count(&owned));
        }
    }

    fn poll<F: Future<Output = Infallible>>(recycled: &mut Recycled<Work, usize, F>) -> Poll<usize> {
        Pin::new(recycled).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn address<F>(recycled: &Recycled<Work, usize, F>) -> usize {
        std::ptr::from_ref(&*recycled.place.as_ref().unwrap().future).addr()
    }

    #[test]
    fn a_future_is_used_again_and_no_more_are_kept_than_asked_for() {
        let recycler = Recycler::new(1, count);
        let owned = Rc::new(());
        let mut first = recycler.run(Work::Paused(owned.clone()));
        let mut second = recycler.run(Work::Now(owned.clone()));
        let place = address(&first);
        assert_eq!(poll(&mut first), Poll::Pending);
        assert_eq!(poll(&mut first), Poll::Ready(3));
        assert_eq!(poll(&mut second), Poll::Ready(2), "the first has let go of what it had");
        assert_eq!(recycler.spare.borrow().len(), 1);
        let mut third = recycler.run(Work::Paused(owned.clone()));
        assert_eq!(address(&third), place);
        assert_eq!(poll(&mut third), Poll::Pending);
        assert_eq!(poll(&mut third), Poll::Ready(2));
    }

    #[test]
    fn what_is_broken_off_is_not_used_again() {
        let recycler = Recycler::new(1, count);
        let owned = Rc::new(());
        let mut dropped = recycler.run(Work::Paused(owned.clone()));
        assert_eq!(poll(&mut dropped), Poll::Pending);
        drop(dropped);
        assert_eq!(Rc::strong_count(&owned), 1, "it is dropped with what it had");
        drop(recycler.run(Work::Now(owned.clone())));
        assert_eq!(Rc::strong_count(&owned), 1, "and so is work that was never begun");
        let mut panicked = recycler.run(Work::Panic);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut panicked))).is_err());
        drop(panicked);
        assert!(recycler.spare.borrow().is_empty());
    }
}
