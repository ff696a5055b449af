//! What somebody sees who types `make run` and copies the lines of the banner.

use rustix::process::Signal;

use crate::gateway::BINARY;
use crate::program::{Program, wait_for};
use crate::sandbox::Sandbox;

#[test]
fn the_four_lines_of_the_banner_work() {
    let sandbox = Sandbox::new();
    let mut demo = Program::start(sandbox.command(BINARY, &["demo"]));
    wait_for("the banner", || {
        let said = demo.errors().text();
        assert!(
            !said.contains("cannot listen"),
            "the demo has fixed ports, and one is taken: free it, or run the tests as root, who can have a network \
             of their own\n{said}"
        );
        demo.output().text().contains("Ctrl-C ends it.").then_some(())
    });
    let banner = demo.output().text();
    let lines: Vec<&str> = banner.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 4, "{banner}");
    let run = |line: &str| Program::start(sandbox.command("sh", &["-c", line])).finish();

    let user = run(lines[0]).good();
    assert!(user.starts_with("HTTP/1.1 200 OK\r\n") && user.ends_with("{\"id\":2,\"name\":\"Grace\"}\n"), "{user}");
    let order = run(lines[1]).good();
    assert!(order.starts_with("HTTP/1.1 201 Created\r\n") && order.ends_with("\"received_bytes\":26}\n"), "{order}");
    let events = run(lines[2]);
    assert_eq!(events.status.code(), Some(28), "curl ends the endless stream by its own time limit: {events:?}");
    assert!(events.output.matches("data: {\"product\":").count() >= 2, "{events:?}");
    let metrics = run(lines[3]).good();
    assert!(metrics.contains("\ntidegate_requests_total 3\n"), "{metrics}");

    for path in banner.lines().filter_map(|line| line.trim().split_once(" -> ")) {
        assert!(path.0.trim().starts_with("/api/"), "a route of the banner: {path:?}");
    }
    demo.signal(Signal::INT);
    let finished = demo.finish();
    assert!(finished.status.success(), "{finished:?}");
}
