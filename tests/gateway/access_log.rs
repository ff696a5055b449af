//! `config/examples/access_log.toml`: one line for each request, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tidegate::base::units::Setting;
use tidegate::observe::counters::sum;
use tidegate::policy::access_log::{AccessLogConfig, OutputConfig};

use crate::harness::{
    Boot, Counter, Directory, Driver, Gate, Gateway, Origin, eventually, on_both_drivers, pass, unused_address,
};

/// What takes so long is slow: longer than a machine that has much to do keeps others waiting.
const SLOW: Duration = Duration::from_secs(1);

/// The lines of a file, each of them JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Logs everything into `file`.
fn all_into(boot: Boot, file: PathBuf) -> Boot {
    boot.with(|config| {
        let mut log = config.access_log.take().unwrap_or_default();
        (log.output, log.sample.share) = (OutputConfig::File(file), Some(1.0));
        config.access_log = Some(log);
    })
}

fn example(directory: &Directory, origin: &Origin) -> Boot {
    let text = include_str!("../../config/examples/access_log.toml");
    all_into(Gateway::from(text).service("app", origin.address()), directory.file("access.log"))
}

/// A gateway without more than a route to one service.
fn plain(directory: &Directory, targets: &[std::net::SocketAddr], driver: Driver) -> Boot {
    let text = include_str!("../../config/examples/minimal.toml");
    let boot = Gateway::from(text);
    let name = boot.config().services[0].name.get_ref().clone();
    all_into(boot.targets(&name, targets).driver(driver), directory.file("access.log"))
}

/// Ends a gateway; all of its lines are written then.
fn end(gateway: Gateway) {
    gateway.drain();
    gateway.join();
}

fn millis(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap_or_else(|| panic!("no {key} in {line}"))
}

#[test]
fn a_reply_is_told_from_its_first_byte_to_its_last() {
    on_both_drivers(|driver| {
        let begun = Gate::default();
        let gate = begun.clone();
        let origin = Origin::scripted(move |conversation| {
            conversation.request();
            pass(Duration::from_millis(30));
            conversation.send("HTTP/1.1 201 Made\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nabc");
            // The client has it by now, however late the gateway was.
            gate.pass();
            pass(Duration::from_millis(20));
            conversation.send("def");
        });
        let directory = Directory::new();
        let gateway = example(&directory, &origin).driver(driver).start();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let request = format!(
            "POST /payments/7?token=1234&page=2 HTTP/1.1\r\nHost: pay.test\r\nUser-Agent: test/1\r\nConnection: close\r\n\
             Authorization: Bearer 1234\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\nContent-Length: 4\r\n\r\nbody"
        );
        let mut client = gateway.connect();
        client.send(&request);
        let first = client.read_until("abc");
        begun.open();
        let sent = first.len() + client.end().bytes.len();
        end(gateway);
        let lines = lines(&directory.file("access.log"));
        let [line] = &lines[..] else { panic!("one line, not {lines:?}") };
        for (key, value) in [
            ("trace_id", trace),
            ("client", "127.0.0.1"),
            ("method", "POST"),
            ("host", "pay.test"),
            ("path", "/payments/7"),
            ("query", "token=***&page=2"),
            ("protocol", "HTTP/1.1"),
            ("route", "payments"),
            ("service", "app"),
            ("target", &origin.address().to_string()),
            ("outcome", "replied"),
        ] {
            assert_eq!(line[key], value, "{key} in {line}");
        }
        let numbers = [("status", 201), ("attempts", 1), ("bytes_received", request.len()), ("bytes_sent", sent)];
        for (key, value) in numbers {
            assert_eq!(line[key], value, "{key} in {line}");
        }
        assert_eq!(line["request_headers"], serde_json::json!({"user-agent": "test/1", "authorization": "***"}));
        assert_eq!(line["response_headers"]["content-type"], "text/plain");
        assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")) && line.get("code").is_none());
        assert!(line["request_id"].as_str().is_some_and(|id| id.len() == 36) && line["time"].as_str().is_some());
        let [gateway, connect, first_byte, backend, total] =
            ["gateway_ms", "connect_ms", "first_byte_ms", "backend_ms", "total_ms"].map(|key| millis(line, key));
        assert!(first_byte >= 30.0 && backend >= first_byte + 19.0 && total >= backend, "{line}");
        assert!(gateway > 0.0 && connect > 0.0 && gateway + connect + first_byte <= total, "{line}");
        assert_eq!(millis(line, "queue_ms"), 0.0);
    });
}

#[test]
fn every_end_has_its_line() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            let Some(request) = conversation.request() else { return };
            if request.starts_with(b"GET /cut") {
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            } else if request.starts_with(b"GET /gone") {
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                conversation.read_to_end();
            } else if request.starts_with(b"GET /bad") {
                conversation.send("HTTP/1.1 2xx\r\n\r\n");
            } else {
                conversation.send("HTTP/1.1 204 No\r\n\r\n");
            }
        });
        let directory = Directory::new();
        let text = format!(
            "{}\n[routes.local]\npath = \"/local\"\nredirect = \"https://a.test/\"\n",
            include_str!("../../config/examples/minimal.toml")
        );
        let boot = Gateway::from(&text).services(origin.address()).driver(driver);
        let gateway = all_into(boot, directory.file("access.log")).start();
        let send = |request: &str| {
            let mut client = gateway.connect();
            client.send(request);
            client.end().bytes.len()
        };
        let local = send("GET /local HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        send("GET /reply HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        send("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
        send("GET /bad HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let refused = send("GET / HTTP/1.1\r\n\r\n");
        send("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n");
        send("GET /a/%2e%2e/../.. HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let mut client = gateway.connect();
        client.send("GET /gone HTTP/1.1\r\nHost: h\r\n\r\n");
        client.read_until("half");
        client.reset();
        eventually("it is counted", || gateway.count(Counter::ClientsGone) == 1);
        end(gateway);
        let lines = lines(&directory.file("access.log"));
        let short = |line: &Value| {
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {} {}", text("path"), text("outcome"), text("code"), text("service"), line["status"])
        };
        let expected = [
            "/local local - - 307",
            "/reply replied - app 204",
            "/cut cut response_cut app 200",
            "/bad refused bad_response app 502",
            "/ refused missing_host - 400",
            "- refused bad_target - 400",
            "/a/%2e%2e/../.. refused bad_path - 400",
            "/gone client_gone - app 200",
        ];
        assert_eq!(lines.iter().map(short).collect::<Vec<_>>(), expected);
        assert_eq!((&lines[0]["bytes_sent"], &lines[4]["bytes_sent"]), (&local.into(), &refused.into()));
        assert_eq!(lines[4]["bytes_received"], "GET / HTTP/1.1\r\n\r\n".len());
        assert!(lines.iter().all(|line| line["client"] == "127.0.0.1" && millis(line, "total_ms") > 0.0));
    });
}

#[test]
fn attempts_are_counted_and_the_last_target_is_told() {
    let good = Origin::start().reply("/a", 200, "ok");
    let directory = Directory::new();
    let dead = unused_address();
    let gateway = plain(&directory, &[dead, good.address()], Driver::Epoll).start();
    for _ in 0..4 {
        assert_eq!(gateway.request("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").text(), "ok");
    }
    let retries = gateway.count(Counter::Retries);
    end(gateway);
    let lines = lines(&directory.file("access.log"));
    assert!(lines.iter().all(|line| line["target"] == good.address().to_string()), "{lines:?}");
    let attempts: u64 = lines.iter().filter_map(|line| line["attempts"].as_u64()).sum();
    assert!(retries > 0 && attempts == 4 + retries, "{attempts} attempts, {retries} retries");
    for line in &lines {
        assert_eq!(line.get("pause_ms").is_some(), line["attempts"] != 1, "{line}");
        let told = ["gateway_ms", "queue_ms", "connect_ms", "pause_ms", "backend_ms"];
        let told: f64 = told.iter().filter_map(|key| line.get(key)?.as_f64()).sum();
        assert!((millis(line, "total_ms") - told).abs() < 1.0, "nearly all of the time is somebody's: {line}");
    }

    // Nobody there at all: the refusal knows whom it was about.
    let directory = Directory::new();
    let gateway = plain(&directory, &[dead], Driver::Epoll).start();
    assert_eq!(gateway.get("/a").status, 502);
    end(gateway);
    let line = &self::lines(&directory.file("access.log"))[0];
    assert_eq!((&line["code"], &line["attempts"]), (&"connect_failed".into(), &1.into()));
    assert_eq!(line["target"], dead.to_string());
}

#[test]
fn the_time_of_a_slow_upload_is_not_the_backend_s() {
    on_both_drivers(|driver| {
        let begun = Arc::new(AtomicUsize::new(0));
        let seen = begun.clone();
        let origin = Origin::scripted(move |conversation| {
            conversation.read_until(b"one");
            if seen.fetch_add(1, Ordering::Relaxed) == 1 {
                conversation.read_to_end();
                return;
            }
            conversation.read_until(b"two");
            conversation.send("HTTP/1.1 204 No\r\nConnection: close\r\n\r\n");
        });
        let directory = Directory::new();
        let gateway = plain(&directory, &[origin.address()], driver).start();
        let mut client = gateway.connect();
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nConnection: close\r\n\r\none");
        eventually("the backend has the first piece", || begun.load(Ordering::Relaxed) == 1);
        pass(Duration::from_millis(200));
        client.send("two");
        assert!(client.end().bytes.starts_with(b"HTTP/1.1 204 "));
        // One that the client does not finish, on the next connection of both.
        let mut client = gateway.connect();
        client.send("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\none");
        eventually("the backend has the first piece", || begun.load(Ordering::Relaxed) == 2);
        pass(Duration::from_millis(50));
        client.reset();
        eventually("it is over", || gateway.count(Counter::ClientsGone) == 1);
        end(gateway);
        let lines = lines(&directory.file("access.log"));
        let [first, second] = &lines[..] else { panic!("two lines, not {lines:?}") };
        assert!(millis(first, "upload_ms") >= 199.0, "{first}");
        assert!(millis(second, "upload_ms") >= 49.0, "{second}");
        assert_eq!((millis(second, "first_byte_ms"), millis(second, "backend_ms")), (0.0, 0.0), "{second}");
    });
}

#[test]
fn a_tunnel_is_told_when_it_ends() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.request();
            conversation.send("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
            let line = conversation.read_until(b"\n");
            pass(Duration::from_millis(30));
            conversation.send(line);
        });
        let directory = Directory::new();
        let boot = Gateway::from(include_str!("../../config/examples/upgrade.toml")).services(origin.address());
        let gateway = all_into(boot.driver(driver), directory.file("access.log")).start();
        let request = "GET /chat/1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut client = gateway.connect();
        client.send(request);
        let head = client.response().head;
        client.send("hello\n");
        client.finish();
        assert_eq!(client.end().bytes, b"hello\n");
        eventually("the tunnel is closed", || gateway.count(Counter::TunnelsOpen) == 0);
        end(gateway);
        let lines = lines(&directory.file("access.log"));
        let [line] = &lines[..] else { panic!("one line, not {lines:?}") };
        assert_eq!((&line["status"], &line["outcome"]), (&101.into(), &"switched".into()));
        assert_eq!(line["code"], "tunnel_closed");
        let sizes = [&line["bytes_received"], &line["bytes_sent"]].map(Value::as_u64);
        assert_eq!(sizes, [Some(request.len() as u64 + 6), Some(head.len() as u64 + 6)]);
        assert!(millis(line, "total_ms") >= 30.0, "{line}");
    });
}

#[test]
fn what_a_drain_breaks_off_is_told() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            let request = conversation.request().unwrap_or_default();
            if request.starts_with(b"GET /begun") {
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            } else if request.starts_with(b"GET /chat") {
                conversation.send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
            }
            conversation.read_to_end();
        });
        let directory = Directory::new();
        let text = "[listeners.public]\naddress = \"127.0.0.1:0\"\n[routes.all]\npath = \"/*\"\nservice = \"app\"\n\
                    upgrade = true\n[services.app]\ntargets = [\"unix:/nowhere/x.sock\"]\npool.max_connections = 3\n";
        let gateway =
            all_into(Gateway::from(text).services(origin.address()).driver(driver), directory.file("access.log"))
                .start();
        let ask = |path: &str, more: &str| {
            let mut client = gateway.connect();
            client.send(format!("GET {path} HTTP/1.1\r\n{more}"));
            client
        };
        let mut begun = ask("/begun", "Host: h\r\n\r\n");
        begun.read_until("half");
        let mut chat = ask("/chat", "Host: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(chat.response().status, 101);
        let waiting = ask("/waiting", "Host: h\r\n\r\n");
        eventually("the backend is asked three times", || origin.connections() == 3);
        let queued = ask("/queued", "Host: h\r\n\r\n");
        eventually("one waits in line", || gateway.count(Counter::UpstreamQueued) == 1);
        let unsaid = ask("/unsaid?begun=now", "");
        eventually("its connection is there", || gateway.count(Counter::Connections) == 5);
        gateway.drain();
        for mut client in [waiting, queued, unsaid] {
            let answer = client.response();
            assert_eq!(
                (answer.status, answer.code(), answer.field("connection")),
                (503, "drain_timeout", Some("close"))
            );
        }
        assert_eq!(begun.end().bytes, b"", "it ends before it is whole");
        chat.closed();
        let shared = gateway.running().shared().clone();
        gateway.join();
        assert_eq!(sum(&shared.counters, Counter::Unfinished), 5);
        let told = lines(&directory.file("access.log")).into_iter().map(|line| {
            let is_waiting = line["path"] != "/unsaid";
            assert!(
                !is_waiting || millis(&line, "gateway_ms") < millis(&line, "total_ms"),
                "a wait is no work: {line}"
            );
            format!("{} {} {} {}", line["path"], line["outcome"], line["code"], line["status"]).replace('"', "")
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        let [begun, chat] = ["/begun cut drain_timeout 200", "/chat switched drain_timeout 101"];
        let refused = ["/queued", "/unsaid", "/waiting"].map(|path| format!("{path} refused drain_timeout 503"));
        assert_eq!((&told[..2], &told[2..]), (&[begun.to_owned(), chat.to_owned()][..], &refused[..]));
    });
}

#[test]
fn what_strangers_send_breaks_no_line_and_tells_no_secret() {
    let origin = Origin::start();
    let directory = Directory::new();
    let gateway = example(&directory, &origin).start();
    let mut requests = 0;
    for target in [
        "/a%0a%22%7d?x=%0d%0a",
        "/%ff%fe?%74oken=sesame&TOKEN=sesame;token=sesame",
        "/a\"b?api_key=sesame\"",
        "/a?user%5Btoken%5D=sesame&a=b",
        "/\\\\?token=sesame#",
    ] {
        for agent in [&b"plain"[..], b"\"}\t\\", b"\xff\xfe\xc3\x28", "\u{85}\u{2028}\u{1f600}".as_bytes()] {
            let mut client = gateway.connect();
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nUser-Agent: ");
            client.send([head.as_bytes(), agent, b"\r\nAuthorization: sesame\r\n\r\n"].concat());
            client.end();
            requests += 1;
        }
    }
    end(gateway);
    let text = fs::read_to_string(directory.file("access.log")).expect("it is there");
    // Not digits, which stand in ids and ports, too.
    assert!(!text.contains("sesame"), "{text}");
    assert!(text.lines().all(|line| !line.contains(|c: char| c.is_control())));
    assert_eq!(lines(&directory.file("access.log")).len(), requests);
}

#[test]
fn shares_and_routes_decide_who_has_a_line() {
    let origin = Origin::scripted(|conversation| {
        while let Some(request) = conversation.request() {
            let status = match request {
                _ if request.starts_with(b"GET /slow") => {
                    pass(SLOW);
                    200
                }
                _ if request.starts_with(b"GET /missing") => 404,
                _ => 200,
            };
            conversation.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let directory = Directory::new();
    let gateway = example(&directory, &origin)
        .with(|config| {
            let sample = &mut config.access_log.as_mut().expect("it is on").sample;
            (sample.share, sample.slower_than) = (Some(0.0), Some(Setting::On(SLOW)));
        })
        .start();
    let mut client = gateway.connect();
    for path in ["/fast", "/missing", "/health", "/slow", "/payments/1", "/fast"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.response();
    }
    drop(client);
    end(gateway);
    let lines = lines(&directory.file("access.log"));
    let paths: Vec<&str> = lines.iter().filter_map(|line| line["path"].as_str()).collect();
    // A fast answer of a machine that is busy may be slow.
    let rare: Vec<&&str> = paths.iter().filter(|path| **path != "/fast").collect();
    assert_eq!(rare, [&"/missing", &"/slow", &"/payments/1"]);
}

#[test]
fn every_worker_s_lines_are_there_once() {
    on_both_drivers(|driver| {
        let origin = Origin::named("app");
        let directory = Directory::new();
        let gateway = plain(&directory, &[origin.address()], driver).workers(2).start();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let gateway = &gateway;
                scope.spawn(move || {
                    let mut client = gateway.connect();
                    for number in 0..500 {
                        client.send(format!("GET /{thread}/{number} HTTP/1.1\r\nHost: h\r\n\r\n"));
                        assert_eq!(client.response().status, 200);
                    }
                });
            }
        });
        end(gateway);
        let lines = lines(&directory.file("access.log"));
        let mut paths: Vec<&str> = lines.iter().filter_map(|line| line["path"].as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!((lines.len(), paths.len()), (2000, 2000));
    });
}

#[test]
fn a_template_is_written_as_it_says() {
    let origin = Origin::start().reply("/a", 200, "hello");
    let directory = Directory::new();
    let text = format!(
        "{}\n[access_log]\noutput = {{ file = \"{}\" }}\nformat = '${{client}} \"${{method}} ${{uri}}\" ${{status}} ${{code}}'\n",
        include_str!("../../config/examples/minimal.toml"),
        directory.file("access.log").display()
    );
    let gateway = Gateway::from(&text).services(origin.address()).start();
    gateway.get("/a?token=1234&b=%22");
    end(gateway);
    assert_eq!(
        fs::read_to_string(directory.file("access.log")).expect("it is there"),
        "127.0.0.1 \"GET /a?token=***&b=%22\" 200 -\n"
    );
}

#[test]
fn a_file_that_was_moved_is_made_anew() {
    let origin = Origin::start().reply("/a", 200, "hello");
    let directory = Directory::new();
    let gateway = plain(&directory, &[origin.address()], Driver::Epoll).start();
    let written = |file: &str| lines(&directory.file(file)).len();
    gateway.get("/a");
    eventually("the line is there", || written("access.log") == 1);
    // By a signal, at once.
    fs::rename(directory.file("access.log"), directory.file("access.log.1")).expect("it can be moved");
    gateway.running().access_log().reopen();
    eventually("the file is there", || directory.file("access.log").exists());
    gateway.get("/a");
    eventually("the line is in the new file", || written("access.log") == 1);
    assert_eq!(written("access.log.1"), 1);
    // Without a signal, after a while.
    fs::remove_file(directory.file("access.log")).expect("it can be removed");
    eventually("the file is there again", || {
        gateway.get("/a");
        directory.file("access.log").exists() && written("access.log") > 0
    });
}

#[test]
fn a_file_that_cannot_be_opened_is_told_at_the_start() {
    let directory = Directory::new();
    let mut config = plain(&directory, &[unused_address()], Driver::Epoll).config().clone();
    let missing = directory.file("missing/access.log");
    config.access_log =
        Some(AccessLogConfig { output: OutputConfig::File(missing.clone()), ..AccessLogConfig::default() });
    let error = tidegate::gateway::Gateway::start(&config).expect_err("it does not start").to_string();
    let expected = format!(
        "cannot write the access log to {}: No such file or directory (os error 2); make its directory, and give the user \
         that the gateway runs as the right to write there",
        missing.display()
    );
    assert_eq!(error, expected);
}
