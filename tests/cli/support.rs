//! Running the binary, and a broker for it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

pub use crate::broker::{Folder, OTTLA};

/// A broker for one test.
pub struct Broker {
    pub address: String,
    own: Option<crate::broker::Broker>,
}

impl Broker {
    pub fn start() -> Broker {
        if let Ok(address) = std::env::var("OTTLA_TEST_BOOTSTRAP") {
            return Broker { address, own: None };
        }
        let own = crate::broker::Broker::start();
        Broker { address: own.address.clone(), own: Some(own) }
    }

    /// Where its partitions lie; none for a broker that is not the test's own.
    pub fn data(&self) -> Option<PathBuf> {
        self.own.as_ref().map(crate::broker::Broker::data)
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
