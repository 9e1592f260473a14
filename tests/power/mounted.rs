//! A file system on a [`Disk`]: the disk as a file, a loop device over the file, and the mount. All of it goes when it is
//! dropped, even amid a panic, and what a test that was killed left behind goes when the next one begins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuser::BackgroundSession;

use super::disk::{Disk, Fault, Image};
use super::fuse;
use crate::broker::{Folder, succeeded};
use crate::load::Chance;

/// Small, but large enough for XFS.
const SIZE: u64 = 1 << 30;

/// Which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    /// The sectors of the disk. XFS finds out that a block of its metadata was torn, and goes no further (it takes a
    /// block for written whose first sector is); so it gets a disk that does not tear them.
    pub fn sector(self) -> usize {
        match self {
            Kind::Ext4 => 512,
            Kind::Xfs => 4096,
        }
    }

    fn make(self, device: &str) {
        match self {
            Kind::Ext4 => {
                let settled = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
                run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", settled, device])
            }
            Kind::Xfs => run("mkfs.xfs", &["-q", "-f", "-K", device]),
        };
    }

    fn mount(self, device: &str, point: &str) {
        let (name, options) = match self {
            // Its journal is written when somebody asks for it, and hardly ever just because time passes.
            Kind::Ext4 => ("ext4", "commit=300"),
            // The original of a copy may still be mounted.
            Kind::Xfs => ("xfs", "nouuid"),
        };
        run("mount", &["-t", name, "-o", options, device, point]);
    }

    /// Mends what a disk that failed has left. (Not what a power cut has: see [`Mounted::check`].)
    fn repair(self, device: &str) {
        let (command, arguments): (_, &[&str]) = match self {
            Kind::Ext4 => ("fsck.ext4", &["-f", "-y", device]),
            // It reads its journal when it is mounted, and this looks at it as it is.
            Kind::Xfs => ("xfs_repair", &["-n", device]),
        };
        let output = bounded(command, arguments).output().expect("timeout is there");
        // 1: there was something, and it is mended.
        assert!(output.status.code().is_some_and(|code| code <= 1), "{command}: {output:?}");
    }

    /// Whether the file system is sound. (It must be: a file system lives with what a power cut does. Else this disk
    /// would do what no disk does.)
    fn check(self, device: &str) {
        match self {
            Kind::Ext4 => run("fsck.ext4", &["-f", "-n", device]),
            Kind::Xfs => run("xfs_repair", &["-n", device]),
        };
    }
}

/// A mounted file system.
pub struct Mounted {
    pub disk: Arc<Disk>,
    kind: Kind,
    device: Option<String>,
    is_mounted: bool,
    session: Option<BackgroundSession>,
    folder: Folder,
}

impl Mounted {
    /// An empty one.
    pub fn new(kind: Kind) -> Mounted {
        static MADE: [OnceLock<Image>; 2] = [const { OnceLock::new() }; 2];
        let image = MADE[usize::from(kind == Kind::Xfs)].get_or_init(|| {
            let mut made = Mounted::attach(kind, Image::new(SIZE));
            kind.make(made.device());
            made.detach();
            made.disk.image()
        });
        Mounted::of(kind, image.clone())
    }

    /// What is on an image.
    pub fn of(kind: Kind, image: Image) -> Mounted {
        let mut mounted = Mounted::attach(kind, image);
        kind.mount(mounted.device(), text(&mounted.point()));
        mounted.is_mounted = true;
        mounted
    }

    fn attach(kind: Kind, image: Image) -> Mounted {
        let (folder, disk) = (Folder::new(), Arc::new(Disk::new(image)));
        let file_system = folder.0.join("file");
        let mut mounted = Mounted { disk, kind, device: None, is_mounted: false, session: None, folder };
        std::fs::create_dir_all(&file_system).unwrap();
        std::fs::create_dir_all(mounted.point()).unwrap();
        let session = fuse::serve(mounted.disk.clone(), &file_system);
        mounted.session = Some(session.expect("FUSE takes a mount"));
        let file = file_system.join(fuse::FILE);
        let sector = kind.sector().to_string();
        let device =
            run("losetup", &["--find", "--show", "--direct-io=on", "--sector-size", &sector, text(&file)]);
        let device = device.trim().to_owned();
        let name = device.trim_start_matches("/dev/");
        mounted.device = Some(device.clone());
        // Else the loop device writes one thing after another, and no flush ever meets a write under way.
        let direct = std::fs::read_to_string(format!("/sys/block/{name}/loop/dio")).unwrap();
        assert_eq!(direct.trim(), "1", "{device} is not read and written directly");
        mounted
    }

    fn device(&self) -> &str {
        self.device.as_deref().expect("it is attached")
    }

    /// Where it is mounted.
    pub fn point(&self) -> PathBuf {
        self.folder.0.join("mount")
    }

    /// Takes the file system away from all that use it.
    pub fn tear_off(&mut self) {
        run("umount", &["-l", text(&self.point())]);
        self.is_mounted = false;
    }

    /// What is there once the disk has failed, nobody uses it any more, and it was mended. What was not flushed, a power
    /// cut may take.
    pub fn mended(self, chance: &mut Chance) -> Mounted {
        self.disk.fail(Fault::None);
        let kind = self.kind;
        let image = if chance.below(2) == 0 {
            let (frozen, _) = self.disk.freeze();
            frozen.cut(kind.sector(), chance).0
        } else {
            let mut left = self;
            left.unmount();
            left.disk.image()
        };
        let mut mounted = Mounted::attach(kind, image);
        kind.repair(mounted.device());
        kind.mount(mounted.device(), text(&mounted.point()));
        mounted.is_mounted = true;
        mounted
    }

    /// Unmounts it, and looks whether it is sound.
    pub fn check(mut self) {
        self.unmount();
        self.kind.check(self.device());
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.is_mounted) {
            let point = self.point();
            // A ring lets go of its files a little later than its process ends.
            let unmount =
                || bounded("umount", &[text(&point)]).output().is_ok_and(|done| done.status.success());
            for _ in 0..500 {
                if unmount() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = bounded("umount", &["-l", text(&point)]).status();
        }
    }

    fn detach(&mut self) {
        self.unmount();
        if let Some(device) = self.device.take() {
            let _ = bounded("losetup", &["-d", &device]).status();
        }
        if self.session.take().is_some() {
            // Dropped, the session has unmounted it; unless the loop device lets go of its file only later.
            let _ = bounded("umount", &["-q", "-l", text(&self.folder.0.join("file"))]).output();
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Says what is missing, where something is.
pub fn demand() {
    let how = "run tests/setup.sh, and then as root\n  sudo -E \"$(command -v cargo)\" test --test power";
    // SAFETY: a plain system call.
    let is_root = unsafe { libc::geteuid() } == 0;
    assert!(is_root, "this test mounts file systems, which takes root: {how}");
    for (device, what) in [("/dev/fuse", "FUSE"), ("/dev/loop-control", "loop devices")] {
        assert!(Path::new(device).exists(), "this test needs {what} ({device}), in a kernel that has them");
    }
    for command in ["mkfs.ext4", "mkfs.xfs", "fsck.ext4", "xfs_repair", "losetup", "mount", "umount"] {
        let there = Command::new(command).arg("-V").output();
        assert!(there.is_ok(), "this test needs {command}: {how}");
    }
    sweep();
}

/// Takes away what tests left that were killed.
fn sweep() {
    // While they are mounted, the devices tell whose they are; they go with the mounts.
    let devices = run("losetup", &["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]);
    for (device, file) in devices.lines().filter_map(|line| line.split_once(' ')) {
        if is_left(file) {
            let _ = bounded("losetup", &["-d", device]).status();
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| is_left(point)).collect::<Vec<_>>().into_iter().rev() {
        let _ = bounded("umount", &["-l", point]).status();
    }
}

/// Whether a path lies in the folder of a test that runs no more.
fn is_left(path: &str) -> bool {
    let folder = std::env::temp_dir().join("ottla-test-");
    let rest = path.strip_prefix(text(&folder)).and_then(|rest| rest.split('-').next());
    rest.and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// A command that ends at some time.
fn bounded(command: &str, arguments: &[&str]) -> Command {
    let mut bounded = Command::new("timeout");
    bounded.args(["-k", "5", "60", command]).args(arguments);
    bounded
}

#[track_caller]
fn run(command: &str, arguments: &[&str]) -> String {
    let output = bounded(command, arguments).output().expect("timeout is there");
    String::from_utf8(succeeded((command, arguments), output)).unwrap()
}
