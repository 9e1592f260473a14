//! Stock Kafka as a process.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::broker::{Folder, free_address};

/// The script that fetches, starts and stops it.
pub const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/stock-kafka/run.sh");

/// A stock Kafka broker in a folder of its own, at one address.
pub struct Stock {
    pub address: String,
    folder: Folder,
    settings: Vec<String>,
    runs: bool,
}

impl Stock {
    /// One that serves.
    pub fn start(settings: &[&str]) -> Stock {
        let mut stock = Stock::new(settings);
        stock.begin();
        stock
    }

    /// One that was not begun yet.
    pub fn new(settings: &[&str]) -> Stock {
        let port = |address: &str| address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        let mut address = free_address();
        // The port behind it is its controller's.
        loop {
            let next = free_address();
            if port(&next) == port(&address) + 1 {
                break;
            }
            address = next;
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Stock { address, folder: Folder::new(), settings, runs: false }
    }

    /// Begins it, and waits until it serves.
    pub fn begin(&mut self) {
        let (_, port) = self.address.rsplit_once(':').unwrap();
        let mut arguments = vec!["--port", port];
        self.settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        self.run("start", &arguments);
        self.runs = true;
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        self.run("stop", &[]);
        self.runs = false;
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        let pid = std::fs::read_to_string(self.folder.0.join("pid")).unwrap();
        let killed = Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap();
        assert!(killed.success());
        while std::fs::exists(format!("/proc/{}/exe", pid.trim())).unwrap_or(false) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        std::fs::remove_file(self.folder.0.join("pid")).unwrap();
        self.runs = false;
    }

    /// Where its partitions lie.
    pub fn data(&self) -> PathBuf {
        self.folder.0.join("data")
    }

    /// Whether it starts at all.
    pub fn can_begin(&mut self) -> bool {
        let (_, port) = self.address.rsplit_once(':').unwrap();
        self.runs = self.try_run("start", &["--port", port]).is_ok();
        self.runs
    }

    fn run(&self, command: &str, arguments: &[&str]) {
        self.try_run(command, arguments).unwrap_or_else(|said| panic!("{RUN} {command}: {said}"));
    }

    fn try_run(&self, command: &str, arguments: &[&str]) -> Result<(), String> {
        // Its output goes to a file, for the broker keeps what it was given open.
        let said = self.folder.0.join("run.log");
        let log = std::fs::File::create(&said).unwrap();
        let status = Command::new(RUN)
            .args([command, "--dir"])
            .arg(&self.folder.0)
            .args(arguments)
            .env("KAFKA_HEAP", "512m")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        if status.success() { Ok(()) } else { Err(std::fs::read_to_string(said).unwrap()) }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        if self.runs && self.folder.0.join("pid").exists() {
            self.kill();
        }
    }
}
