//! What a process has used, by the kernel's accounts.

use std::{fs, time::Duration};

/// The time that all threads of a process were on a CPU.
pub(crate) fn time(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a running process");
    let nanoseconds = threads.filter_map(|thread| {
        // A thread may end between the two reads.
        let books = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        books.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// The memory of this process that is in use, in bytes.
pub(crate) fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the status of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kilobytes
        .and_then(|number| number.parse::<usize>().ok())
        .expect("a number of kB")
}
