//! A network of its own, where every port is free.
//!
//! What has fixed ports, such as the demo, is tested in it. Linux gives one to
//! root (`unshare -n`) and, mostly, to everybody else (`unshare -r -n`). Where
//! it does not, such a test runs on the machine's own network, and needs the
//! ports to be free there.

use std::process::Command;

use crate::program::{Program, command, python, wait_until};

/// A network namespace, for as long as the value.
pub(crate) struct Sandbox {
    holder: Option<(Program, &'static [&'static str])>,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        // How to make the namespaces, and how to enter them later.
        let ways: [(&[&str], &'static [&'static str]); 2] =
            [(&["-n"], &["-n"]), (&["-r", "-n"], &["-U", "--preserve-credentials", "-n"])];
        let holder = ways.into_iter().find_map(|(make, enter)| {
            let inside = python("loopback.py", &[]);
            let mut unshare = command("unshare", make);
            unshare.arg("--").arg(inside.get_program()).args(inside.get_args());
            let mut holder = Program::start(unshare);
            let mut ended = false;
            wait_until("the loopback device", || {
                ended = holder.ended().is_some();
                ended || holder.output().text().contains("up\n")
            });
            (!ended).then_some((holder, enter))
        });
        if holder.is_none() {
            eprintln!("no network namespace can be had here; this test uses the machine's own network");
        }
        Sandbox { holder }
    }

    /// A program, to be run inside.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let Some((holder, enter)) = &self.holder else { return command(program, arguments) };
        let mut inside = command("nsenter", enter);
        inside.args(["-t", &holder.pid().to_string(), "--", program]).args(arguments);
        inside
    }
}
