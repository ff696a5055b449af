//! The process as the kernel sees it, under the names that Prometheus gives such series.
//!
//! What the kernel does not tell is left out.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::text::{Kind, Seconds, Text};

/// All of it. Reads files of the kernel's.
pub(super) fn process(text: &mut Text) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let name = "process_cpu_seconds_total";
    text.family(name, Kind::Counter, "Processor time of the whole process.");
    let nanos = cpu.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(cpu.tv_nsec.unsigned_abs());
    text.series(name, &[], Seconds(nanos));
    let memory = fs::read_to_string("/proc/self/statm").ok().and_then(|statm| memory(&statm, page_size() as u64));
    let started = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        // It is hidden from services that see only their own processes.
        let told = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot_time(&stat));
        Some(told.unwrap_or_else(boot_time_by_clocks) + started(&stat)? / clock_ticks_per_second())
    });
    let gauges = [
        ("process_resident_memory_bytes", "Memory in use.", memory.map(|[resident, _]| resident)),
        ("process_virtual_memory_bytes", "Address space in use.", memory.map(|[_, size]| size)),
        ("process_open_fds", "Descriptors that are open.", open_descriptors()),
        ("process_max_fds", "Descriptors that may be open.", getrlimit(Resource::Nofile).current),
        ("process_start_time_seconds", "When the process was started, in seconds since 1970.", started),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            text.family(name, Kind::Gauge, help);
            text.series(name, &[], value);
        }
    }
}

/// Resident and virtual memory in bytes, from `/proc/self/statm`.
fn memory(statm: &str, page: u64) -> Option<[u64; 2]> {
    let mut pages = statm.split(' ').map(str::parse::<u64>);
    let (size, resident) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some([resident * page, size * page])
}

/// When the process was started, in ticks since the machine was, from `/proc/self/stat`. The name in it may have spaces
/// and brackets.
fn started(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

/// When the machine was started, in seconds since 1970, from `/proc/stat`.
fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The same by two clocks; a second more or less.
fn boot_time_by_clocks() -> u64 {
    let seconds = |clock| clock_gettime(clock).tv_sec.unsigned_abs();
    seconds(ClockId::Realtime).saturating_sub(seconds(ClockId::Boottime))
}

/// How many descriptors are open: Linux 6.2 and newer say so without being made to list them all.
fn open_descriptors() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        // One is the one by which the list is read.
        0 => (fs::read_dir("/proc/self/fd").ok()?.count() as u64).checked_sub(1),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_files() {
        assert_eq!(memory("1000 200 30 4 0 50 0\n", 4096), Some([819_200, 4_096_000]));
        assert_eq!((memory("", 4096), memory("1000 x", 4096)), (None, None));
        let stat = "42 (a b) c) S 1 2 3 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 4 0 123456 1 2 3";
        assert_eq!((started(stat), started("42 (a) S 1"), started("")), (Some(123_456), None, None));
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
    }

    #[test]
    fn the_machine_was_started_once() {
        let told = boot_time(&fs::read_to_string("/proc/stat").unwrap()).unwrap();
        assert!(told.abs_diff(boot_time_by_clocks()) < 5, "{told}");
    }

    #[test]
    fn this_process_is_there() {
        let before = open_descriptors().unwrap();
        let files: Vec<_> = (0..100).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        // Other tests of this process open and close some, too.
        assert!(open_descriptors().unwrap() + 50 > before + files.len() as u64);
        let mut text = Text::new(super::super::Format::Classic);
        process(&mut text);
        let text = text.finish();
        for name in ["resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds", "cpu_seconds_total"] {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} ")));
            assert!(line.unwrap().parse::<f64>().unwrap() > 0.0, "{name} in {text}");
        }
    }
}
