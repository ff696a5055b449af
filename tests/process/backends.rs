//! Real programs as backends: nginx and Python's HTTP server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

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
        // It cannot tell a port that the kernel chose: we ask for one and give it back. Should another have taken it by
        // then, nginx ends, and we try again.
        wait_for("an nginx that starts", || {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            Backend::nginx_at(address)
        })
    }

    fn nginx_at(address: SocketAddr) -> Option<Backend> {
        let directory = Directory::new();
        let at = |name: &str| directory.path(name);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("    {kind}_temp_path {};\n", at(kind)))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {};\nerror_log stderr notice;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n    access_log off;\n    keepalive_requests 1000000;\n{temporary}\
             \x20   server {{\n        listen {address} backlog=1024;\n        root {};\n    }}\n}}\n",
            at("pid"),
            directory.path("")
        );
        directory.write("small.txt", "hello from nginx\n");
        directory.write("large.bin", large());
        let configuration = directory.write("nginx.conf", text);
        let mut arguments = command("nginx", &["-p", &directory.path(""), "-c", &configuration, "-e", "stderr"]);
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
        started.then_some(Backend { program, address, directory })
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

/// 20 MB without a pattern.
pub(crate) fn large() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bytes = vec![0; 20_000_000];
    random.fill(&mut bytes);
    bytes
}
