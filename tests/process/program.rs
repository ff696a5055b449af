//! Programs that a test starts, and waiting for conditions.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `probe` finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        pause(Duration::from_millis(5));
    }
}

/// Looks again and again until `probe` says yes.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    wait_for(what, || probe().then_some(()));
}

/// The pause between two looks, and the beat of clients that are slow on purpose.
pub(crate) fn pause(duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// A program that runs, killed when dropped. What it writes is collected.
pub(crate) struct Program {
    child: Child,
    name: String,
    output: Lines,
    errors: Lines,
}

/// The lines that a program has written so far.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    text: String,
    over: bool,
}

impl Program {
    /// Starts a program without input.
    pub(crate) fn start(mut command: Command) -> Program {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}; try `make test`"));
        let output = Lines::collect(child.stdout.take().expect("piped"));
        let errors = Lines::collect(child.stderr.take().expect("piped"));
        Program { child, name, output, errors }
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output.
    pub(crate) fn output(&self) -> &Lines {
        &self.output
    }

    /// What it has written to its standard error.
    pub(crate) fn errors(&self) -> &Lines {
        &self.errors
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; its status, and all that it has written.
    #[track_caller]
    pub(crate) fn finish(&mut self) -> Finished {
        let name = self.name.clone();
        let status = wait_for(&format!("the end of {name}"), || self.ended());
        wait_until("the last of its lines", || self.output.is_over() && self.errors.is_over());
        Finished { status, output: self.output.text(), errors: self.errors.text() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} ({}) has written:\n{}{}", self.name, self.pid(), self.output.last(), self.errors.last());
        }
    }
}

/// What a program that has ended left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Finished {
    /// Its output, if it has succeeded.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.output, self.errors);
        self.output
    }
}

impl Lines {
    fn collect(from: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let collected = lines.clone();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                collected.0.lock().unwrap().text.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
            collected.0.lock().unwrap().over = true;
        });
        lines
    }

    /// All of them.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().text.clone()
    }

    /// Waits for one with these words in it.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) -> String {
        wait_for(&format!("a line with {words:?}"), || {
            self.text()
                .split_inclusive('\n')
                .find(|line| line.ends_with('\n') && line.contains(words))
                .map(str::to_owned)
        })
    }

    /// Whether the writer has closed its end.
    pub(crate) fn is_over(&self) -> bool {
        self.0.lock().unwrap().over
    }

    fn last(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "  {line}");
            all
        })
    }
}

/// A command with arguments.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) -> Finished {
    Program::start(command(program, arguments)).finish()
}

/// A Python program of `tests/process/python`.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Command {
    let script = format!("{}/tests/process/python/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = command("python3", &["-u", &script]);
    command.args(arguments);
    command
}

/// A directory that is there for as long as the value.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-process-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    /// Where a file of this name is or would be.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file; says where it is.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
