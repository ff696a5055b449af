//! Targets by name, and a name server whose answers change, and which dies and freezes, all under load.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;

use crate::backends::{free_addresses, start_nginx};
use crate::gateway::{Gateway, Setup};
use crate::load::{Witness, Wrk};
use crate::named::Named;
use crate::on_both_drivers;
use crate::program::{Directory, Program, pause, wait_for, wait_until};
use crate::targets::servers;

on_both_drivers!(addresses_change_under_load, services_change_under_load, the_name_server_dies_and_freezes);

/// Longer than the records live, so that the gateway has asked again in vain.
const OUTAGE: Duration = Duration::from_millis(2500);

/// Answers without one of a target by which it is taken to be out of use: far more than are on their way at once.
const WITHOUT: u64 = 300;

/// One nginx at several addresses of loopback and one port.
struct Hosts {
    addresses: Vec<SocketAddr>,
    _nginx: Program,
    _directory: Directory,
}

impl Hosts {
    fn start() -> Hosts {
        let mut hosts: Vec<IpAddr> = (1..4).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect();
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            hosts.push(Ipv6Addr::LOCALHOST.into());
        } else {
            println!("no IPv6 here; AAAA records are not tested");
        }
        wait_for("an nginx that starts", || {
            let (directory, [first]) = (Directory::new(), free_addresses());
            let addresses: Vec<SocketAddr> = hosts.iter().map(|host| SocketAddr::new(*host, first.port())).collect();
            let nginx = start_nginx(&directory, &format!("access_log off;\n{}", servers(&addresses)))?;
            Some(Hosts { addresses, _nginx: nginx, _directory: directory })
        })
    }
}

/// The records of a name: the addresses, as A and AAAA.
fn records(addresses: &[SocketAddr]) -> String {
    let record = |address: &SocketAddr| {
        format!("users 1 IN {} {}\n", if address.is_ipv4() { "A" } else { "AAAA" }, address.ip())
    };
    addresses.iter().map(record).collect()
}

/// The gateway under load, all of which is to be answered.
struct Loaded {
    gateway: Gateway,
    wrk: Wrk,
    witness: Witness,
}

impl Loaded {
    #[track_caller]
    fn start(driver: &'static str, named: &Named, target: &str) -> Loaded {
        let setup = Setup::to(driver, [target]).workers(2).resolver(named.address);
        let gateway = setup.gateway("limits = { requests_per_connection = false }").start();
        let witness = Witness::start(gateway.public, "w".to_owned());
        wait_until("a first answer", || witness.answered() > 0);
        let wrk = Wrk::start(gateway.public, "GET", "g", 8);
        Loaded { gateway, wrk, witness }
    }

    /// Waits until exactly these of `all` are in use.
    #[track_caller]
    fn wait_for_only(&self, all: &[SocketAddr], used: &[SocketAddr]) {
        let before = self.witness.answered();
        let recent = |target: &SocketAddr| {
            let since = self.witness.since(*target);
            since < WITHOUT && since < self.witness.answered() - before
        };
        wait_until(&format!("{used:?} to be in use"), || {
            self.witness.answered() > before + WITHOUT
                && all.iter().all(|target| {
                    let wanted = used.contains(target);
                    if wanted { recent(target) } else { self.witness.since(*target) >= WITHOUT }
                })
        });
    }

    #[track_caller]
    fn stop(self, what: &str) {
        let outcome = self.wrk.stop().and(self.witness.stop());
        println!("{what}: {} answered, {} failed", outcome.answered, outcome.failed());
        assert!(outcome.failed() == 0 && outcome.answered > 0, "{what}: {outcome:?}");
        self.gateway.stop();
    }
}

fn addresses_change_under_load(driver: &'static str) {
    let hosts = Hosts::start();
    let all = &hosts.addresses[..];
    let mut named = Named::start(&records(&all[..1]));
    let target = format!("users.test:{}", all[0].port());
    let loaded = Loaded::start(driver, &named, &target);
    loaded.wait_for_only(all, &all[..1]);
    for used in [&all[1..], &all[2..3], &all[all.len() - 1..], all] {
        named.change(&records(used));
        loaded.wait_for_only(all, used);
    }
    loaded.stop(&format!("{driver}: A and AAAA records that change"));
}

fn services_change_under_load(driver: &'static str) {
    let (directory, all, _nginx) = wait_for("an nginx that starts", || {
        let (directory, addresses) = (Directory::new(), free_addresses::<4>());
        let nginx = start_nginx(&directory, &format!("access_log off;\n{}", servers(&addresses)))?;
        Some((directory, addresses, nginx))
    });
    let service = |priority: u16, address: &SocketAddr| {
        format!("_http._tcp.users 1 IN SRV {priority} 1 {} host.test.\n", address.port())
    };
    let with = |services: &[String]| format!("host 1 IN A {}\n{}", all[0].ip(), services.concat());
    let mut named = Named::start(&with(&[service(1, &all[0]), service(1, &all[1])]));
    let loaded = Loaded::start(driver, &named, "srv:_http._tcp.users.test");
    loaded.wait_for_only(&all, &all[..2]);
    named.change(&with(&[service(1, &all[1]), service(1, &all[2]), service(1, &all[3])]));
    loaded.wait_for_only(&all, &all[1..]);
    // Of two priorities, the lower number is used while it works (RFC 2782).
    named.change(&with(&[service(1, &all[0]), service(2, &all[3])]));
    loaded.wait_for_only(&all, &all[..1]);
    loaded.stop(&format!("{driver}: SRV records that change"));
    drop(directory);
}

fn the_name_server_dies_and_freezes(driver: &'static str) {
    let hosts = Hosts::start();
    let all = &hosts.addresses[..3];
    let mut named = Named::start(&records(&all[..1]));
    let target = format!("users.test:{}", all[0].port());
    let loaded = Loaded::start(driver, &named, &target);
    named.signal(Signal::STOP);
    pause(OUTAGE);
    loaded.wait_for_only(all, &all[..1]);
    named.signal(Signal::CONT);
    named.change(&records(&all[..2]));
    loaded.wait_for_only(all, &all[..2]);
    named.signal(Signal::KILL);
    pause(OUTAGE);
    loaded.wait_for_only(all, &all[..2]);
    named.restart(&records(&all[2..]));
    loaded.wait_for_only(all, &all[2..]);
    loaded.stop(&format!("{driver}: a name server that freezes and dies"));
}
