//! Running the binary, and a broker for it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The binary under test.
pub const OTTLA: &str = env!("CARGO_BIN_EXE_ottla");

/// How long a broker may take to start.
const START: Duration = Duration::from_secs(60);

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("ottla-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A broker for one test.
pub struct Broker {
    pub address: String,
    process: Option<Child>,
    folder: Folder,
}

impl Broker {
    pub fn start() -> Broker {
        let folder = Folder::new();
        if let Ok(address) = std::env::var("OTTLA_TEST_BOOTSTRAP") {
            return Broker { address, process: None, folder };
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let log = std::fs::File::create(folder.0.join("log")).unwrap();
        let process = Command::new(OTTLA)
            .args(["serve", "--listen", &address, "--data-dir"])
            .arg(folder.0.join("data"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut broker = Broker { address, process: Some(process), folder };
        let deadline = Instant::now() + START;
        while TcpStream::connect(&broker.address).is_err() {
            let ended = broker.process.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(broker.folder.0.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "ottla serve ended with {ended:?}: {}", log());
            assert!(Instant::now() < deadline, "ottla serve did not start in time: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        broker
    }

    /// Where its partitions lie; none for a broker that is not the test's own.
    pub fn data(&self) -> Option<PathBuf> {
        self.process.as_ref().map(|_| self.folder.0.join("data"))
    }

    /// A topic name that nobody else uses.
    pub fn topic(&self, name: &str) -> String {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        format!("{name}-{}-{since}", std::process::id())
    }

    /// Runs a command against this broker.
    pub fn ottla(&self, arguments: &[&str]) -> Outcome {
        self.ottla_with(arguments, "")
    }

    /// Runs a command against this broker with something on standard input.
    pub fn ottla_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Outcome {
        run(&[&["-b", &self.address], arguments].concat(), input.as_ref())
    }

    /// Starts a command and leaves it running.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(OTTLA)
            .args(["-b", &self.address])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    /// Its output, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Its words on stderr, if it ended with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }

    /// Its output as lines of JSON, if it succeeded.
    #[track_caller]
    pub fn json(self) -> Vec<serde_json::Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Outcome {
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs the binary.
pub fn run(arguments: &[&str], input: &[u8]) -> Outcome {
    let mut child = Command::new(OTTLA)
        .args(arguments)
        .env_remove("OTTLA_BOOTSTRAP")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that reads no input, or not all, closes the pipe.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output.into()
}
