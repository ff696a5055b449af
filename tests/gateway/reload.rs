//! Another configuration takes over, and nobody is cut off.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use tidegate::config::{Config, Pin};
use tidegate::control::reload::{Refused, Reloaded};

use crate::harness::message::find;
use crate::harness::{Boot, Client, Counter, Driver, Gate, Gateway, Origin, Response, eventually, on_both_drivers};

const MINIMAL: &str = include_str!("../../config/examples/minimal.toml");

/// The minimal example with more text behind it.
fn with(more: &str, origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(&format!("{MINIMAL}{more}")).services(origin.address()).driver(driver).workers(2)
}

fn reloaded(gateway: &Gateway, boot: Boot) -> Arc<Reloaded> {
    gateway.reload(boot).unwrap_or_else(|refused| panic!("{refused}"))
}

/// The first word of an answer: the name of the origin, where it has one.
fn word(response: &Response) -> &str {
    response.text().split(' ').next().unwrap_or_default()
}

fn ask(client: &mut Client, target: &str) -> (u16, String) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    let response = client.response();
    (response.status, word(&response).to_owned())
}

#[test]
fn the_next_request_on_an_open_connection_goes_by_the_new_routes_and_pools_stay() {
    on_both_drivers(|driver| {
        let origin = Origin::named("a");
        let gateway = with("", &origin, driver).workers(1).start();
        let mut client = gateway.connect();
        assert_eq!(ask(&mut client, "/old").0, 200);
        let fixed = "[routes.fixed]\npath = \"/fixed\"\nrespond = { status = 200, body = \"new\" }\n";
        let outcome = reloaded(&gateway, with(fixed, &origin, driver).workers(1));
        assert_eq!((outcome.number, outcome.routes, outcome.services), (2, 2, 1));
        assert_eq!(ask(&mut client, "/fixed"), (200, "new".to_owned()));
        assert_eq!(ask(&mut client, "/old").0, 200);
        reloaded(&gateway, with("", &origin, driver).workers(1));
        assert_eq!(ask(&mut client, "/fixed").1, "a", "it goes to the service again");
        assert_eq!(gateway.count(Counter::Connections), 1);
        assert_eq!(gateway.count(Counter::UpstreamConnects), 1, "the connection to the backend was kept");
    });
}

#[test]
fn a_wrong_configuration_changes_nothing_and_says_what_is_wrong() {
    on_both_drivers(|driver| {
        let origin = Origin::named("a");
        let gateway = with("", &origin, driver).start();
        let mut client = gateway.connect();
        assert_eq!(ask(&mut client, "/x").0, 200);
        let wrong = with("[routes.lost]\npath = \"/lost\"\nservice = \"app\"\n", &origin, driver)
            .with(|config| config.services.clear());
        let refused = gateway.reload(wrong).expect_err("a route to no service");
        assert!(matches!(*refused, Refused::Config(_)), "{refused}");
        assert!(refused.to_string().contains("a service that is not there, `app`"), "{refused}");
        assert_eq!(ask(&mut client, "/lost"), (200, "a".to_owned()));
        let metrics = Client::connect(gateway.admin());
        let text = admin(metrics, "GET /metrics");
        assert!(text.contains("\ntidegate_config_reloads_total{result=\"refused\"} 1\n"), "{text}");
        assert!(text.contains("\ntidegate_config_last_reload_successful 0\n"), "{text}");
        assert!(
            text.contains("tidegate_config_refused_info{message=\"") && text.contains("not there, `app`"),
            "{text}"
        );
        reloaded(&gateway, with("", &origin, driver));
        let text = admin(Client::connect(gateway.admin()), "GET /metrics");
        assert!(text.contains("\ntidegate_config_last_reload_successful 1\n"), "{text}");
        assert!(!text.contains("tidegate_config_refused_info"), "{text}");
    });
}

/// The body of what the admin listener answers.
fn admin(mut client: Client, what: &str) -> String {
    client.send(format!("{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    client.response().text().to_owned()
}

#[test]
fn a_gateway_without_a_file_says_that_it_cannot_read_it_anew() {
    let origin = Origin::named("a");
    let gateway = with("", &origin, Driver::Epoll).start();
    let text = admin(Client::connect(gateway.admin()), "POST /reload");
    assert!(text.contains("\"code\":\"reload_impossible\"") && text.contains("not started from a file"), "{text}");
    assert_eq!(gateway.get("/x").status, 200);
}

#[test]
fn a_service_changes_its_targets_and_a_new_one_is_there_at_once() {
    on_both_drivers(|driver| {
        let (first, second) = (Origin::named("first"), Origin::named("second"));
        let gateway = with("", &first, driver).start();
        let mut client = gateway.connect();
        assert_eq!(ask(&mut client, "/x").1, "first");
        reloaded(&gateway, with("", &second, driver));
        assert_eq!(ask(&mut client, "/x").1, "second");
        eventually("the connection to the old target is closed", || first.finished() == first.connections());
        let more = "[services.other]\ntargets = [\"unix:/nowhere.sock\"]\n[routes.other]\npath = \"/o\"\nservice = \"other\"\n";
        reloaded(&gateway, with(more, &second, driver).service("other", first.address()));
        assert_eq!(ask(&mut client, "/o").1, "first");
        assert_eq!(ask(&mut client, "/x").1, "second");
    });
}

#[test]
fn what_runs_ends_by_the_old_configuration_also_where_its_service_is_gone() {
    on_both_drivers(|driver| {
        let (gate, other) = (Gate::default(), Origin::named("other"));
        let slow = Origin::holding("slow", &gate);
        let gateway = with("", &slow, driver).workers(1).start();
        let mut running = gateway.connect();
        running.send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("the backend is asked", || slow.received().len() == 1);
        let fresh = Gateway::from(&MINIMAL.replace("app", "fresh")).services(other.address()).driver(driver);
        reloaded(&gateway, fresh);
        assert_eq!(word(&gateway.get("/x")), "other");
        assert!(running.is_quiet());
        gate.open();
        assert_eq!(word(&running.response()), "slow");
        assert_eq!(ask(&mut running, "/x").1, "other", "on the same connection");
        eventually("the connection to the service that is gone is closed", || slow.finished() == 1);
    });
}

#[test]
fn who_waits_in_the_line_of_a_service_that_is_gone_is_served() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let slow = Origin::holding("slow", &gate);
        let one = "\n[services.app.pool]\nmax_connections = 1\nqueue = 8\nqueue_timeout = \"30s\"\n";
        let gateway = with(one, &slow, driver).start();
        let mut clients: Vec<Client> = (0..6).map(|_| gateway.connect()).collect();
        clients.iter_mut().for_each(|client| client.send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n"));
        eventually("five wait", || gateway.count(Counter::UpstreamQueued) == 5);
        reloaded(&gateway, Gateway::from(&MINIMAL.replace("app", "fresh")).driver(driver).workers(2));
        gate.open();
        for mut client in clients {
            assert_eq!(word(&client.response()), "slow");
        }
    });
}

#[test]
fn a_tunnel_stays_open_and_counts_against_the_limit_of_its_route() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            if conversation.request().is_none() {
                return;
            }
            conversation.send("HTTP/1.1 101 S\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n");
            while conversation.has_more() {
                let line = conversation.read_until(b"\n");
                conversation.send(line);
            }
        });
        let one = "upgrade = { protocols = [\"chat\"], tunnels = 1 }\n";
        let ask = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
        let gateway = with(one, &origin, driver).start();
        let mut tunnel = gateway.connect();
        tunnel.send(ask);
        assert_eq!(tunnel.response().status, 101);
        for _ in 0..10 {
            reloaded(&gateway, with(one, &origin, driver));
            tunnel.send("hello\n");
            assert_eq!(tunnel.read_until("\n"), b"hello\n");
        }
        let refused = gateway.request(ask);
        assert_eq!((refused.status, refused.code()), (503, "too_many_tunnels"));
        let gone = Gateway::from(&MINIMAL.replace("app", "fresh")).driver(driver).workers(2);
        reloaded(&gateway, gone);
        tunnel.send("hello\n");
        assert_eq!(tunnel.read_until("\n"), b"hello\n", "its route and its service are gone");
    });
}

const INSIDE: &str = "[listeners.inside]\naddress = \"127.0.0.1:0\"\n[routes.inside]\npath = \"/inside\"\n\
                      listeners = [\"inside\"]\nrespond = { status = 200, body = \"inside\" }\n";

#[test]
fn listeners_come_and_go_and_those_who_came_by_them_are_not_cut_off() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let slow = Origin::holding("slow", &gate);
        let gateway = with("", &slow, driver).start();
        let public = gateway.address();
        let outcome = reloaded(&gateway, with(INSIDE, &slow, driver));
        assert_eq!((outcome.opened.len(), outcome.closed.len()), (1, 0));
        assert_eq!(gateway.listener_now("public"), Some(public), "it stays where it is");
        let inside = gateway.listener_now("inside").expect("it was added");
        let mut idle: Vec<Client> = (0..8).map(|_| Client::connect(inside)).collect();
        for client in &mut idle {
            assert_eq!(ask(client, "/inside"), (200, "inside".to_owned()));
        }
        let mut running = Client::connect(inside);
        running.send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("the backend is asked", || slow.received().iter().any(|bytes| find(bytes, b"/long").is_some()));
        let mut outside = gateway.connect();
        let outcome = reloaded(&gateway, with("", &slow, driver));
        assert_eq!((outcome.opened.len(), outcome.closed.len()), (0, 1));
        idle.iter_mut().for_each(Client::closed);
        eventually("new connections are refused", || TcpStream::connect(inside).is_err());
        assert!(running.is_quiet(), "the running request goes on");
        gate.open();
        let response = running.response();
        assert_eq!((word(&response), response.closes()), ("slow", true));
        running.closed();
        assert_eq!(ask(&mut outside, "/x").1, "slow");
        assert_eq!(gateway.listener_now("inside"), None);
    });
}

#[test]
fn a_listener_that_is_renamed_or_told_more_keeps_its_connections() {
    let origin = Origin::named("a");
    let at = |address: SocketAddr, name: &str| {
        let text = MINIMAL.replace("[listeners.public]", &format!("[listeners.{name}]"));
        let only =
            format!("{text}[routes.here]\npath = \"/here\"\nlisteners = [\"{name}\"]\nrespond = {{ status = 204 }}\n");
        Gateway::from(&only).services(origin.address()).with(|config| {
            *config.listeners[0].address.get_mut() = address;
        })
    };
    // On this address of loopback nobody connects from the port once it is free.
    let free = TcpListener::bind("127.0.0.3:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let gateway = at(address, "public").start();
    let mut client = gateway.connect();
    assert_eq!(ask(&mut client, "/here").0, 204);
    let outcome = reloaded(&gateway, at(address, "outside"));
    assert!(outcome.opened.is_empty() && outcome.closed.is_empty(), "{outcome:?}");
    assert_eq!(ask(&mut client, "/here").0, 204, "it has come by the listener of the new name");
}

#[test]
fn listeners_are_bound_all_or_none() {
    let origin = Origin::named("a");
    let gateway = with("", &origin, Driver::Epoll).start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken_at = taken.local_addr().expect("it is bound");
    let two = format!("{INSIDE}[listeners.last]\naddress = \"127.0.0.1:0\"\n");
    let boot = with(&two, &origin, Driver::Epoll).with(|config| {
        *config.listeners[2].address.get_mut() = taken_at;
    });
    let refused = gateway.reload(boot).expect_err("an address is taken");
    assert!(matches!(*refused, Refused::Listen(_)), "{refused}");
    assert!(refused.to_string().contains(&taken_at.to_string()), "{refused}");
    assert_eq!((gateway.listener_now("inside"), gateway.listener_now("last")), (None, None));
    assert_eq!(word(&gateway.get("/inside")), "a");
}

#[test]
fn what_takes_a_restart_is_said_and_the_rest_runs() {
    let origin = Origin::named("a");
    let gateway = with("", &origin, Driver::Epoll).workers(1).start();
    let more = "[routes.fixed]\npath = \"~ ^/f[a-z]+$\"\nrespond = { status = 204 }\n";
    let pinned = |config: &mut Config| config.gateway.pin = Pin::On;
    let outcome = reloaded(&gateway, with(more, &origin, Driver::Auto).workers(7).with(pinned));
    let said = outcome.needs_restart.join("\n");
    assert!(said.contains("workers is 1 and would be 7"), "{said}");
    // As the file has them.
    assert!(said.contains("driver is \"epoll\" and would be \"auto\""), "{said}");
    assert!(said.contains("pin is \"auto\" and would be true"), "{said}");
    assert_eq!(gateway.get("/fixed").status, 204);
    let fewer = reloaded(&gateway, with(more, &origin, Driver::Epoll).workers(1));
    assert!(fewer.needs_restart.is_empty(), "{fewer:?}");
}

#[test]
fn an_old_snapshot_is_let_go_also_by_workers_without_requests() {
    on_both_drivers(|driver| {
        let origin = Origin::named("a");
        let gateway = with("", &origin, driver).start();
        let first = Arc::downgrade(&gateway.running().snapshot());
        reloaded(&gateway, with("", &origin, driver));
        eventually("nobody has it", || first.upgrade().is_none());
    });
}

#[test]
fn ejections_and_health_outlive_a_reload() {
    on_both_drivers(|driver| {
        let (good, bad) = (Origin::named("good"), Origin::start().reply("/x", 503, "no"));
        let text = "\n[services.app.ejection]\nconsecutive_failures = 2\nejected_for = \"60s\"\nstatuses = [\"503\"]\n";
        let boot = || with(text, &good, driver).workers(1).targets("app", &[good.address(), bad.address()]);
        let gateway = boot().start();
        let mut client = gateway.connect();
        while gateway.count(Counter::Ejections) == 0 {
            ask(&mut client, "/x");
        }
        reloaded(&gateway, boot());
        for _ in 0..20 {
            assert_eq!(ask(&mut client, "/x").1, "good");
        }
        assert_eq!(gateway.count(Counter::Ejections), 1);
    });
}
