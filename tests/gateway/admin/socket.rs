//! The admin listener on a Unix socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::gateway::StartError;
use tidegate::snapshot::doorway::ListenError;

use super::request;
use crate::harness::{Boot, Gateway, Origin};

/// A directory of this test's own; it goes when it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("tidegate-socket-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("a new directory");
        Directory(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn boot(socket: &Path, lines: &str) -> Boot {
    let minimal = include_str!("../../../config/examples/minimal.toml");
    let text = format!("[admin]\naddress = \"unix:{}\"\n{lines}\n{minimal}", socket.display());
    let written = tidegate::config::Config::parse("test.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    Gateway::from(&text).service("app", Origin::start().address()).with(|config| config.admin = written.admin)
}

/// All that comes for a request.
fn ask(socket: &Path, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.write_all(bytes.as_ref()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn its_owner_alone_is_served_and_any_name_will_do() {
    let directory = Directory::new("owner");
    let socket = directory.socket();
    let gateway = boot(&socket, "").start();
    assert_eq!(std::fs::metadata(&socket).expect("a file").permissions().mode() & 0o777, 0o600);
    let answer = ask(&socket, "GET /health HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{\"status\":\"ok\"}\n"), "{answer}");
    let curl = Command::new("curl")
        .args(["-sS", "--fail", "--unix-socket", socket.to_str().expect("text"), "http://localhost/upstreams"])
        .output()
        .expect("curl is installed");
    assert!(curl.status.success(), "{curl:?}");
    assert!(String::from_utf8_lossy(&curl.stdout).contains("\"name\":\"app\""), "{curl:?}");
    gateway.drain();
    gateway.join();
    assert!(!socket.exists(), "it goes with the gateway");
}

#[test]
fn a_token_counts_there_too() {
    let directory = Directory::new("token");
    let _gateway = boot(&directory.socket(), "token = \"0123456789-abcdef\"").start();
    let answer = |fields: &str| ask(&directory.socket(), request("GET", "/upstreams", fields, ""));
    assert!(answer("").starts_with("HTTP/1.1 401 "));
    assert!(answer("Authorization: Bearer 0123456789-abcdef\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_live_socket_is_refused_a_stale_one_replaced_and_a_file_left_alone() {
    let directory = Directory::new("stale");
    let socket = directory.socket();
    let first = boot(&socket, "").start();
    let refused = |kind: ErrorKind, words: &str| {
        let error = tidegate::gateway::Gateway::start(boot(&socket, "").config()).expect_err("it cannot listen");
        let StartError::Listen(ListenError { name, error: why, .. }) = &error else { panic!("{error}") };
        assert_eq!((name.as_str(), why.kind()), ("admin", kind));
        let text = error.to_string();
        assert!(text.contains(&format!("unix:{}", socket.display())) && text.contains(words), "{text}");
    };
    refused(ErrorKind::AddrInUse, "stop what listens there");
    assert!(ask(&socket, request("GET", "/health", "", "")).starts_with("HTTP/1.1 200 "), "the first one goes on");
    drop(first);
    // What a process that was killed leaves is a file without a listener.
    drop(UnixListener::bind(&socket).expect("a new socket"));
    drop(boot(&socket, "").start());
    assert!(!socket.exists());
    std::fs::write(&socket, "a letter").expect("a new file");
    refused(ErrorKind::AlreadyExists, "remove it, or choose another path");
    assert_eq!(std::fs::read_to_string(&socket).expect("the file"), "a letter");
}
