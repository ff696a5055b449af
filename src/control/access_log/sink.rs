//! Where lines go: standard output, or the end of a file.
//!
//! | what happens | what comes of it |
//! |---|---|
//! | a disk is full, a pipe has no reader | what could not be written is counted as dropped; each batch tries again; the log is told once that it began, and once that it is over |
//! | a write ends in the middle of a line | the next line begins on a line of its own |
//! | the file was moved or deleted | it is made anew, at the latest a second later, or at once on SIGUSR1 |
//! | it cannot be opened anew | what is open stays in use |
//! | standard output does not block (`O_NONBLOCK` is shared with who else has it) | the writer waits until it takes more |

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::policy::access_log::Output;

/// How often it is looked whether the file is still where it was.
const LOOK: Duration = Duration::from_secs(1);

/// An output that is open.
#[derive(Debug)]
pub(super) struct Sink {
    output: Output,
    file: File,
    /// Device and number of the file; `None` for standard output.
    identity: Option<(u64, u64)>,
    looked: Instant,
    /// The last write ended in the middle of a line.
    torn: bool,
}

/// An output as people write it.
pub(super) fn name(output: &Output) -> String {
    match output {
        Output::Stdout => "standard output".to_owned(),
        Output::File(path) => path.display().to_string(),
    }
}

/// What to do about an error.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => {
            "make its directory, and give the user that the gateway runs as the right to write there"
        }
        ErrorKind::PermissionDenied => "give the user that the gateway runs as the right to write there",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room",
        ErrorKind::BrokenPipe => "who read it is gone; start the gateway with a reader, or write to a file",
        ErrorKind::ReadOnlyFilesystem => "choose another place",
        _ => "look after the disk, or choose another output",
    }
}

impl Sink {
    /// Opens an output.
    ///
    /// # Errors
    /// The system's; `InvalidInput` for a named pipe, whose opening would wait for a reader.
    pub(super) fn open(output: &Output) -> io::Result<Sink> {
        let (file, identity) = match output {
            Output::Stdout => (File::from(io::stdout().as_fd().try_clone_to_owned()?), None),
            Output::File(path) => {
                let (file, identity) = open(path)?;
                (file, Some(identity))
            }
        };
        Ok(Sink { output: output.clone(), file, identity, looked: Instant::now(), torn: false })
    }

    pub(super) fn is_for(&self, output: &Output) -> bool {
        self.output == *output
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Opens the file anew. Where that fails, what is open stays in use.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Output::File(path) = &self.output {
            let (file, identity) = open(path)?;
            if self.identity != Some(identity) {
                self.torn = false;
            }
            (self.file, self.identity) = (file, Some(identity));
        }
        Ok(())
    }

    /// Writes so many lines; says how many of them are written whole, and what kept it from writing the others.
    pub(super) fn write(&mut self, lines: &[u8], count: u64) -> (u64, io::Result<()>) {
        self.look(Instant::now());
        if self.torn {
            match self.write_all(b"\n") {
                (1.., _) => self.torn = false,
                (_, result) => return (0, result),
            }
        }
        let (length, result) = self.write_all(lines);
        if length == lines.len() {
            return (count, result);
        }
        let written = &lines[..length];
        // Nothing of what is written, or a whole line, leaves the next one where it belongs.
        self.torn = written.last().is_some_and(|last| *last != b'\n');
        (memchr::memchr_iter(b'\n', written).count() as u64, result)
    }

    /// Writes as much as it can; says how much that was.
    fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut ready = [PollFd::new(&self.file, PollFlags::OUT)];
                    // What it says is said by the next write, too.
                    let _ = poll(&mut ready, None);
                }
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// Opens the file anew if it is no longer where it was.
    fn look(&mut self, now: Instant) {
        let (Output::File(path), Some(identity)) = (&self.output, self.identity) else { return };
        if now.duration_since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let there = match std::fs::metadata(path) {
            Ok(there) => (there.dev(), there.ino()) == identity,
            Err(error) => error.kind() != ErrorKind::NotFound,
        };
        if !there && let Err(error) = self.reopen() {
            let (path, advice) = (name(&self.output), advice(&error));
            tracing::warn!(
                path,
                "the access log was moved, and cannot be made anew: {error}; lines go to where it was moved; {advice}"
            );
        }
    }
}

/// Opens a file to write at its end, and makes it if it is not there.
fn open(path: &Arc<Path>) -> io::Result<(File, (u64, u64))> {
    if std::fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo()) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is a named pipe; write to standard output instead"));
    }
    // People's addresses are not for everybody on the machine.
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let about = file.metadata()?;
    Ok((file, (about.dev(), about.ino())))
}

/// What was told of an output: once when it fails, and once when it is well again.
#[derive(Debug, Default)]
pub(super) struct Told {
    failing: Option<ErrorKind>,
}

impl Told {
    /// Tells how using an output went, if that is news.
    pub(super) fn of(&mut self, output: &Output, result: io::Result<()>) {
        let failing = result.as_ref().err().map(io::Error::kind);
        if failing == self.failing {
            return;
        }
        self.failing = failing;
        let name = name(output);
        match result {
            Ok(()) => tracing::info!(output = name, "the access log is written again"),
            Err(error) => {
                let advice = advice(&error);
                tracing::error!(
                    output = name,
                    "the access log cannot be written: {error}; lines are dropped, and counted in \
                     tidegate_access_log_dropped_total, until it can; {advice}"
                );
            }
        }
    }
}
