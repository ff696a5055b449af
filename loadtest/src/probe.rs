//! How fast the machine is just now: a fixed piece of work, timed on one core.
//!
//! Virtual machines change their speed by tens of percent within minutes, with
//! what their neighbours do. The work is like a proxy's, bytes through loopback
//! TCP and a little of its own, so it slows down as proxies do; what it takes
//! is CPU time, so other programs on the core do not count.

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const BATCHES: usize = 9;
const EXCHANGES: usize = 600;
const MESSAGE: usize = 128;

/// The CPU time of the work, the median of several times.
pub(crate) fn measure(core: usize) -> io::Result<Duration> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    work(&mut client, &mut server)?;
    let mut times = [Duration::ZERO; BATCHES];
    for time in &mut times {
        let before = cpu_time();
        work(&mut client, &mut server)?;
        *time = cpu_time() - before;
    }
    times.sort();
    Ok(times[BATCHES / 2])
}

fn work(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    let mut message = [b'x'; MESSAGE];
    for number in 0..EXCHANGES {
        message[number % MESSAGE] ^= checksum(&message);
        client.write_all(&message)?;
        server.read_exact(&mut message)?;
        message[number % MESSAGE] ^= checksum(&message);
        server.write_all(&message)?;
        client.read_exact(&mut message)?;
    }
    Ok(())
}

/// About as many steps as a proxy has for each byte of a head.
fn checksum(message: &[u8]) -> u8 {
    let mut sum: u32 = 1;
    for byte in message {
        sum = sum.rotate_left(5) ^ u32::from(*byte);
    }
    sum.to_le_bytes()[0]
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_batches_is_measured() {
        let core = (0..CpuSet::MAX_CPU).find(|core| rustix::thread::sched_getaffinity(None).unwrap().is_set(*core));
        let before = cpu_time();
        let once = measure(core.unwrap()).unwrap();
        let all = cpu_time() - before;
        // Half of the batches, and the one in the middle, take as long or longer.
        assert!(once > Duration::ZERO && once * (BATCHES / 2 + 1) as u32 <= all, "{once:?} of {all:?}");
    }
}
