//! The load generator, and what the comparison with peers (`peers/`) needs
//! beside it: a backend, idle connections, and a probe of the machine's speed.
//!
//! It shares no code with the gateway, so that one mistake cannot hide in both,
//! and it uses no async runtime: monoio and tokio wake a timer to the
//! millisecond, while an open loop at 40,000 requests a second has to start one
//! every 25 us. A plain epoll loop with a timerfd does that, and costs the
//! least, which matters because generator and backend share one core.
//!
//! What programs read is JSON on standard output, one object a line.

mod backend;
mod idle;
mod load;
mod poll;
mod probe;

#[cfg(test)]
mod tests;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A load generator for HTTP/1.1 proxies, and a backend for them.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send requests, and say how many were answered, how fast, and what failed
    Run(Run),
    /// Answer every request, `?size=N` with N bytes
    Backend {
        /// Where to listen; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Bytes of a body where the request does not say
        #[arg(long, default_value_t = 128)]
        size: usize,
    },
    /// Open connections, use each once, and hold them until standard input ends
    Idle {
        address: SocketAddr,
        #[arg(long, default_value_t = 1000)]
        connections: usize,
        /// What each asks for
        #[arg(long, default_value = "/")]
        path: String,
    },
    /// Time a fixed piece of work on one core
    Probe {
        #[arg(long, default_value_t = 0)]
        core: usize,
    },
}

#[derive(Args)]
struct Run {
    /// Where the server listens
    address: SocketAddr,
    /// What to ask for
    #[arg(long, default_value = "/")]
    path: String,
    /// A file of paths, one a line, that are asked for in turn
    #[arg(long, conflicts_with = "path")]
    paths: Option<PathBuf>,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before those
    #[arg(long, default_value_t = 0.3)]
    warmup: f64,
    /// Requests a second, whatever the server does; without it, as many as it takes
    #[arg(long)]
    rate: Option<f64>,
    /// A new connection for each request
    #[arg(long)]
    close: bool,
    /// Bytes that each request uploads
    #[arg(long, default_value_t = 0)]
    upload: usize,
    /// Header fields of a request
    #[arg(long, default_value_t = 3)]
    fields: usize,
    /// Bytes that each response must have
    #[arg(long)]
    expect: Option<u64>,
    /// Seconds until a request has failed
    #[arg(long, default_value_t = 10.0)]
    timeout: f64,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => run.start(),
        Command::Backend { listen, size } => backend::Backend::bind(listen, size).and_then(|mut backend| {
            print(&json!({ "address": backend.address().to_string() }))?;
            backend.serve(|| false)
        }),
        Command::Idle { address, connections, path } => hold(address, connections, &path),
        Command::Probe { core } => probe::measure(core).and_then(|work| {
            print(&json!({ "core": core, "nanoseconds": u64::try_from(work.as_nanos()).unwrap_or(u64::MAX) }))
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Run {
    fn start(self) -> io::Result<()> {
        let paths = match &self.paths {
            Some(file) => std::fs::read_to_string(file)?.lines().map(str::to_owned).collect(),
            None => vec![self.path],
        };
        let plan = load::Plan {
            address: self.address,
            paths,
            connections: self.connections,
            measured: seconds(self.seconds)?,
            warmup: seconds(self.warmup)?,
            rate: self.rate,
            close: self.close,
            upload: self.upload,
            fields: self.fields,
            expect: self.expect,
            timeout: seconds(self.timeout)?,
        };
        let report = load::run(&plan, |edge| {
            // Who accounts for the server's CPU time reads it at these edges.
            let event = match edge {
                load::Edge::Begin => "begin",
                load::Edge::End => "end",
            };
            print(&json!({ "event": event }))
        })?;
        print(&report.json())
    }
}

fn hold(address: SocketAddr, connections: usize, path: &str) -> io::Result<()> {
    let held = idle::open(address, connections, path)?;
    print(&json!({ "open": held.len() }))?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    print(&json!({ "still_open": idle::still_open(&held)? }))
}

fn seconds(number: f64) -> io::Result<Duration> {
    Duration::try_from_secs_f64(number).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn print(value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()
}
