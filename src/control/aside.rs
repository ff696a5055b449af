//! Long work of the control thread, on threads that give way to the workers.
//!
//! To compile a configuration, or to make the text of ten thousand routes' metrics, takes tens of milliseconds. Neither
//! what else the control thread has to do nor, where processors are short, requests wait for that.

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// How nice such a thread is: it gets a quarter of a processor that it shares with one worker.
const NICE: i32 = 5;

/// Does some work on a thread of its own, called `name`. It is done to its end even where nobody waits for it any more.
/// `None` if it panics, or no thread can be had; the log says which.
pub(super) async fn aside<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (reply, made) = oneshot::channel();
    let body = move || {
        // On Linux it is the thread's own. Where it cannot be, the work is done like any other.
        let _ = setpriority_process(None, NICE);
        // Who waits for it may have gone.
        let _ = reply.send(work());
    };
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
        tracing::error!(%error, thread = name, "no thread can be started; see whether the system has run out of them");
        return None;
    }
    made.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[tokio::test(flavor = "current_thread")]
    async fn the_thread_alone_gives_way_and_a_panic_is_nothing() {
        let before = getpriority_process(None).unwrap();
        let after = aside("test", || getpriority_process(None).unwrap()).await.unwrap();
        assert!(after == NICE || before > NICE, "{after}");
        assert_eq!(getpriority_process(None).unwrap(), before);
        assert_eq!(aside("test", || assert_ne!(1 + 1, 2)).await, None);
    }
}
