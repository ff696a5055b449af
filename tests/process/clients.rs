//! curl, wrk and Python through the gateway to nginx and to Python's server.

use std::process::{Command, Stdio};

use crate::backends::{Backend, large};
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::program::{Program, command, python, run};

on_both_drivers!(
    curl_to_nginx,
    curl_to_python,
    curl_reads_trailers,
    wrk_to_nginx,
    python_to_python,
    old_and_pipelined_requests_to_nginx,
);

/// Runs curl; its output, if it has succeeded.
#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let mut all = vec!["-sS", "--fail", "--max-time", "20"];
    all.extend(arguments);
    run("curl", &all).good()
}

fn curl_to_nginx(driver: &'static str) {
    let backend = Backend::nginx();
    let gateway = Setup::new(driver, backend.address).start();
    let small = gateway.url("/small.txt");
    assert_eq!(curl(&[&small]), "hello from nginx\n");
    let head = curl(&["-I", &small]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 17\r\n"), "{head}");
    let connections = ["-w", " %{num_connects}", &small, &small, &small];
    assert_eq!(curl(&connections), "hello from nginx\n 1hello from nginx\n 0hello from nginx\n 0");
    let part = curl(&["-r", "6-9", "-w", "%{http_code}", &small]);
    assert_eq!(part, "from206");
    let copy = backend.directory().path("copy.bin");
    curl(&["-o", &copy, &gateway.url("/large.bin")]);
    assert!(std::fs::read(&copy).unwrap() == large(), "what curl has received is not what nginx has sent");
    let missing = run("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &gateway.url("/missing")]);
    assert_eq!(missing.good(), "404");
    gateway.stop();
}

fn curl_to_python(driver: &'static str) {
    let backend = Backend::python();
    let gateway = Setup::new(driver, backend.address).start();
    let (hash, echo) = (gateway.url("/hash"), gateway.url("/echo"));
    let small = curl(&["-d", "hello", &hash]);
    assert_eq!(small, "5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n");

    let content = large();
    let file = backend.directory().write("large.bin", &content);
    let sum = run("sha256sum", &[&file]).good();
    let expected = format!("{} {}\n", content.len(), sum.split(' ').next().unwrap());
    let upload = format!("@{file}");
    // Over a megabyte, curl waits for 100 Continue by itself.
    let verbose = run("curl", &["-sS", "-v", "--expect100-timeout", "15", "--data-binary", &upload, &hash]);
    assert!(verbose.errors.contains("< HTTP/1.1 100 Continue"), "{}", verbose.errors);
    assert_eq!(verbose.good(), expected);
    let chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary", &upload, &hash];
    assert_eq!(curl(&chunked), expected);
    let copy = backend.directory().path("copy.bin");
    curl(&["-X", "POST", "-T", &file, "-H", "Transfer-Encoding: chunked", "-o", &copy, &echo]);
    assert!(std::fs::read(&copy).unwrap() == content, "what has come back is not what was sent");
    assert_eq!(pipe_to_curl(&file, &hash), expected, "an upload of unknown length");
    gateway.stop();
}

/// `curl -T -`, with a file as its input.
fn pipe_to_curl(file: &str, url: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail", "--max-time", "20", "-T", "-", url]);
    curl.stdin(std::fs::File::open(file).unwrap()).stderr(Stdio::inherit());
    let output = curl.output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn curl_reads_trailers(driver: &'static str) {
    let backend = Backend::python();
    let gateway = Setup::new(driver, backend.address).start();
    let text = curl(&["-i", "--raw", &gateway.url("/chunked")]);
    assert!(text.contains("\r\nTransfer-Encoding: chunked\r\n") && text.contains("\r\nTrailer: X-Sum\r\n"), "{text}");
    assert!(text.contains("piece 99\n") && text.ends_with("\r\n0\r\nX-Sum: 100\r\n\r\n"), "{text}");
    let plain = curl(&["--http1.0", "-i", &gateway.url("/chunked")]);
    assert!(!plain.contains("chunked\r\n") && plain.ends_with("piece 99\n"), "no chunks for HTTP/1.0: {plain}");
    gateway.stop();
}

fn old_and_pipelined_requests_to_nginx(driver: &'static str) {
    let backend = Backend::nginx();
    let gateway = Setup::new(driver, backend.address).start();
    let old = curl(&["--http1.0", "-i", &gateway.url("/small.txt")]);
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n") && old.ends_with("hello from nginx\n"), "{old}");
    assert!(old.contains("Connection: close\r\n"), "{old}");
    let mut client = gateway.connect();
    let count = 100;
    for _ in 0..count {
        client.ask("/small.txt");
    }
    for _ in 0..count {
        assert_eq!(client.response().text(), "hello from nginx\n");
    }
    gateway.stop();
}

fn wrk_to_nginx(driver: &'static str) {
    let backend = Backend::nginx();
    let gateway = Setup::new(driver, backend.address).workers(2).start();
    let duration = if crate::is_soak() { "30s" } else { "2s" };
    let arguments = ["-t1", "-c64", "-d", duration, "--latency", &gateway.url("/small.txt")];
    let text = Program::start(command("wrk", &arguments)).finish().good();
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).expect("a rate").trim();
    println!("{driver}: wrk -t1 -c64 {duration}: {rate} requests a second (two workers, test profile)");
    assert!(rate.parse::<f64>().unwrap() > 500.0, "{text}");
    counted_by_both(&gateway);
    gateway.stop();
}

/// Nothing was refused, and nothing cut.
fn counted_by_both(gateway: &Gateway) {
    for name in ["tidegate_responses_server_error_total", "tidegate_responses_cut_total", "tidegate_task_panics_total"]
    {
        assert_eq!(gateway.metric(name), 0, "{name}");
    }
    assert!(gateway.metric("tidegate_upstream_reused_total") > 0);
}

fn python_to_python(driver: &'static str) {
    let backend = Backend::python();
    let gateway = Setup::new(driver, backend.address).start();
    let text = Program::start(python("clients.py", &[&gateway.public.to_string()])).finish().good();
    assert!(text.lines().count() >= 12, "{text}");
    gateway.stop();
}
