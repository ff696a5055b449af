//! The PROXY protocol with those who made it: HAProxy before the gateway, nginx and HAProxy behind it.

use std::net::SocketAddr;

use crate::backends::{free_addresses, start_nginx};
use crate::client::Client;
use crate::gateway::{Gateway, Setup};
use crate::program::{Directory, Program, command, run, wait_for, wait_until};

crate::on_both_drivers!(
    haproxy_tells_who_the_client_is,
    services_learn_who_the_client_is,
    checks_of_haproxy_find_the_gateway_well
);

/// What HAProxy adds to a server's line, and so to each connection: the headers that it can write.
const HEADERS: [&str; 4] = [
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2 proxy-v2-options crc32c",
    "send-proxy-v2 proxy-v2-options unique-id,crc32c",
];

/// Starts HAProxy with these sections; none if an address was taken by another.
fn start_haproxy(directory: &Directory, sections: &str, listens: &[SocketAddr]) -> Option<Program> {
    let text = format!(
        "global\n  maxconn 1000\n  stats socket {} level admin\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n{sections}\n",
        directory.path("stats")
    );
    let file = directory.write("haproxy.cfg", text);
    let mut arguments = command("haproxy", &["-db", "-f", &file]);
    // Debian keeps it where only root looks.
    let path = std::env::var("PATH").unwrap_or_default();
    arguments.env("PATH", format!("{path}:/usr/sbin"));
    let mut program = Program::start(arguments);
    let started = wait_for("HAProxy", || {
        if program.ended().is_some() {
            let said = program.errors().text();
            assert!(said.contains("cannot bind"), "{said}");
            return Some(false);
        }
        listens.iter().all(|address| std::net::TcpStream::connect(address).is_ok()).then_some(true)
    });
    started.then_some(program)
}

/// HAProxy before `gateway`, once with each of [`HEADERS`].
fn fronts(gateway: SocketAddr, check: &str) -> (Program, [SocketAddr; HEADERS.len()], Directory) {
    wait_for("a HAProxy that starts", || {
        let (directory, addresses) = (Directory::new(), free_addresses::<{ HEADERS.len() }>());
        let section = |(index, address): (usize, &SocketAddr)| {
            let header = HEADERS[index];
            format!(
                "listen front{index}\n  bind {address}\n  unique-id-format %rt\n  \
                 server gateway {gateway} {header} {check}\n"
            )
        };
        let sections: String = addresses.iter().enumerate().map(section).collect();
        let program = start_haproxy(&directory, &sections, &addresses)?;
        Some((program, addresses, directory))
    })
}

/// A gateway behind a trusted proxy, and nginx that says what it was told of the client.
fn gateway(driver: &'static str, service: &str) -> (Gateway, Program, Directory) {
    let (nginx, address, directory) = wait_for("an nginx that starts", || {
        let (directory, [address]) = (Directory::new(), free_addresses());
        let proxied = if service.is_empty() { "" } else { "proxy_protocol" };
        let http = format!(
            "access_log off;\nserver {{\n listen {address} {proxied};\n location / {{\n  default_type text/plain;\n  \
             return 200 \"$http_x_forwarded_for $http_x_forwarded_port $proxy_protocol_addr $proxy_protocol_port\";\n }}\n}}\n"
        );
        let program = start_nginx(&directory, &http)?;
        Some((program, address, directory))
    });
    let setup = Setup::new(driver, address).listener("proxy_protocol = true").service(service);
    let gateway = setup.gateway("trusted_proxies = [\"127.0.0.1\"]").start();
    (gateway, nginx, directory)
}

/// What the service was told, asked by a client with this address and port through `address`.
fn ask(address: SocketAddr, client: SocketAddr) -> String {
    let (interface, port) = (client.ip().to_string(), client.port().to_string());
    let url = format!("http://{address}/");
    run("curl", &["-sS", "--max-time", "20", "--interface", &interface, "--local-port", &port, &url]).good()
}

/// An address of this machine that nobody uses, with a port that is free.
fn client(last: u8) -> SocketAddr {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
    listener.local_addr().unwrap()
}

fn haproxy_tells_who_the_client_is(driver: &'static str) {
    let (gateway, _nginx, _directory) = gateway(driver, "");
    let (_haproxy, fronts, _files) = fronts(gateway.public, "");
    for (front, last) in fronts.iter().zip(50..) {
        let client = client(last);
        assert_eq!(ask(*front, client), format!("{} {}  ", client.ip(), front.port()));
    }
    // Without HAProxy between, there is no header, and this machine's other addresses are trusted by nobody.
    assert!(!run("curl", &["-sS", "--max-time", "20", &gateway.url("/")]).status.success());
    let strange = ["-sS", "--max-time", "20", "--haproxy-protocol", "--interface", "127.0.0.77", &gateway.url("/")];
    assert!(!run("curl", &strange).status.success());
    wait_until("the refused are counted", || gateway.metric("tidegate_proxy_refused_total") == 2);
    let errors = gateway.program().errors();
    assert!(errors.wait_for("proxy_no_header").contains("127.0.0.1"));
    assert!(errors.wait_for("proxy_untrusted").contains("127.0.0.77"));
    // curl's own header is as good as HAProxy's.
    let own = ["-sS", "--max-time", "20", "--haproxy-protocol", &gateway.url("/")];
    assert!(run("curl", &own).good().starts_with("127.0.0.1 "));
    gateway.stop();
}

fn services_learn_who_the_client_is(driver: &'static str) {
    for (version, last) in [("v1", 60), ("v2", 61)] {
        let (gateway, _nginx, _directory) = gateway(driver, &format!("proxy_protocol = \"{version}\""));
        let (_haproxy, [front, ..], _files) = fronts(gateway.public, "");
        let client = client(last);
        let told = format!("{} {} {} {}", client.ip(), front.port(), client.ip(), client.port());
        assert_eq!(ask(front, client), told, "{version} to nginx");
        gateway.stop();
        checks_pass(driver, version);
        through_haproxy(driver, version);
    }
}

/// nginx closes a connection without a header, whoever makes it: checks have one, too.
fn checks_pass(driver: &'static str, version: &str) {
    // A check may take as long as the interval, also on a busy machine.
    let health = "health = { path = \"/\", interval = \"500ms\", unhealthy = 1 }";
    let (gateway, _nginx, _directory) = gateway(driver, &format!("proxy_protocol = \"{version}\"\n{health}"));
    wait_until("some checks", || gateway.metric("tidegate_health_checks_total{service=\"app\",result=\"passed\"}") > 2);
    assert_eq!(gateway.metric("tidegate_health_checks_total{service=\"app\",result=\"failed\"}"), 0, "{version}");
    gateway.stop();
}

/// HAProxy behind the gateway takes the header off, and writes its own for nginx, which says what arrived.
fn through_haproxy(driver: &'static str, version: &str) {
    let (nginx, back, _directory) = wait_for("an nginx that starts", || {
        let (directory, [address]) = (Directory::new(), free_addresses());
        let http = format!(
            "access_log off;\nserver {{\n listen {address} proxy_protocol;\n location / {{\n  \
             return 200 \"$proxy_protocol_addr $proxy_protocol_port\";\n }}\n}}\n"
        );
        let program = start_nginx(&directory, &http)?;
        Some((program, address, directory))
    });
    let (haproxy, relay, _files) = wait_for("a HAProxy that starts", || {
        let (directory, [address]) = (Directory::new(), free_addresses());
        let sections = format!("listen relay\n  bind {address} accept-proxy\n  server nginx {back} send-proxy-v2\n");
        let program = start_haproxy(&directory, &sections, &[address])?;
        Some((program, address, directory))
    });
    let gateway = Setup::new(driver, relay).service(&format!("proxy_protocol = \"{version}\"")).start();
    let client = client(70);
    assert_eq!(ask(gateway.public, client), format!("{} {}", client.ip(), client.port()), "{version} to HAProxy");
    gateway.stop();
    drop((nginx, haproxy));
}

/// Checks come with headers of the proxy's own, or as connections without a byte.
fn checks_of_haproxy_find_the_gateway_well(driver: &'static str) {
    for check in ["check inter 50ms check-send-proxy", "check inter 50ms"] {
        let (gateway, _nginx, _directory) = gateway(driver, "");
        let (haproxy, fronts, _files) = fronts(gateway.public, check);
        wait_until("some checks", || gateway.metric("tidegate_connections_total") > 20);
        for front in fronts {
            assert_eq!(Client::connect(front).get("/").status, 200);
        }
        assert!(!haproxy.errors().text().contains("DOWN"), "{}", haproxy.errors().text());
        assert_eq!(gateway.metric("tidegate_proxy_refused_total"), 0, "{check}");
        drop(haproxy);
        gateway.wait_for_open(0);
        gateway.stop();
    }
}
