//! The control thread: everything slow.
//!
//! A thread with a runtime of its own (tokio, for its ecosystem). Today it
//! answers operators on the admin listener and writes the workers' events to
//! the log; it never sees a request.

mod admin;
mod log;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::shard::Shared;

/// The control thread, as the one who started it sees it.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts the thread, with the admin listener at `admin`.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the thread not be made.
    pub fn start(admin: SocketAddr, shared: Arc<Shared>) -> io::Result<Control> {
        let listener = std::net::TcpListener::bind(admin)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            runtime.block_on(async {
                let log = tokio::spawn(log::write_events(shared.clone()));
                admin::serve(listener, shared.clone(), stopped).await;
                log.abort();
                log::write_all(&shared, &mut log::Throttle::default());
            });
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(body)?;
        Ok(Control { address, stop, thread })
    }

    /// Where the admin listener is, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the thread and waits for its end.
    ///
    /// # Errors
    /// When it has panicked.
    pub fn stop(self) -> std::thread::Result<()> {
        // It is gone already if it has panicked; the join tells.
        let _ = self.stop.send(());
        self.thread.join()
    }
}
