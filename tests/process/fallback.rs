//! What an operator reads where io_uring is forbidden.

use crate::gateway::{BINARY, Setup};
use crate::origin::Origin;
use crate::program::{Directory, Program, python};

/// The program that forbids it, and then becomes the gateway.
fn wrapper() -> [String; 2] {
    let command = python("no_io_uring.py", &[]);
    let script = command.get_args().last().unwrap().to_str().unwrap().to_owned();
    [command.get_program().to_str().unwrap().to_owned(), script]
}

#[test]
fn auto_serves_on_epoll_and_says_why() {
    let [python, script] = wrapper();
    let gateway = Setup::new("auto", Origin::plain().address).through(&[&python, &script]).start();
    let line = gateway.program().errors().wait_for("\"admin\"");
    for words in
        ["\"WARN\"", "\"driver\":\"epoll\"", "io_uring is not available (io_uring_setup: ", "allow io_uring_setup"]
    {
        assert!(line.contains(words), "no {words} in {line}");
    }
    assert_eq!(gateway.connect().get("/").text(), "hello");
    gateway.stop();
}

#[test]
fn io_uring_asked_for_is_io_uring_or_nothing() {
    let [_, script] = wrapper();
    let directory = Directory::new();
    let file = directory.write("gateway.toml", Setup::new("io_uring", Origin::plain().address).text());
    assert!(script.ends_with("no_io_uring.py"));
    let finished = Program::start(python("no_io_uring.py", &[BINARY, "run", "--config", &file])).finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.errors.contains("a worker did not start: io_uring is not available"), "{finished:?}");
}
