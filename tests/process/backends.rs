//! Real programs as backends: nginx and Python's HTTP server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::program::{Directory, Program, command, python, wait_for};

/// A program that serves.
pub(crate) struct Backend {
    program: Program,
    pub(crate) address: SocketAddr,
    directory: Directory,
}

impl Backend {
    /// nginx with the files that [`Backend::file`] has.
    pub(crate) fn nginx() -> Backend {
        wait_for("an nginx that starts", || {
            let (directory, [address]) = (Directory::new(), free_addresses());
            directory.write("small.txt", "hello from nginx\n");
            directory.write("large.bin", large());
            let root = directory.path("");
            let http = format!("access_log off;\nserver {{ listen {address} backlog=1024; root {root}; }}",);
            let program = start_nginx(&directory, &http)?;
            Some(Backend { program, address, directory })
        })
    }

    /// The server of `python/server.py`.
    pub(crate) fn python() -> Backend {
        Backend::python_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The same, where one was before.
    pub(crate) fn python_at(address: SocketAddr) -> Backend {
        let program = Program::start(python("server.py", &[&address.port().to_string()]));
        let line = program.output().wait_for("port ");
        let port: u16 = line.trim().trim_start_matches("port ").parse().unwrap();
        Backend { program, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), directory: Directory::new() }
    }

    /// A place for files; nginx serves what is there.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The process.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}

/// Addresses that are free now. For programs that cannot tell a port that the kernel chose: should another have taken
/// it by then, start again with others.
///
/// They are on a loopback address of this call's own, so nobody who takes any free port of 127.0.0.1 meanwhile, as every
/// test does, can take one of these: who connects then would find somebody else.
pub(crate) fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let [low, high, ..] = std::process::id().to_le_bytes();
    let own = Ipv4Addr::new(127, 128 | high, low, CALLS.fetch_add(1, Ordering::Relaxed).max(1));
    let listeners = [(); COUNT].map(|()| TcpListener::bind((own, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// nginx as one process, with these lines in its `http` block; none if an address was taken by another.
pub(crate) fn start_nginx(directory: &Directory, http: &str) -> Option<Program> {
    let at = |name: &str| directory.path(name);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {};\n", at(kind)))
        .collect();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {};\nerror_log stderr notice;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    keepalive_requests 1000000;\n{temporary}{http}\n}}\n",
        at("pid"),
    );
    let configuration = directory.write("nginx.conf", text);
    let mut arguments = command("nginx", &["-p", &at(""), "-c", &configuration, "-e", "stderr"]);
    // Debian keeps it where only root looks.
    let path = std::env::var("PATH").unwrap_or_default();
    arguments.env("PATH", format!("{path}:/usr/sbin"));
    let mut program = Program::start(arguments);
    let started = wait_for("nginx", || {
        let said = program.errors().text();
        assert!(!said.contains("[emerg]") || said.contains("bind()"), "{said}");
        // It listens before it says which method it polls with.
        if program.ended().is_some() { Some(false) } else { said.contains("using the").then_some(true) }
    });
    started.then_some(program)
}

/// 20 MB without a pattern.
pub(crate) fn large() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bytes = vec![0; 20_000_000];
    random.fill(&mut bytes);
    bytes
}
