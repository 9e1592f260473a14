//! The brokers that are measured: started, ended, and looked at from outside.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// This one.
    Ottla,
    /// Stock Kafka.
    Kafka,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ottla => "Ottla",
            Kind::Kafka => "Kafka",
        }
    }
}

/// A broker in a folder of its own, which goes with it.
pub struct Broker {
    kind: Kind,
    dir: PathBuf,
    address: String,
    process: Option<Child>,
}

impl Broker {
    /// Prepares a folder; nothing runs yet.
    pub fn new(kind: Kind, dir: &Path) -> Broker {
        let dir = dir.canonicalize().expect("it is there").join(kind.name());
        let _ = fs::remove_dir_all(&dir);
        settle(dir.parent().expect("a folder in a folder"));
        fs::create_dir_all(&dir).expect("the folder can be made");
        let port = if kind == Kind::Ottla { 19392 } else { 19492 };
        let broker = Broker { kind, dir, address: format!("127.0.0.1:{port}"), process: None };
        if kind == Kind::Kafka {
            // It writes the configuration and formats the folder; the broker that it starts is not the one measured.
            let port = port.to_string();
            broker.stock(&["start", "--port", &port]);
            broker.stock(&["stop"]);
        }
        broker
    }

    fn stock(&self, arguments: &[&str]) {
        let script = Path::new(ROOT).join("benches/stock-kafka/run.sh");
        let status =
            Command::new(script).args(arguments).arg("--dir").arg(&self.dir).stdout(Stdio::null()).status();
        assert!(status.expect("the script runs").success(), "stock Kafka: {arguments:?}");
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Begins it.
    pub fn start(&mut self) {
        let log =
            fs::File::options().create(true).append(true).open(self.dir.join("said")).expect("it opens");
        let mut command = match self.kind {
            Kind::Ottla => {
                let mut command = Command::new(ottla());
                command
                    .args(["serve", "--quiet", "--listen", &self.address])
                    .arg("--data-dir")
                    .arg(self.data());
                command
            }
            Kind::Kafka => {
                let script = Path::new(ROOT).join("benches/stock-kafka/run.sh");
                let jars = Command::new(script).arg("classpath").output().expect("the script runs").stdout;
                let jars = String::from_utf8(jars).expect("a path").trim().to_owned();
                let mut command = Command::new("java");
                // The options of Kafka's own start script.
                command.args(["-Xmx1g", "-Xms1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
                command.args(["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"]);
                command.args([
                    "-Djava.awt.headless=true",
                    "-Dorg.apache.logging.log4j.level=INFO",
                    "-cp",
                    &jars,
                ]);
                command.arg("kafka.Kafka").arg(self.dir.join("server.properties"));
                command
            }
        };
        let copy = log.try_clone().expect("a copy");
        let child = command.stdout(log).stderr(copy).stdin(Stdio::null()).spawn();
        self.process = Some(child.expect("the broker starts"));
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        self.end(libc::SIGTERM);
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.end(libc::SIGKILL);
    }

    fn end(&mut self, signal: i32) {
        let Some(mut process) = self.process.take() else { return };
        // SAFETY: a plain system call; the process is ours and has not been waited for.
        unsafe { libc::kill(process.id() as i32, signal) };
        process.wait().expect("it ends");
    }

    /// The apparent size of its log directory, and what it takes on the disk.
    pub fn space(&self) -> (u64, u64) {
        let mut sum = (0, 0);
        let mut folders = vec![self.data()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let Ok(about) = entry.metadata() else { continue };
                sum = (sum.0 + about.len(), sum.1 + about.blocks() * 512);
                if about.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        sum
    }

    /// Resident memory.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory that it ever had.
    pub fn most_resident(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is there");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("its name ends").split_whitespace().collect();
        let ticks: u64 =
            fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks");
        // SAFETY: a plain system call.
        Duration::from_secs_f64(ticks as f64 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Waits until the file system has done what the removal of so many files leaves to do, discards above all: it is not
/// the next broker's work.
fn settle(dir: &Path) {
    let mut quick = 0;
    for _ in 0..100 {
        let began = Instant::now();
        drop(Command::new("sync").arg("-f").arg(dir).status());
        quick = if began.elapsed() < Duration::from_millis(50) { quick + 1 } else { 0 };
        if quick == 3 {
            return;
        }
        sleep(Duration::from_secs(1));
    }
}

/// The binary beside this bench.
fn ottla() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ottla"))
}
