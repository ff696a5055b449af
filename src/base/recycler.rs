//! Memory for futures that come and go.
//!
//! A connection idles as a small task; while it has a request it needs ten
//! times the memory. A [`Recycler`] keeps that memory for the next request, so
//! that idle connections do not hold it and busy ones do not allocate it.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A future's place in memory.
type Place<F> = Pin<Box<Option<F>>>;

/// Places for futures of one type.
pub struct Recycler<F> {
    spare: RefCell<Vec<Place<F>>>,
    keep: usize,
}

/// A future that runs in a recycled place.
#[must_use = "a future does nothing until it is awaited"]
pub struct Recycled<F> {
    place: Option<Place<F>>,
    home: Rc<Recycler<F>>,
}

impl<F: Future> Recycler<F> {
    /// A recycler that keeps at most `keep` unused places.
    #[must_use]
    pub fn new(keep: usize) -> Rc<Recycler<F>> {
        Rc::new(Recycler { spare: RefCell::default(), keep })
    }

    /// Puts `future` into a place that is free, or a new one.
    pub fn run(self: &Rc<Self>, future: F) -> Recycled<F> {
        let spare = self.spare.borrow_mut().pop();
        let mut place = spare.unwrap_or_else(|| Box::pin(None));
        place.as_mut().set(Some(future));
        Recycled { place: Some(place), home: self.clone() }
    }
}

impl<F: Future> Future for Recycled<F> {
    type Output = F::Output;

    /// # Panics
    /// When polled after it has ended, as other futures do.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.place.as_mut().and_then(|place| place.as_mut().as_pin_mut());
        future.expect("polled until it has ended").poll(context)
    }
}

impl<F> Drop for Recycled<F> {
    fn drop(&mut self) {
        let Some(mut place) = self.place.take() else { return };
        // The future first: it may recycle others.
        place.as_mut().set(None);
        let mut spare = self.home.spare.borrow_mut();
        if spare.len() < self.home.keep {
            spare.push(place);
        }
    }
}

impl<F> fmt::Debug for Recycler<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recycler").field("spare", &self.spare.borrow().len()).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for Recycled<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recycled").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_place_is_used_again_and_no_more_are_kept_than_asked_for() {
        let recycler = Recycler::new(1);
        let mut context = Context::from_waker(Waker::noop());
        let dropped = Rc::new(());
        let work = |dropped: Rc<()>| async move { Rc::strong_count(&dropped) };
        let mut first = recycler.run(work(dropped.clone()));
        let second = recycler.run(work(dropped.clone()));
        let address = |recycled: &Recycled<_>| std::ptr::from_ref(&**recycled.place.as_ref().unwrap()).addr();
        let place = address(&first);
        assert_eq!(Pin::new(&mut first).poll(&mut context), Poll::Ready(3));
        drop(first);
        drop(second);
        assert_eq!(Rc::strong_count(&dropped), 1, "both futures were dropped");
        assert_eq!(recycler.spare.borrow().len(), 1);
        assert_eq!(address(&recycler.run(work(dropped.clone()))), place);
    }
}
