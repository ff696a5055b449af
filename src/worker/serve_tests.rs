//! How large what serves a connection may be.

use super::*;

fn sizes<R: Future<Output = Infallible>, F>(
    requests: fn(RequestDesk) -> R,
    _: fn(Box<Connection>, Admission, Rc<Requests<R>>) -> F,
) -> (usize, usize) {
    let _ = requests;
    (size_of::<Connection>() + size_of::<F>(), size_of::<R>())
}

/// An idle connection is to cost less than 2 KiB in all; its task is the largest part.
#[test]
fn futures_stay_small() {
    let (idle, busy) = sizes(serve_requests, serve);
    assert!(idle <= 784, "a connection's task has grown to {idle} bytes");
    assert!(busy <= 3584, "a request's future has grown to {busy} bytes");
}
