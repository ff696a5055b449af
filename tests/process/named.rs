//! A name server: BIND's `named`, with one zone, which tests change.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use rustix::process::Signal;

use crate::program::{Directory, Program, command, wait_for, wait_until};

/// `named` in the foreground, on loopback, with the zone `test`.
pub(crate) struct Named {
    program: Program,
    pub(crate) address: SocketAddr,
    directory: Directory,
    serial: u32,
}

impl Named {
    /// Starts it with these records, such as `users 1 IN A 127.0.0.1`, a line for each.
    pub(crate) fn start(records: &str) -> Named {
        wait_for("a name server that starts", || {
            let directory = Directory::new();
            let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            write_zone(&directory, 1, records);
            let program = run(&directory, address)?;
            Some(Named { program, address, directory, serial: 1 })
        })
    }

    /// Gives the zone other records, and waits until the server has them.
    pub(crate) fn change(&mut self, records: &str) {
        self.serial += 1;
        write_zone(&self.directory, self.serial, records);
        let loaded = format!("zone test/IN: loaded serial {}\n", self.serial);
        wait_until("the name server to read its zone", || {
            self.program.signal(Signal::HUP);
            self.program.errors().text().contains(&loaded)
        });
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Starts again where it was, after it was killed, with other records.
    pub(crate) fn restart(&mut self, records: &str) {
        wait_for("the end of the name server", || self.program.ended());
        self.serial += 1;
        write_zone(&self.directory, self.serial, records);
        self.program = wait_for("the name server's port", || run(&self.directory, self.address));
    }
}

fn write_zone(directory: &Directory, serial: u32, records: &str) {
    let head = "$TTL 1\n@ IN SOA ns.test. admin.test. ( ";
    let zone = format!("{head}{serial} 1 1 60 1 )\n@ IN NS ns.test.\nns IN A 127.0.0.1\n{records}\n");
    // The server may be about to read it: it finds the old one or the new one.
    let new = directory.write("new.zone", zone);
    std::fs::rename(new, directory.path("test.zone")).unwrap();
}

/// Runs it until it serves; none if the port was taken by another.
fn run(directory: &Directory, address: SocketAddr) -> Option<Program> {
    let text = format!(
        "options {{\n directory \"{}\";\n pid-file none;\n session-keyfile none;\n recursion no;\n \
         listen-on port {} {{ 127.0.0.1; }};\n listen-on-v6 {{ none; }};\n notify no;\n dnssec-validation no;\n}};\n\
         controls {{}};\nzone \"test\" {{ type primary; file \"test.zone\"; }};\n",
        directory.path(""),
        address.port()
    );
    let configuration = directory.write("named.conf", text);
    // Where AppArmor knows the program by its path, it lets it read its own directories alone.
    let own = directory.path("named");
    let installed = ["/usr/sbin/named", "/usr/bin/named"].into_iter().find(|path| Path::new(path).exists());
    let copied = std::fs::copy(installed.expect("named is installed; try `make test`"), &own);
    // A copy that runs cannot be written again, nor need it be.
    assert!(copied.is_ok() || Path::new(&own).exists(), "{copied:?}");
    let mut program = Program::start(command(&own, &["-g", "-n", "1", "-c", &configuration]));
    let started = wait_for("the name server", || {
        let said = program.errors().text();
        let refused = said.contains("interface ignored") || program.ended().is_some();
        if refused { Some(false) } else { said.contains(" running\n").then_some(true) }
    });
    assert!(started || program.errors().text().contains("address in use"), "{}", program.errors().text());
    started.then_some(program)
}
