//! Large bodies in little memory, and readers that stop reading.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, status, value};
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::origin::{Origin, Request};
use crate::probe::Memory;
use crate::program::{pause, wait_for};

on_both_drivers!(large_bodies_both_ways, stalled_readers_stop_the_backend, stalled_backends_stop_the_clients);

const MIB: u64 = 1024 * 1024;

/// So many short messages on a connection have it received from as one on which short messages come.
const STEADY: usize = 8;

/// Resident memory that a transfer may add, whatever its size: the buffers of a worker are 10 MiB.
const GROWTH: u64 = 32 * MIB;

fn size() -> u64 {
    if crate::is_soak() { 5_000_000_000 } else { 256 * MIB }
}

/// Sends `left` bytes.
fn pour(to: &mut impl Write, mut left: u64) -> std::io::Result<()> {
    let block = vec![b'x'; 256 * 1024];
    while left > 0 {
        let some = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(&block[..some])?;
        left -= some as u64;
    }
    Ok(())
}

/// Takes `left` bytes and drops them.
fn drain(from: &mut impl BufRead, mut left: u64) {
    while left > 0 {
        let some = from.fill_buf().unwrap().len().min(usize::try_from(left).unwrap_or(usize::MAX));
        assert!(some > 0, "{left} bytes are missing");
        from.consume(some);
        left -= some as u64;
    }
}

fn answer(request: &mut Request) -> std::io::Result<()> {
    if request.path == "/down" {
        request.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size()))?;
        return pour(request.stream(), size());
    }
    let length = request.take_body()?;
    request.reply(&length.to_string())
}

fn large_bodies_both_ways(driver: &'static str) {
    let origin = Origin::start(answer);
    let gateway = Setup::new(driver, origin.address).start();
    let mut client = gateway.connect();
    assert_eq!(client.get("/").text(), "0");
    let before = gateway.memory();

    let begun = Instant::now();
    client.send(format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", size()));
    pour(&mut client.socket(), size()).unwrap();
    assert_eq!(client.response().text(), size().to_string());
    report(driver, "up", begun, before, gateway.memory());

    let begun = Instant::now();
    client.ask("/down");
    let head = client.head().unwrap();
    assert_eq!((status(&head), value(&head, "content-length")), (200, Some(size().to_string().as_str())));
    drain(&mut client.large_reader(), size());
    report(driver, "down", begun, before, gateway.memory());
    assert_eq!(client.get("/").text(), "0", "the connection is as good as before");
    gateway.stop();
}

#[track_caller]
fn report(driver: &str, way: &str, begun: Instant, before: Memory, after: Memory) {
    let Memory { resident, peak, .. } = after;
    println!(
        "{driver}: {} MB {way} in {:?}; resident memory {} KiB before, {} KiB after, {} KiB at most",
        size() / 1_000_000,
        begun.elapsed(),
        before.resident / 1024,
        resident / 1024,
        peak / 1024
    );
    assert!(peak < before.resident + GROWTH, "{peak} bytes were resident, {} before", before.resident);
}

/// How many readers stall.
const STALLED: usize = 20;

/// What the kernel's four socket buffers between the backend and a reader hold at most, with room to spare.
const KERNEL: u64 = 24 * MIB;

fn stalled_readers_stop_the_backend(driver: &'static str) {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let origin = Origin::start(move |request| {
        if request.path != "/endless" {
            return request.reply("hello");
        }
        request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let mut chunk = b"10000\r\n".to_vec();
        chunk.extend(vec![b'x'; 0x10000]);
        chunk.extend(b"\r\n");
        loop {
            request.send(&chunk)?;
            counter.fetch_add(0x10000, Ordering::Relaxed);
        }
    });
    let gateway = Setup::new(driver, origin.address).start();
    assert_eq!(gateway.connect().get("/").text(), "hello");
    let before = gateway.memory();
    let mut readers: Vec<Client> = (0..STALLED).map(|_| gateway.connect()).collect();
    // Such as have had a few answers, both here and at the backend, which are received otherwise than the first ones.
    for _ in 0..STEADY {
        readers.iter_mut().for_each(|reader| reader.ask("/"));
        readers.iter_mut().for_each(|reader| assert_eq!(reader.response().text(), "hello"));
    }
    for reader in &mut readers {
        reader.ask("/endless");
        assert_eq!(status(&reader.head().unwrap()), 200);
    }
    let total = when_it_stops(&taken);
    let grown = gateway.memory().resident.saturating_sub(before.resident);
    println!(
        "{driver}: {STALLED} readers that stall took {} KiB each from the backend, and {} KiB each of resident memory",
        total / STALLED as u64 / 1024,
        grown / STALLED as u64 / 1024
    );
    assert!(total < KERNEL * STALLED as u64, "{total} bytes were taken from the backend for {STALLED} stalled readers");
    assert!(grown < 12 * MIB, "{grown} bytes for {STALLED} stalled readers");
    does_nothing(&gateway);
    // Whoever reads on gets on.
    let before = taken.load(Ordering::Relaxed);
    drain(&mut readers[0].large_reader(), KERNEL);
    wait_for("the backend to go on", || (taken.load(Ordering::Relaxed) > before).then_some(()));
    assert_eq!(gateway.connect().get("/").text(), "hello");
    drop(readers);
    gateway.wait_for_open(0);
    gateway.stop();
}

fn stalled_backends_stop_the_clients(driver: &'static str) {
    let origin = Origin::start(|request| match request.path.as_str() {
        "/stalled" => {
            std::thread::park();
            Ok(())
        }
        _ => request.reply("hello"),
    });
    // Behind what the gateway does not take yet, it cannot see that a client has left: this time is the end of it.
    let gateway = Setup::new(driver, origin.address).service("send_timeout = \"4s\"").start();
    assert_eq!(gateway.connect().get("/").text(), "hello");
    let before = gateway.memory();
    let mut senders: Vec<Client> = (0..STALLED).map(|_| gateway.connect()).collect();
    for sender in &mut senders {
        (0..STEADY).for_each(|_| assert_eq!(sender.get("/").text(), "hello"));
        sender.send("POST /stalled HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n");
        sender.socket().set_nonblocking(true).unwrap();
    }
    let taken = AtomicU64::new(0);
    let block = [b'x'; 0x10000];
    let total = when_it_stops_after(&taken, || {
        for sender in &senders {
            while let Ok(some) = sender.socket().write(&block) {
                taken.fetch_add(some as u64, Ordering::Relaxed);
            }
        }
    });
    let grown = gateway.memory().resident.saturating_sub(before.resident);
    let (total_each, grown_each) = (total / STALLED as u64 / 1024, grown / STALLED as u64 / 1024);
    println!("{driver}: {STALLED} backends that stall: {total_each} KiB taken and {grown_each} KiB resident for each");
    assert!(total < KERNEL * STALLED as u64, "{total} bytes were taken for {STALLED} stalled backends");
    assert!(grown < 12 * MIB, "{grown} bytes for {STALLED} stalled backends");
    does_nothing(&gateway);
    assert_eq!(gateway.connect().get("/").text(), "hello");
    drop(senders);
    gateway.wait_for_open(0);
    gateway.stop();
}

/// Waits until nothing more is taken for half a second; how much it was.
fn when_it_stops(taken: &AtomicU64) -> u64 {
    when_it_stops_after(taken, || {})
}

/// The same, with something to do before each look.
fn when_it_stops_after(taken: &AtomicU64, mut work: impl FnMut()) -> u64 {
    let mut last = (taken.load(Ordering::Relaxed), Instant::now());
    wait_for("the flow to stop", || {
        work();
        let now = taken.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

/// Whoever waits for readers does not use the processor.
fn does_nothing(gateway: &Gateway) {
    let before = gateway.cpu();
    pause(Duration::from_millis(500));
    let used = gateway.cpu() - before;
    assert!(used < Duration::from_millis(100), "{used:?} of a processor in half a second of waiting");
}
