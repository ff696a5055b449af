//! Ten thousand connections on one worker: what each costs, and that each is served.

use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::Client;
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::origin::Origin;

on_both_drivers!(ten_thousand_idle_connections_are_small_and_each_is_served);

const CONNECTIONS: usize = 10_000;

/// User memory that an idle connection may take.
const MOST: u64 = 2048;

/// One such test at a time: the clients of both would be too many for one process.
static TURN: Mutex<()> = Mutex::new(());

/// Lets this process, and what it starts from now on, have that many descriptors.
fn raise_descriptors(count: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < count) {
        assert!(maximum.is_none_or(|most| most >= count), "this test needs {count} descriptors: raise `ulimit -Hn`");
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum }).unwrap();
    }
}

fn ten_thousand_idle_connections_are_small_and_each_is_served(driver: &'static str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    raise_descriptors(CONNECTIONS as u64 + 2000);
    let origin = Origin::plain();
    let gateway = Setup::new(driver, origin.address).start();
    // The buffers of the worker belong to no connection: they are all used once before we count.
    let mut first = gateway.connect();
    for _ in 0..2000 {
        assert_eq!(first.get("/").status, 200);
    }
    let before = gateway.memory();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| gateway.connect()).collect();
    gateway.wait_for_open(CONNECTIONS as u64 + 1);
    let fresh = (gateway.memory().private - before.private) / CONNECTIONS as u64;
    serve_each(&mut clients);
    serve_each(&mut clients);
    let served = gateway.memory().private.saturating_sub(before.private) / CONNECTIONS as u64;
    println!("{driver}: {fresh} bytes of user memory for a connection that has sent nothing, {served} after requests");
    assert!(fresh < MOST && served < MOST, "{fresh} and {served} bytes for an idle connection, over {MOST}");
    clients.truncate(1);
    gateway.wait_for_open(2);
    settle(&gateway, clients, first);
}

/// A request on every connection.
fn serve_each(clients: &mut [Client]) {
    // In portions, so that requests overlap.
    for portion in clients.chunks_mut(100) {
        portion.iter_mut().for_each(|client| client.ask("/"));
        for client in portion {
            assert_eq!(client.response().status, 200);
        }
    }
}

fn settle(gateway: &Gateway, mut clients: Vec<Client>, mut first: Client) {
    assert_eq!((clients[0].get("/").status, first.get("/").status), (200, 200));
    assert_eq!(gateway.metric("tidegate_task_panics_total"), 0);
}
