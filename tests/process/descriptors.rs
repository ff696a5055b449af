//! A process that has run out of descriptors: it serves whom it has, says what to do, does not spin, and recovers.

use std::time::Duration;

use crate::client::Client;
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::origin::Origin;
use crate::program::{pause, wait_until};

on_both_drivers!(more_clients_than_descriptors, out_of_descriptors_and_back);

/// What the process may have in all.
const LIMIT: &str = "--nofile=64:64";

/// More clients than that.
const CLIENTS: usize = 100;

fn start(driver: &'static str) -> (Gateway, Client) {
    let gateway = Setup::new(driver, Origin::plain().address).through(&["prlimit", LIMIT]).start();
    // An operator who is there when it happens.
    let mut admin = Client::connect(gateway.admin);
    assert_eq!(admin.get("/health").status, 200);
    (gateway, admin)
}

fn metric(admin: &mut Client, name: &str) -> usize {
    let text = admin.get("/metrics").text();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

fn more_clients_than_descriptors(driver: &'static str) {
    let (gateway, mut admin) = start(driver);
    let warning = gateway.program().errors().wait_for("descriptors");
    assert!(warning.contains("64") && warning.contains("ulimit -n"), "{warning}");

    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.connect()).collect();
    wait_until("an answer to each of them", || {
        metric(&mut admin, "tidegate_connections_total") + metric(&mut admin, "tidegate_connections_refused_total")
            == CLIENTS
    });
    let served = metric(&mut admin, "tidegate_connections_open");
    println!("{driver}: {served} of {CLIENTS} clients are served with 64 descriptors");
    assert!(served >= 16, "{served}");
    for round in 0..3 {
        for client in &mut clients[..served] {
            let response = client.get("/");
            assert_eq!(response.status, 200, "round {round}: {}", response.text());
        }
    }
    // The others are told, or closed.
    assert!(
        clients[served..]
            .iter_mut()
            .all(|client| client.try_response().is_ok_and(|r| r.status == 503) || client.is_ended())
    );

    drop(clients);
    wait_until("the end of all", || metric(&mut admin, "tidegate_connections_open") == 0);
    assert_eq!(gateway.connect().get("/").status, 200, "there is room again");
    gateway.stop();
}

fn out_of_descriptors_and_back(driver: &'static str) {
    let (gateway, mut admin) = start(driver);
    let baseline = gateway.descriptors();
    let mut served: Vec<Client> = (0..5).map(|_| gateway.connect()).collect();
    assert!(served.iter_mut().all(|client| client.get("/").status == 200));
    // Operators are not counted as clients, and can use up what is left.
    let operators: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(gateway.admin)).collect();
    wait_until("the last descriptor to be taken", || gateway.descriptors() >= 64);
    let mut waiting: Vec<Client> = (0..10).map(|_| gateway.connect()).collect();
    wait_until("accepts that fail", || metric(&mut admin, "tidegate_accept_errors_total") > 2);
    let line = gateway.program().errors().wait_for("accept_failed");
    assert!(line.contains("ulimit -n") && line.contains("Too many open files"), "{line}");
    for client in &mut served {
        // Without a descriptor for the backend it is a refusal, but the connection goes on.
        assert!(matches!(client.get("/").status, 200 | 503));
    }
    assert_eq!(admin.get("/health").status, 200);
    does_not_spin(&gateway);

    drop(operators);
    for client in served.iter_mut().chain(&mut waiting) {
        wait_until("an answer", || client.get("/").status == 200);
    }
    drop((served, waiting));
    wait_until("the descriptors", || gateway.descriptors() <= baseline + 1);
    assert_eq!(gateway.connect().get("/").status, 200);
    gateway.stop();
}

/// Whoever waits for descriptors does not ask for them all the time.
fn does_not_spin(gateway: &Gateway) {
    let before = gateway.cpu();
    pause(Duration::from_secs(1));
    let used = gateway.cpu() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of a processor in a second of waiting");
}
