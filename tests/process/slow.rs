//! Two hundred clients that send or take a byte a second: the others do not notice.

use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::origin::Origin;
use crate::program::{pause, wait_until};

on_both_drivers!(slow_clients_do_not_slow_others);

const SLOW: usize = 200;
const ORDINARY: usize = 1000;

fn slow_clients_do_not_slow_others(driver: &'static str) {
    let origin = Origin::start(|request| match request.path.as_str() {
        "/large" => request.reply(&"x".repeat(20_000_000)),
        _ => {
            request.take_body()?;
            request.reply("hello")
        }
    });
    let gateway = Setup::new(driver, origin.address).start();
    let mut ordinary: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
    measure(&mut ordinary);
    let alone = measure(&mut ordinary);
    let slow = Slow::start(&gateway);
    gateway.wait_for_open((SLOW + ordinary.len()) as u64);
    // As much of the downloads as the kernel holds is on its way at first.
    let mut last = Duration::MAX;
    wait_until("the first bytes to be sent", || {
        pause(Duration::from_millis(100));
        gateway.cpu() == std::mem::replace(&mut last, gateway.cpu())
    });
    let together = measure(&mut ordinary);

    let before = gateway.cpu();
    pause(Duration::from_millis(1500));
    let used = gateway.cpu() - before;
    assert!(used < Duration::from_millis(300), "{used:?} of a processor in 1.5 s for {SLOW} bytes a second");
    let last = measure(&mut ordinary);
    assert_eq!(gateway.open(), (SLOW + ordinary.len()) as u64, "the slow clients are all still there");
    slow.stop();
    println!("{driver}: p99 {alone:?} alone, {together:?} and {last:?} beside {SLOW} slow clients; {used:?} of CPU");
    // Whoever has to wait for a slow client waits for a second.
    let most = alone * 10 + Duration::from_millis(50);
    assert!(together < most && last < most, "p99 {alone:?} alone, {together:?} and {last:?} together");
    gateway.stop();
}

/// The 99th percentile of the time that a request takes.
fn measure(clients: &mut [Client]) -> Duration {
    let mut times: Vec<Duration> = (0..ORDINARY)
        .map(|number| {
            let at = number % clients.len();
            let begun = Instant::now();
            assert_eq!(clients[at].get("/").status, 200);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ORDINARY * 99 / 100]
}

/// The slow clients, on a thread of their own.
struct Slow {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Slow {
    fn start(gateway: &Gateway) -> Slow {
        let mut senders: Vec<Client> = (0..SLOW / 2).map(|_| gateway.connect()).collect();
        let mut readers: Vec<Client> = (0..SLOW / 4).map(|_| gateway.connect()).collect();
        let mut uploads: Vec<Client> = (0..SLOW / 4).map(|_| gateway.connect()).collect();
        for reader in &mut readers {
            reader.ask("/large");
        }
        for upload in &mut uploads {
            upload.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n");
        }
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Long: {}", "x".repeat(1000));
            for byte in head.as_bytes() {
                senders.iter_mut().chain(&mut uploads).for_each(|client| client.send([*byte]));
                readers.iter_mut().for_each(|client| client.socket().read_exact(&mut [0]).unwrap());
                if stopped.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Slow { stop, thread }
    }

    fn stop(self) {
        drop(self.stop);
        self.thread.join().expect("every slow client was served to the end");
    }
}
