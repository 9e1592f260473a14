//! What the file system under a log directory promises, and whether one flush covers a whole round.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::reactor::{DiskReport, Space};

/// The alignment to assume where the kernel (before 6.1) does not tell it.
const USUAL_ALIGNMENT: usize = 4096;

/// All that is found out about a directory, before it is judged.
#[derive(Clone, Debug)]
struct Found {
    /// The type by `statfs`.
    magic: i64,
    device: u64,
    mount: Mount,
    /// The name of the block device, where there is one.
    block_device: Option<String>,
    /// Where ext4 has its journal.
    journal: Journal,
    write_cache: Option<bool>,
    fua: Option<bool>,
    direct: bool,
    alignment: usize,
    free: u64,
}

/// Where the journal of an ext4 lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    /// In the file system's own device.
    Inside,
    /// On another device, as far as can be told.
    Elsewhere,
    /// There is none: a flush does the same, but after a crash e2fsck has to come first.
    Absent,
    /// The kernel does not tell.
    Unknown,
}

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    file_system: String,
    /// The options of the mount and those of the file system.
    options: Vec<String>,
}

/// Looks at the file system that holds `dir`.
pub(super) fn examine(dir: &Path) -> io::Result<DiskReport> {
    find(dir).map(|found| judge(&found))
}

/// The room of the file system that holds `path`.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let file = fs::File::open(path)?;
    let (stat, of) = (statfs(&file)?, file.metadata()?);
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize.max(1) as u64);
    let place = (of.st_dev(), of.st_ino());
    Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks), place })
}

/// The alignment that direct I/O on this open file needs; none if it cannot be done.
pub(super) fn alignment(file: &fs::File) -> Option<usize> {
    // SAFETY: an all-zero statx is valid, and the call fills it.
    let (result, stat) = unsafe {
        let mut stat: libc::statx = std::mem::zeroed();
        let empty = c"".as_ptr();
        (libc::statx(file.as_raw_fd(), empty, libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &mut stat), stat)
    };
    if result < 0 || stat.stx_mask & libc::STATX_DIOALIGN == 0 {
        return Some(USUAL_ALIGNMENT);
    }
    let needed = stat.stx_dio_offset_align.max(stat.stx_dio_mem_align) as usize;
    (needed > 0).then_some(needed)
}

fn statfs(file: &fs::File) -> io::Result<libc::statfs> {
    // SAFETY: an all-zero statfs is valid, and the call fills it.
    unsafe {
        let mut stat: libc::statfs = std::mem::zeroed();
        match libc::fstatfs(file.as_raw_fd(), &mut stat) {
            0 => Ok(stat),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn find(dir: &Path) -> io::Result<Found> {
    let device = fs::metadata(dir)?.st_dev();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_of(&mounts, &fs::canonicalize(dir)?).unwrap_or_default();
    let block_device = block_device(device);
    let queue = block_device.as_deref().map(queue_of);
    let fact = |name: &str| queue.as_ref().and_then(|q| fs::read_to_string(q.join(name)).ok());
    let (direct, alignment) = try_direct(dir)?;
    Ok(Found {
        magic: statfs(&fs::File::open(dir)?)?.f_type,
        device,
        mount,
        journal: block_device.as_deref().map_or(Journal::Unknown, journal_of),
        block_device,
        write_cache: fact("write_cache").map(|text| text.trim() == "write back"),
        fua: fact("fua").map(|text| text.trim() == "1"),
        direct,
        alignment,
        free: space(dir)?.free,
    })
}

/// The mount that holds `path`: of those whose point lies above it the deepest, and of equals the last.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let above = mounts.lines().filter_map(parse_mount).filter(|m| path.starts_with(&m.point));
    above.max_by_key(|m| m.point.components().count())
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let (point, options) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let file_system = right.next()?.to_owned();
    let super_options = right.nth(1).unwrap_or_default();
    let options = options.split(',').chain(super_options.split(',')).map(str::to_owned).collect();
    Some(Mount { point: PathBuf::from(unescape(point)), file_system, options })
}

/// Undoes the octal escapes of mountinfo, which stand for space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The kernel's name of the block device with this number, as `sda1` or `dm-0`.
fn block_device(device: u64) -> Option<String> {
    let link = format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device));
    fs::canonicalize(link).ok()?.file_name()?.to_str().map(str::to_owned)
}

/// The folder that tells about a device's queue; for a partition that of its disk.
fn queue_of(block_device: &str) -> PathBuf {
    let own = fs::canonicalize(Path::new("/sys/class/block").join(block_device)).unwrap_or_default();
    let queue = own.join("queue");
    if queue.exists() { queue } else { own.parent().unwrap_or(Path::new("/")).join("queue") }
}

/// Finds the journal among those that the kernel lists.
fn journal_of(block_device: &str) -> Journal {
    match fs::read_dir("/proc/fs/jbd2") {
        Ok(journals) => {
            let names = journals.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            journal_among(block_device, names)
        }
        // The list is missing while the file system itself is told of: no journal was ever opened.
        Err(_) if Path::new("/proc/fs/ext4").join(block_device).exists() => Journal::Absent,
        Err(_) => Journal::Unknown,
    }
}

/// jbd2 names a journal inside a device after the device and the journal's inode, and one on a device of its own
/// after that device alone. Of the latter it cannot be told whose it is.
fn journal_among(block_device: &str, names: impl Iterator<Item = String>) -> Journal {
    let mut found = Journal::Absent;
    for name in names {
        let inode = name.rsplit_once('-').filter(|(_, inode)| inode.parse::<u64>().is_ok());
        match inode {
            Some((device, _)) if device == block_device => return Journal::Inside,
            // `dm-0` is a device of its own that looks like inode 0 of a device `dm`.
            Some((device, inode)) if device != "dm" || inode.is_empty() => {}
            _ => found = Journal::Elsewhere,
        }
    }
    found
}

/// Whether a file can be opened for direct I/O in `dir`, and with which alignment. Leaves nothing behind.
fn try_direct(dir: &Path) -> io::Result<(bool, usize)> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    let nameless = options.clone().custom_flags(libc::O_TMPFILE | libc::O_DIRECT).open(dir);
    let opened = match nameless {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            let path = dir.join(format!(".ottla-direct-{}", std::process::id()));
            let opened = options.create(true).truncate(false).custom_flags(libc::O_DIRECT).open(&path);
            let _ = fs::remove_file(&path);
            opened
        }
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(alignment(&file).map_or((false, USUAL_ALIGNMENT), |needed| (true, needed))),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok((false, USUAL_ALIGNMENT)),
        Err(e) => Err(e),
    }
}

fn judge(found: &Found) -> DiskReport {
    let file_system = if found.mount.file_system.is_empty() {
        format!("file system {:#x}", found.magic)
    } else {
        found.mount.file_system.clone()
    };
    let no_barrier = has_option(found, &["nobarrier", "barrier=0"]).is_some();
    let (one_flush, reason) = match against_one_flush(found, &file_system, no_barrier) {
        Some(reason) => (false, format!("{reason}: every file is flushed by itself")),
        None => {
            (true, format!("{file_system} with barriers{} on {}", journal_text(found), device_text(found)))
        }
    };
    DiskReport {
        file_system,
        device: found.device,
        one_flush,
        reason,
        alignment: found.alignment,
        direct: found.direct,
        free: found.free,
        no_barrier,
        write_cache: found.write_cache,
    }
}

fn journal_text(found: &Found) -> &'static str {
    match found.journal {
        Journal::Absent if found.magic == libc::EXT4_SUPER_MAGIC => {
            " and without a journal (after a crash of the machine e2fsck has to run before it is mounted)"
        }
        _ => "",
    }
}

fn device_text(found: &Found) -> String {
    let name = found.block_device.as_deref().unwrap_or("an unnamed device");
    let cache = match found.write_cache {
        Some(true) => "with a volatile write cache",
        Some(false) => "without a volatile write cache, where a flush costs nothing",
        None => "which does not tell whether it has a write cache",
    };
    let fua = match found.fua {
        Some(true) => " and FUA",
        _ => "",
    };
    format!("{name}, {cache}{fua}")
}

fn has_option<'a>(found: &Found, names: &[&'a str]) -> Option<&'a str> {
    names.iter().copied().find(|name| found.mount.options.iter().any(|option| option == name))
}

/// The first condition of a shared flush that does not hold.
fn against_one_flush(found: &Found, file_system: &str, no_barrier: bool) -> Option<String> {
    let known = matches!(
        (found.magic, file_system),
        (libc::EXT4_SUPER_MAGIC, "ext4") | (libc::XFS_SUPER_MAGIC, "xfs")
    );
    if !known {
        return Some(format!("{file_system} is not known to make one flush reach the whole device"));
    }
    if no_barrier {
        return Some(format!("{file_system} is mounted with nobarrier, so that no flush reaches the device"));
    }
    if !found.direct {
        return Some("direct I/O is refused here".to_owned());
    }
    if found.block_device.is_none() {
        return Some("its block device cannot be found in /sys".to_owned());
    }
    if let Some(option) = has_option(found, &["data=journal", "dax", "dax=always"]) {
        return Some(format!("{file_system} is mounted with {option}"));
    }
    let elsewhere = ["logdev=", "rtdev="];
    let elsewhere = found.mount.options.iter().find(|o| elsewhere.iter().any(|prefix| o.starts_with(prefix)));
    if let Some(option) = elsewhere {
        return Some(format!("a part of the file system lies on another device ({option})"));
    }
    match (file_system, found.journal) {
        ("ext4", Journal::Elsewhere) => Some("the journal of ext4 may lie on another device".to_owned()),
        ("ext4", Journal::Unknown) => {
            Some("/proc/fs/jbd2 and /proc/fs/ext4 do not tell where the journal of ext4 lies".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Found {
        Found {
            magic: libc::EXT4_SUPER_MAGIC,
            device: 1,
            mount: Mount {
                point: "/".into(),
                file_system: "ext4".to_owned(),
                options: vec!["rw".to_owned(), "relatime".to_owned()],
            },
            block_device: Some("vda".to_owned()),
            journal: Journal::Inside,
            write_cache: Some(true),
            fua: Some(false),
            direct: true,
            alignment: 512,
            free: 1,
        }
    }

    #[test]
    fn one_flush_only_when_every_condition_holds() {
        assert!(judge(&good()).one_flush);
        let xfs = |option: &str| {
            let mut found = good();
            found.magic = libc::XFS_SUPER_MAGIC;
            found.mount.file_system = "xfs".to_owned();
            found.journal = Journal::Unknown;
            found.mount.options.push(option.to_owned());
            judge(&found)
        };
        assert!(xfs("attr2").one_flush);
        assert!(!xfs("logdev=/dev/sdb").one_flush);
        assert!(!xfs("rtdev=/dev/sdc").one_flush);
        assert!(!xfs("dax=always").one_flush);
        let spoilers: [fn(&mut Found); 9] = [
            |f| f.magic = 0x794c_7630,
            |f| f.mount.file_system = "ext3".to_owned(),
            |f| f.mount.options.push("barrier=0".to_owned()),
            |f| f.mount.options.push("nobarrier".to_owned()),
            |f| f.mount.options.push("data=journal".to_owned()),
            |f| f.direct = false,
            |f| f.block_device = None,
            |f| f.journal = Journal::Elsewhere,
            |f| f.journal = Journal::Unknown,
        ];
        for (i, spoil) in spoilers.iter().enumerate() {
            let mut found = good();
            spoil(&mut found);
            let report = judge(&found);
            assert!(!report.one_flush, "spoiler {i}: {report:?}");
            assert!(report.reason.ends_with("every file is flushed by itself"), "{}", report.reason);
        }
    }

    #[test]
    fn the_journal_is_found_by_its_name() {
        let among =
            |device: &str, names: &[&str]| journal_among(device, names.iter().map(|n| (*n).to_owned()));
        assert_eq!(among("vda", &["sdb-8", "vda-8"]), Journal::Inside);
        assert_eq!(among("dm-0", &["dm-0-8"]), Journal::Inside);
        assert_eq!(among("vda", &[]), Journal::Absent);
        assert_eq!(among("vda", &["sdb-8", "dm-1-8"]), Journal::Absent);
        assert_eq!(among("vda", &["sdb"]), Journal::Elsewhere);
        assert_eq!(among("vda", &["dm-3"]), Journal::Elsewhere);
        let mut found = good();
        found.journal = Journal::Absent;
        assert!(judge(&found).one_flush && judge(&found).reason.contains("e2fsck"));
    }

    #[test]
    fn nobarrier_is_told() {
        let mut found = good();
        assert!(!judge(&found).no_barrier);
        found.mount.options.push("barrier=0".to_owned());
        assert!(judge(&found).no_barrier);
    }

    #[test]
    fn the_deepest_and_last_mount_counts() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,barrier=0\n\
                      30 22 0:40 / /data rw - tmpfs tmpfs rw\n\
                      31 22 8:1 / /data rw,noatime - xfs /dev/sda1 rw,logdev=/dev/sdb\n\
                      32 22 8:2 / /data\\040two rw - btrfs /dev/sdc rw\n";
        let at = |path: &str| mount_of(mounts, Path::new(path)).unwrap();
        assert_eq!(at("/var/log").file_system, "ext4");
        assert!(at("/var/log").options.contains(&"barrier=0".to_owned()));
        assert_eq!(at("/data/a/b").file_system, "xfs");
        assert!(at("/data/a").options.contains(&"logdev=/dev/sdb".to_owned()));
        assert_eq!(at("/data two/x").file_system, "btrfs");
        assert_eq!(at("/database").file_system, "ext4");
    }
}
