//! What this machine allows, looked at once before anything starts, and why io_uring is refused where it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::ring;

/// The oldest kernel that does all that the ring is asked for (multishot polls, waits with a timeout).
const OLDEST_KERNEL: (u32, u32) = (5, 15);

/// A limit on locked memory above this is not what refuses a ring.
const PLENTY_LOCKED: u64 = 1 << 30;

/// What was found on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct HostReport {
    /// The kernel's release, as `uname -r` tells it.
    pub kernel: String,
    /// The CPUs that this process may use.
    pub cpus: Vec<usize>,
    /// How many CPUs' time the cgroup allows, where it limits it. Below the number of cores in use they are
    /// throttled.
    pub cpu_quota: Option<f64>,
    /// Bytes of memory, of the machine or of the cgroup, whichever is less.
    pub memory: u64,
    /// How many files and connections may be open; the soft limit was raised to the hard one.
    pub open_files: u64,
}

/// Looks at the machine, and raises the limit on open files as far as it goes. An error says what is in the way of
/// io_uring and the line that cures it.
pub fn check() -> Result<HostReport, String> {
    let kernel = kernel_release();
    if let Err(error) = ring::make(64).and_then(|ring| ring::is_sufficient(&ring)) {
        return Err(diagnose(&Refusal::observe(error, &kernel)));
    }
    let cpus = core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id);
    Ok(HostReport {
        kernel,
        cpus: cpus.collect(),
        cpu_quota: cpu_quota(),
        memory: memory(),
        open_files: raise_open_files().map_err(|e| format!("the limit on open files cannot be read: {e}"))?,
    })
}

/// What is known when the kernel has refused a ring.
#[derive(Clone, Debug)]
struct Refusal {
    error: i32,
    kernel: String,
    /// `kernel.io_uring_disabled`, where there is one.
    disabled: Option<u32>,
    /// Whether a seccomp filter is on this process.
    is_filtered: bool,
    /// The soft limit on locked memory, in bytes.
    memlock: u64,
}

impl Refusal {
    fn observe(error: io::Error, kernel: &str) -> Refusal {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        Refusal {
            error: error.raw_os_error().unwrap_or(libc::ENOSYS),
            kernel: kernel.to_owned(),
            disabled: disabled.and_then(|text| text.trim().parse().ok()),
            is_filtered: status
                .lines()
                .any(|line| line.strip_prefix("Seccomp:").is_some_and(|m| m.trim() == "2")),
            memlock: limit(libc::RLIMIT_MEMLOCK).map_or(u64::MAX, |limit| limit.rlim_cur),
        }
    }
}

/// Says which of kernel version, sysctl, seccomp or memlock is in the way, and what to do about it.
fn diagnose(found: &Refusal) -> String {
    let error = io::Error::from_raw_os_error(found.error);
    let said = format!("io_uring is not available ({error})");
    let is_old = kernel_version(&found.kernel).is_some_and(|version| version < OLDEST_KERNEL);
    if is_old {
        let (major, minor) = OLDEST_KERNEL;
        return format!(
            "{said}: the kernel is {}, and Ottla needs {major}.{minor} or newer. Install a newer kernel, and reboot.",
            found.kernel
        );
    }
    match (found.error, found.disabled) {
        (libc::EPERM, Some(2)) => format!(
            "{said}: the sysctl kernel.io_uring_disabled is 2, which forbids it to everybody. Run: \
             sudo sysctl -w kernel.io_uring_disabled=0"
        ),
        (libc::EPERM, Some(1)) => format!(
            "{said}: the sysctl kernel.io_uring_disabled is 1, which forbids it to users outside of the group \
             kernel.io_uring_group. Run: sudo sysctl -w kernel.io_uring_disabled=0"
        ),
        (libc::EPERM | libc::ENOSYS | libc::EACCES, _) if found.is_filtered => format!(
            "{said}: a seccomp filter forbids it, as containers' default ones do. Start the container with \
             --security-opt seccomp=unconfined (Kubernetes: seccompProfile.type: Unconfined), or with a profile \
             that allows io_uring_setup, io_uring_enter and io_uring_register."
        ),
        (libc::ENOMEM, _) if found.memlock > PLENTY_LOCKED => format!(
            "{said}: the machine or its cgroup has no memory left. Give it more, or stop what uses it."
        ),
        (libc::ENOMEM, _) => format!(
            "{said}: the limit on locked memory is {} KiB, and no ring fits. Run: ulimit -l unlimited (systemd: \
             LimitMEMLOCK=infinity; Docker: --ulimit memlock=-1)",
            found.memlock >> 10
        ),
        (libc::EMFILE | libc::ENFILE, _) => {
            format!("{said}: too many files are open. Run: ulimit -n 1048576 (systemd: LimitNOFILE=1048576)")
        }
        (libc::ENOSYS, _) => format!(
            "{said}: the kernel {} was built without it (CONFIG_IO_URING). Boot a kernel that has it.",
            found.kernel
        ),
        _ => format!(
            "{said}, and neither the kernel's version ({}), nor the sysctl kernel.io_uring_disabled, nor a seccomp \
             filter, nor the limit on locked memory explains it. Look for a security module's refusal: sudo dmesg \
             | tail",
            found.kernel
        ),
    }
}

fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// `6.1.0-18-amd64` is (6, 1).
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn limit(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid.
    match unsafe { libc::getrlimit(resource, &mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

fn raise_open_files() -> io::Result<u64> {
    let mut files = limit(libc::RLIMIT_NOFILE)?;
    let before = files.rlim_cur;
    files.rlim_cur = files.rlim_max;
    // SAFETY: `files` is valid.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &files) } == 0;
    Ok(if raised { files.rlim_cur } else { before })
}

/// The machine's memory, or the least that a cgroup above this process allows.
fn memory() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    let machine = machine.map_or(u64::MAX, |kib| kib << 10);
    let limits = [("", "memory.max"), ("memory", "memory.limit_in_bytes")];
    let allowed = limits.iter().flat_map(|(controller, file)| cgroup_files(controller, file));
    allowed.filter_map(|text| text.parse::<u64>().ok()).fold(machine, u64::min)
}

fn cpu_quota() -> Option<f64> {
    let newer = cgroup_files("", "cpu.max").into_iter().filter_map(|text| {
        let (quota, period) = text.split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    });
    let quotas = cgroup_files("cpu", "cpu.cfs_quota_us").into_iter();
    let periods = cgroup_files("cpu", "cpu.cfs_period_us").into_iter();
    let older = quotas.zip(periods).filter_map(|(quota, period)| {
        let quota = quota.parse::<f64>().ok().filter(|quota| *quota > 0.0)?;
        Some(quota / period.parse::<f64>().ok()?)
    });
    newer.chain(older).reduce(f64::min)
}

/// What `file` says in this process's cgroup and in all above it, for a controller of the first version or, with
/// an empty name, for the second.
fn cgroup_files(controller: &str, file: &str) -> Vec<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = cgroup_path(&groups, controller) else { return Vec::new() };
    let path = Path::new("/sys/fs/cgroup").join(path);
    let above = path.ancestors().take_while(|dir| dir.starts_with("/sys/fs/cgroup"));
    above
        .filter_map(|dir| fs::read_to_string(dir.join(file)).ok())
        .map(|text| text.trim().to_owned())
        .collect()
}

/// The folder of a process's group below `/sys/fs/cgroup`, from what `/proc/self/cgroup` says.
fn cgroup_path(groups: &str, controller: &str) -> Option<PathBuf> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is_it = controllers.split(',').any(|name| name == controller);
        is_it.then(|| Path::new(controller).join(path.trim_start_matches('/')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(error: i32) -> Refusal {
        Refusal {
            error,
            kernel: "6.1.0-18-amd64".to_owned(),
            disabled: None,
            is_filtered: false,
            memlock: 64 << 10,
        }
    }

    #[test]
    fn each_refusal_is_told_with_its_cure() {
        let said = diagnose(&Refusal { kernel: "5.4.0-1-generic".to_owned(), ..refusal(libc::EINVAL) });
        assert!(said.contains("5.4.0-1-generic") && said.contains("5.15 or newer"), "{said}");
        for (value, word) in [(1, "io_uring_group"), (2, "everybody")] {
            let said = diagnose(&Refusal { disabled: Some(value), ..refusal(libc::EPERM) });
            assert!(said.contains("sysctl -w kernel.io_uring_disabled=0") && said.contains(word), "{said}");
        }
        for error in [libc::EPERM, libc::ENOSYS] {
            let said = diagnose(&Refusal { is_filtered: true, disabled: Some(0), ..refusal(error) });
            assert!(said.contains("seccomp=unconfined"), "{said}");
        }
        let said = diagnose(&refusal(libc::ENOMEM));
        assert!(said.contains("64 KiB") && said.contains("ulimit -l unlimited"), "{said}");
        let said = diagnose(&Refusal { memlock: u64::MAX, ..refusal(libc::ENOMEM) });
        assert!(said.contains("no memory left"), "{said}");
        assert!(diagnose(&refusal(libc::EMFILE)).contains("ulimit -n"));
        assert!(diagnose(&refusal(libc::ENOSYS)).contains("CONFIG_IO_URING"));
        assert!(diagnose(&refusal(libc::EPERM)).contains("dmesg"));
    }

    #[test]
    fn kernel_releases_are_read() {
        assert_eq!(kernel_version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(kernel_version("5.15"), Some((5, 15)));
        assert_eq!(kernel_version(""), None);
    }

    #[test]
    fn groups_of_both_kinds_are_found() {
        let newer = "0::/system.slice/ottla.service\n";
        assert_eq!(cgroup_path(newer, ""), Some("system.slice/ottla.service".into()));
        assert_eq!(cgroup_path(newer, "memory"), None);
        let older = "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/\n";
        assert_eq!(cgroup_path(older, "memory"), Some("memory/docker/abc".into()));
        assert_eq!(cgroup_path(older, "cpu"), Some("cpu/a".into()));
    }

    #[test]
    fn this_machine_passes() {
        let report = check().unwrap();
        assert!(!report.cpus.is_empty() && report.memory > 0 && report.open_files > 0, "{report:?}");
    }
}
