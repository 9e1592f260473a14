//! What tests that run a broker share: a folder, an address, and `ottla serve` as a process that can be killed.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The binary under test.
pub const OTTLA: &str = env!("CARGO_BIN_EXE_ottla");
/// How long a broker may take to start, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("ottla-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An address that nobody listens on. Its port is none that the system gives to outgoing connections: a client
/// that tries again and again while the broker is down would else meet itself there one day, and keep the port.
pub fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() * 97;
    loop {
        let port = 11_000 + (first + NEXT.fetch_add(1, Relaxed)) % 20_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// A broker process that can be ended and begun again, in one folder and at one address.
pub struct Broker {
    pub address: String,
    folder: Folder,
    /// Its log directories, where they are not one folder of its own.
    log_dirs: Option<String>,
    arguments: Vec<String>,
    process: Option<Child>,
    /// How long the log was when it was begun.
    begun_at: usize,
}

impl Broker {
    /// A broker on two cores, where there are two, that was not begun yet.
    pub fn new() -> Broker {
        let address = free_address();
        let arguments = vec!["--listen".to_string(), address.clone()];
        Broker::with(Folder::new(), address, arguments)
    }

    /// A broker of a folder, with more arguments; they make it listen at this address.
    pub fn with(folder: Folder, address: String, mut arguments: Vec<String>) -> Broker {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(2);
        arguments.extend(["--cores".to_string(), cores.to_string()]);
        Broker { address, folder, log_dirs: None, arguments, process: None, begun_at: 0 }
    }

    /// A broker with log directories of these names in its folder, that was not begun yet.
    pub fn with_dirs(names: &[&str]) -> (Broker, Vec<PathBuf>) {
        let mut broker = Broker::new();
        let dirs: Vec<PathBuf> = names.iter().map(|name| broker.folder.0.join(name)).collect();
        let all: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        broker.log_dirs = Some(all.join(","));
        (broker, dirs)
    }

    /// A broker that serves.
    pub fn start() -> Broker {
        let mut broker = Broker::new();
        broker.begin();
        broker.wait();
        broker
    }

    /// Begins it, and does not wait.
    pub fn begin(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.begun_at = self.log().len();
        let log = std::fs::File::options().create(true).append(true).open(self.folder.0.join("log")).unwrap();
        let process = Command::new(OTTLA)
            .args(["serve", "--data-dir"])
            .arg(self.log_dirs.clone().unwrap_or_else(|| self.data().display().to_string()))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Waits until it says that it serves. (A connection would say less: for a moment after a kill the old
    /// process's socket still takes some.)
    pub fn wait(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log()[self.begun_at..].contains("Ready.") {
            let ended = self.process.as_mut().expect("it was begun").try_wait().unwrap();
            assert!(ended.is_none(), "ottla serve ended with {ended:?}: {}", self.log());
            assert!(Instant::now() < deadline, "ottla serve did not start in time: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it was begun");
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "ottla serve ended by itself with {ended:?}: {}", self.log());
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("it was begun");
        let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
        assert!(asked.success());
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            match process.try_wait().unwrap() {
                Some(ended) => break ended,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                None => {
                    let _ = process.kill();
                    panic!("ottla serve did not stop in time: {}", self.log());
                }
            }
        };
        assert!(ended.success(), "ottla serve ended with {ended:?}: {}", self.log());
    }

    /// Where its partitions lie.
    pub fn data(&self) -> PathBuf {
        self.folder.0.join("data")
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it was begun").id()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    /// Runs one of Ottla's commands against it, and gives its output.
    #[track_caller]
    pub fn ottla(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(OTTLA).args(["-b", &self.address]).args(arguments).output().unwrap();
        succeeded(arguments, output)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let said = std::thread::panicking().then(|| self.log());
        if let Some(process) = &mut self.process {
            if let Some(said) = said {
                let ended = process.try_wait();
                eprintln!("ottla serve, which has ended with {ended:?}, said last:\n{}", last(&said, 60));
                eprintln!("its threads, and the machine:\n{}", what_it_does(process.id()));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What each thread of a process waits for in the kernel, and what the machine waits for.
fn what_it_does(pid: u32) -> String {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let mut told = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let file = |name| read(format!("{}/{name}", task.path().display())).trim().to_string();
        let status = file("status");
        let state = status.lines().find(|line| line.starts_with("State")).unwrap_or_default();
        told.push(format!("{} {state} {} {}", file("comm"), file("wchan"), file("stack").replace('\n', " ")));
    }
    for name in ["/proc/pressure/io", "/proc/pressure/cpu", "/proc/loadavg"] {
        told.push(format!("{name}: {}", read(name.to_string()).replace('\n', "; ")));
    }
    told.join("\n")
}

/// The last lines of a text.
fn last(text: &str, lines: usize) -> &str {
    let start = text.rmatch_indices('\n').nth(lines).map_or(0, |(at, _)| at + 1);
    &text[start..]
}

/// The output of a command that succeeded.
#[track_caller]
pub fn succeeded(command: impl std::fmt::Debug, output: Output) -> Vec<u8> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {:?}: {said}", output.status);
    output.stdout
}
