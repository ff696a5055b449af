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

/// Takes descriptors that the gateway does not know of, as a library or whoever has started it might.
const CROWD: &str = "for number in {20..49}; do eval \"exec $number</dev/null\"; done; exec \"$@\"";

fn start(driver: &'static str, wrapper: &[&str]) -> (Gateway, Client) {
    let gateway = Setup::new(driver, Origin::plain().address).through(&["prlimit", LIMIT]).through(wrapper).start();
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
    let (gateway, mut admin) = start(driver, &[]);
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
    let (gateway, mut admin) = start(driver, &["bash", "-c", CROWD, "bash"]);
    let baseline = gateway.descriptors();
    // Enough for those who are served, and not for those who come then.
    assert!((47..=52).contains(&baseline), "{baseline}");
    let mut served: Vec<Client> = (0..5).map(|_| gateway.connect()).collect();
    assert!(served.iter_mut().all(|client| client.get("/").status == 200));
    let mut waiting: Vec<Client> = (0..13).map(|_| gateway.connect()).collect();
    wait_until("accepts that fail", || metric(&mut admin, "tidegate_accept_errors_total") > 2);
    let line = gateway.program().errors().wait_for("accept_failed");
    assert!(line.contains("ulimit -n") && line.contains("Too many open files"), "{line}");
    for client in &mut served {
        // Without a descriptor for the backend it is a refusal, but the connection goes on.
        assert!(matches!(client.get("/").status, 200 | 503));
    }
    assert_eq!(admin.get("/health").status, 200);
    does_not_spin(&gateway);

    drop(served);
    for client in &mut waiting {
        wait_until("an answer", || client.get("/").status == 200);
    }
    drop(waiting);
    wait_until("the descriptors", || gateway.descriptors() <= baseline + 1);
    assert_eq!(gateway.connect().get("/").status, 200);
    gateway.stop();
}

/// How many operators are served at a time; more of them wait.
const OPERATORS: usize = 16;

#[test]
fn operators_take_no_more_than_their_share() {
    let (gateway, mut admin) = start("epoll", &[]);
    let before = gateway.descriptors();
    let silent: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(gateway.admin)).collect();
    // One of them has asked already.
    wait_until("as many operators as may be", || gateway.descriptors() == before + OPERATORS - 1);
    assert_eq!(gateway.connect().get("/").status, 200);
    assert_eq!(metric(&mut admin, "tidegate_accept_errors_total"), 0);
    assert!(gateway.descriptors() <= before + OPERATORS + 2, "a client, its backend, and no more operators");
    drop(silent);
    assert_eq!(Client::connect(gateway.admin).get("/health").status, 200);
    gateway.stop();
}

/// Whoever waits for descriptors does not ask for them all the time.
fn does_not_spin(gateway: &Gateway) {
    let before = gateway.cpu();
    pause(Duration::from_secs(1));
    let used = gateway.cpu() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of a processor in a second of waiting");
}
