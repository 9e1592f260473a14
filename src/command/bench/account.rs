//! What a process has cost so far: CPU time, memory, bytes written.

use std::time::Duration;

use super::super::failure::{At, Failure, Result};

/// The kernel tells CPU times to user space in hundredths of a second, whatever its own clock.
const TICKS_PER_SECOND: u64 = 100;

/// A process that is watched by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
}

/// What a process had used at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in user space, of all threads, those of io_uring and those that ended included.
    pub user: Duration,
    /// CPU time in the kernel, of the same threads. Kernel threads that work for everybody (writeback, soft
    /// interrupts that hit another process) are not in it.
    pub system: Duration,
    /// Bytes that the process caused to be sent to storage; none where the kernel does not tell.
    pub written: Option<u64>,
}

impl Usage {
    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            written: self.written.zip(earlier.written).map(|(now, then)| now.saturating_sub(then)),
        }
    }

    /// User and system time together, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        (self.user + self.system).as_secs_f64()
    }
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that ever was resident.
    pub peak: u64,
}

impl Process {
    /// This process.
    pub fn own() -> Process {
        Process { pid: std::process::id() }
    }

    /// Another process, which must be there and readable.
    pub fn of(pid: u32) -> Result<Process> {
        let process = Process { pid };
        process
            .usage()
            .map_err(|f| f.advice("--broker-pid needs the id of a running process on this machine."))?;
        Ok(process)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        std::fs::read_to_string(&path).at(path)
    }

    /// CPU time and bytes written so far.
    pub fn usage(&self) -> Result<Usage> {
        let stat = self.read("stat")?;
        let (user, system) = cpu_ticks(&stat)
            .ok_or_else(|| Failure::new(format!("/proc/{}/stat has an unknown form", self.pid)))?;
        let ticks = |n: u64| Duration::from_millis(n * (1000 / TICKS_PER_SECOND));
        // Another user's process may hide its io file.
        let written = self.read("io").ok().and_then(|io| number_after(&io, "write_bytes:"));
        Ok(Usage { user: ticks(user), system: ticks(system), written })
    }

    /// Memory now.
    pub fn memory(&self) -> Result<Memory> {
        let status = self.read("status")?;
        let kib = |name| number_after(&status, name).unwrap_or(0) * 1024;
        Ok(Memory { resident: kib("VmRSS:"), peak: kib("VmHWM:") })
    }
}

/// User and system ticks of a `stat` line. The name before them may hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 250 75 0 0 20 0 3 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some((250, 75)));
        assert_eq!(cpu_ticks("nonsense"), None);
    }

    #[test]
    fn this_process_can_be_watched() {
        let before = Process::own().usage().unwrap();
        let mut sum = 0u64;
        // More than one tick of work, so that the time must have grown.
        while Process::own().usage().unwrap().since(&before).cpu_seconds() < 0.03 {
            sum = (0..100_000u64).fold(sum, |a, b| a.wrapping_mul(31) ^ b);
        }
        assert_ne!(sum, 1);
        assert!(Process::own().memory().unwrap().resident > 0);
    }
}
