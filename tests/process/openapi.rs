//! The admin listener, judged by schemathesis: its OpenAPI document, and hundreds of requests that are made from it,
//! right and wrong, each answer held against the document.
//!
//! `/drain` is left out, for it would end the gateway; `tests/gateway/admin` calls it.

use crate::client::Client;
use crate::gateway::{Gateway, Setup};
use crate::origin::Origin;
use crate::program::{Directory, Finished, Program, command};

/// What a request needs beside its operation.
const TOKEN: &str = "a-token-for-the-fuzzer";

/// Runs schemathesis on `document`, a file or a URL, with a seed of its own; what it says.
fn fuzz(gateway: &Gateway, document: &str, target: &str) -> Finished {
    let root = env!("CARGO_MANIFEST_DIR");
    let directory = Directory::new();
    let examples = if crate::is_soak() { "300" } else { "10" };
    let config = format!("{root}/tests/process/python/schemathesis.toml");
    let (url, authorization) = (format!("http://{}", gateway.admin), format!("Authorization: Bearer {TOKEN}"));
    // It writes what it has learnt to where it runs.
    let mut schemathesis = command(
        "env",
        &[
            &format!("--chdir={}", directory.path("")),
            &format!("{root}/.tools/schemathesis/bin/python3"),
            "-m",
            "schemathesis.cli",
            "--config-file",
            &config,
            "run",
            document,
            "--url",
            &url,
            "-H",
            &authorization,
            "--exclude-path",
            "/drain",
            "--checks",
            "all",
            "--max-examples",
            examples,
            "--no-color",
        ],
    );
    schemathesis.env("TARGET", target).env("PYTHONUNBUFFERED", "1").env("HOME", directory.path(""));
    Program::start(schemathesis).finish()
}

fn start() -> (Gateway, Origin) {
    let origin = Origin::plain();
    let gateway = Setup::new("auto", origin.address).workers(2).admin(&format!("token = \"{TOKEN}\"")).start();
    (gateway, origin)
}

#[test]
fn a_fuzzer_finds_nothing_that_is_not_as_described() {
    let (gateway, origin) = start();
    let target = origin.address.to_string();
    let finished = fuzz(&gateway, &format!("http://{}/openapi.json", gateway.admin), &target);
    let text = finished.good();
    assert!(text.contains("Tested: 15") && text.contains("No issues found"), "{text}");
    // It has drained and enabled the target, and reloaded: the gateway serves on as before or says why not.
    let status = gateway.connect().get("/").status;
    assert!(matches!(status, 200 | 503), "{status}");
    gateway.stop();
}

#[test]
fn a_document_that_is_wrong_would_be_found_out() {
    let (gateway, origin) = start();
    let mut client = Client::connect(gateway.admin);
    client.send(format!("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"));
    let text = client.response().text();
    // A status that the answer does not have, where it is described and nowhere else.
    assert_eq!(text.matches("\"serving\"").count(), 1, "{text}");
    let directory = Directory::new();
    let wrong = directory.write("openapi.json", text.replace("\"serving\"", "\"sleeping\""));
    let finished = fuzz(&gateway, &wrong, &origin.address.to_string());
    assert!(!finished.status.success() && finished.output.contains("GET /ready"), "{finished:?}");
    gateway.stop();
}
