//! The targets of the fault tests: one nginx with three server blocks, and servers of our own that misbehave on demand.
//! All of them write down what has arrived at them, so that requests are counted where they are executed.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::process::Signal;

use crate::backends::{free_addresses, start_nginx};
use crate::program::{Directory, Program, python, wait_for};

/// A request that has arrived at a target.
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) id: String,
    /// How the target answered: the mode of a [`Faulty`] one, the port of nginx.
    pub(crate) mode: String,
}

/// Reads a log of arrivals, `METHOD ID MODE` a line.
fn arrivals(path: &str) -> Vec<Arrival> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let (method, id, mode) = (words.next()?, words.next()?, words.next()?);
        // A request that was cut off or never parsed has no id.
        (id != "-").then_some(Arrival { method, id, mode })
    };
    text.lines().filter_map(parse).collect()
}

/// Server blocks of nginx that answer with the id that they are asked for, and say who they are.
pub(crate) fn servers(addresses: &[SocketAddr]) -> String {
    let server = |address| {
        format!(
            "server {{\n listen {address} backlog=1024;\n location / {{\n  default_type text/plain;\n  \
             add_header X-Target $server_addr:$server_port;\n  return 200 \"$arg_id\";\n }}\n}}\n"
        )
    };
    addresses.iter().map(server).collect()
}

/// One nginx, three targets. It answers with the id that it was asked for.
pub(crate) struct Nginx {
    program: Program,
    pub(crate) addresses: [SocketAddr; 3],
    directory: Directory,
}

impl Nginx {
    pub(crate) fn start() -> Nginx {
        wait_for("an nginx that starts", || {
            let (directory, addresses) = (Directory::new(), free_addresses());
            let program = Nginx::start_at(&directory, addresses)?;
            Some(Nginx { program, addresses, directory })
        })
    }

    fn start_at(directory: &Directory, addresses: [SocketAddr; 3]) -> Option<Program> {
        let log = directory.path("arrivals.log");
        let log = format!("log_format arrivals '$request_method $arg_id $server_port';\naccess_log {log} arrivals;\n");
        start_nginx(directory, &(log + &servers(&addresses)))
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Starts again where it was, after it was killed. Its log goes on.
    pub(crate) fn restart(&mut self) {
        let ended = wait_for("the end of nginx", || self.program.ended());
        assert!(!ended.success());
        self.program = Nginx::start_at(&self.directory, self.addresses).expect("its ports are still free");
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        arrivals(&self.directory.path("arrivals.log"))
    }
}

/// The server of `python/faulty.py`.
pub(crate) struct Faulty {
    program: Program,
    pub(crate) address: SocketAddr,
    control: SocketAddr,
    directory: Directory,
}

impl Faulty {
    pub(crate) fn start() -> Faulty {
        let directory = Directory::new();
        let (program, address, control) = Faulty::start_at(0, &directory);
        Faulty { program, address, control, directory }
    }

    fn start_at(port: u16, directory: &Directory) -> (Program, SocketAddr, SocketAddr) {
        let program = Program::start(python("faulty.py", &[&port.to_string(), &directory.path("arrivals.log")]));
        let line = program.output().wait_for("port ");
        let mut words = line.split_whitespace();
        let mut port_after =
            |name| words.find(|word| *word == name).and_then(|_| words.next()).and_then(|word| word.parse().ok());
        let mut address = |name| SocketAddr::from((Ipv4Addr::LOCALHOST, port_after(name).expect("a port")));
        let (address, control) = (address("port"), address("control"));
        (program, address, control)
    }

    /// Takes another mode, for every request that arrives from now on.
    #[track_caller]
    pub(crate) fn set(&self, mode: &str) {
        let mut stream = TcpStream::connect(self.control).unwrap();
        stream.write_all(format!("{mode}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert_eq!(answer, "ok\n", "{mode}");
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Starts again where it was, after it was killed. Its log goes on.
    pub(crate) fn restart(&mut self) {
        (self.program, _, self.control) = Faulty::start_at(self.address.port(), &self.directory);
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        arrivals(&self.directory.path("arrivals.log"))
    }
}
