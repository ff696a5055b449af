//! What the kernel says about a process: memory, processor time, descriptors.

use std::time::Duration;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Private memory that is not a file's: heap, stacks, rings.
    pub(crate) private: u64,
    /// All that is resident.
    pub(crate) resident: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
}

/// See [`Memory`]; from `smaps_rollup` and `status` (proc(5)).
pub(crate) fn memory(pid: u32) -> Memory {
    let (maps, status) = (read(pid, "smaps_rollup"), read(pid, "status"));
    let private = kib(&maps, "Private_Dirty:").min(kib(&maps, "Anonymous:"));
    Memory { private: private * 1024, resident: kib(&status, "VmRSS:") * 1024, peak: kib(&status, "VmHWM:") * 1024 }
}

/// Time of a processor that a process has used, in its own code and in the kernel.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = read(pid, "stat");
    // The name of the program, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let fields: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let ticks = fields[11] + fields[12];
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// How many descriptors a process has.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn read(pid: u32, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap()
}
