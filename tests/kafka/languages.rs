//! Clients of other languages. With their default settings each makes a topic, asks for its settings and offsets, writes
//! and reads, and prints what it found; then its consumers are members of groups (groups.rs). The programs lie beside
//! this file.
//!
//! With OTTLA_TEST_BOOTSTRAP set to HOST:PORT they use the broker there, with OTTLA_TEST_STOCK set to anything a stock
//! Kafka that the test starts.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use ottla::wire::schema::{DescribeProducersRequest, DescribeProducersTopicRequest};

use crate::broker::{Broker, Folder, free_address};
use crate::driver::{self, Driver};
use crate::groups::{self, Client};
use crate::remote::Remote;
use crate::stock::Stock;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka");

/// The broker that a client is tried against.
pub struct Target {
    pub address: String,
    _own: Own,
}

/// What ends with the target.
enum Own {
    Nothing,
    Ottla { _broker: Broker },
    Stock { _broker: Stock },
}

impl Target {
    fn start() -> Target {
        Target::with(&[])
    }

    /// One with these settings.
    pub fn with(settings: &[&str]) -> Target {
        if let Ok(address) = std::env::var("OTTLA_TEST_BOOTSTRAP") {
            return Target { address, _own: Own::Nothing };
        }
        if std::env::var_os("OTTLA_TEST_STOCK").is_some() {
            let broker = Stock::start(settings);
            return Target { address: broker.address.clone(), _own: Own::Stock { _broker: broker } };
        }
        let (folder, address) = (Folder::new(), free_address());
        let config = folder.0.join("server.properties");
        std::fs::write(&config, settings.join("\n")).unwrap();
        let arguments = ["--config", &config.to_string_lossy(), "--listen", &address].map(str::to_owned);
        let mut broker = Broker::with(folder, address.clone(), arguments.to_vec());
        broker.begin();
        broker.wait();
        Target { address, _own: Own::Ottla { _broker: broker } }
    }

    /// Has a client do its part with a topic of this name; `run` gives what it prints. Its producer is to have been
    /// idempotent or not.
    #[track_caller]
    fn check(&self, name: &str, idempotent: bool, run: impl FnOnce(&str, &str) -> String) {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let topic = format!("{name}-{since}");
        let said = run(&self.address, &topic);
        let mut wanted =
            vec!["again true".to_owned(), "partitions 3".into(), "retention.ms 123456000".into()];
        wanted.extend((0..3).map(|partition| format!("offsets {partition} 0 100")));
        wanted.extend((0..300).map(|at| {
            let (partition, offset) = (at / 100, at % 100);
            let n = 3 * offset + partition;
            format!("record {partition} {offset} key-{n} value-{n} number={n}")
        }));
        let differs = said.lines().zip(&wanted).find(|(said, wanted)| said != wanted);
        assert_eq!(differs, None, "{name}: what it says, and what it should");
        assert_eq!(said.lines().count(), wanted.len(), "{name}: {said}");
        let topic = DescribeProducersTopicRequest { name: topic, partition_indexes: vec![0, 1, 2] };
        let answer =
            Remote::open(&self.address).0.call(&DescribeProducersRequest { topics: vec![topic] }).unwrap();
        for part in &answer.topics[0].partitions {
            let sequences: Vec<_> =
                part.active_producers.iter().map(|producer| producer.last_sequence).collect();
            assert_eq!(sequences, if idempotent { vec![99] } else { vec![] }, "{name}: {part:?}");
        }
    }
}

/// What a command prints.
#[track_caller]
fn output(command: &mut Command, needs: &str) -> String {
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; {needs}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {:?} ({needs}): {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A folder under target/ that belongs to these sources alone. `make` fills it, once.
fn made(name: &str, sources: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hasher = DefaultHasher::new();
    sources
        .iter()
        .for_each(|source| std::fs::read(Path::new(SOURCES).join(source)).unwrap().hash(&mut hasher));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{name}-{:x}", hasher.finish()));
    // Written last: what a broken run has left is made again.
    let done = folder.join("made");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        make(&folder);
        std::fs::write(done, "").unwrap();
    }
    folder
}

const JAVA: &str = "Java 17 or later is needed, see tests/setup.sh";
const PYTHON: &str = "Python 3.9 or later with venv is needed, see tests/setup.sh";
const GO: &str = "Go 1.24 or later is needed, see tests/setup.sh";
const JAVASCRIPT: &str = "Node.js 18 or later with npm is needed, see tests/setup.sh";

/// A Python with the clients, and a program for it.
fn python(program: &str) -> Command {
    let folder = made("python", &["python/requirements.txt"], |folder| {
        output(Command::new("python3").args(["-m", "venv"]).arg(folder), PYTHON);
        let requirements = Path::new(SOURCES).join("python/requirements.txt");
        output(Command::new(folder.join("bin/pip")).args(["install", "-q", "-r"]).arg(requirements), PYTHON);
    });
    let mut python = Command::new(folder.join("bin/python"));
    python.env("PYTHONDONTWRITEBYTECODE", "1").arg(Path::new(SOURCES).join("python").join(program));
    python
}

/// A Go program.
fn go(program: &str) -> Command {
    let sources = ["go/main.go", "go/members/main.go", "go/go.mod", "go/go.sum"];
    let folder = made("go", &sources, |folder| {
        for (program, package) in [("client", "."), ("members", "./members")] {
            let mut build = Command::new("go");
            build.args(["build", "-buildvcs=false", "-mod=readonly", "-o"]).arg(folder.join(program));
            output(build.arg(package).current_dir(Path::new(SOURCES).join("go")), GO);
        }
    });
    Command::new(folder.join(program))
}

/// Node.js with KafkaJS, and a program for it.
fn javascript(program: &str) -> Command {
    let files = ["package.json", "package-lock.json", "client.js", "members.js"];
    let folder =
        made("js", &files.map(|file| format!("js/{file}")).each_ref().map(String::as_str), |folder| {
            for file in files {
                std::fs::copy(Path::new(SOURCES).join("js").join(file), folder.join(file)).unwrap();
            }
            let arguments = ["ci", "--prefer-offline", "--no-audit", "--no-fund"];
            output(Command::new("npm").args(arguments).current_dir(folder), JAVASCRIPT);
        });
    let mut node = Command::new("node");
    node.arg(folder.join(program));
    node
}

mod write_and_read {
    use super::*;

    #[test]
    fn java() {
        let (target, mut driver) = (Target::start(), Driver::start());
        target.check("java", true, |address, topic| driver.run(&["Client", address, topic]).ok());
    }

    #[test]
    fn python() {
        let target = Target::start();
        let run = |program: &str, address: &str, topic: &str, mode: &str| {
            output(super::python(program).args([address, topic, mode]), PYTHON)
        };
        target.check("kafka-python", true, |address, topic| run("kafka_python.py", address, topic, ""));
        for mode in ["default", "idempotent"] {
            let idempotent = mode == "idempotent";
            target.check("confluent", idempotent, |address, topic| run("confluent.py", address, topic, mode));
        }
    }

    #[test]
    fn go() {
        let run = |address: &str, topic: &str| output(super::go("client").args([address, topic]), GO);
        Target::start().check("franz-go", true, run);
    }

    #[test]
    fn javascript() {
        let target = Target::start();
        for mode in ["default", "idempotent"] {
            target.check("kafkajs", mode == "idempotent", |address, topic| {
                output(super::javascript("client.js").args([address, topic, mode]), JAVASCRIPT)
            });
        }
    }
}

mod groups_of {
    use super::*;
    use crate::groups::{COOPERATIVE, RANGE, ROUND_ROBIN, SERVER_RANGE, SERVER_UNIFORM, STICKY};

    #[test]
    fn java() {
        groups::check(&Client {
            name: "java",
            host: &|| driver::program("Members"),
            needs: JAVA,
            kinds: &[RANGE, ROUND_ROBIN, STICKY, COOPERATIVE, SERVER_UNIFORM, SERVER_RANGE],
            statics: &[RANGE, ROUND_ROBIN, STICKY, COOPERATIVE, SERVER_UNIFORM, SERVER_RANGE],
            looks_again: true,
        });
    }

    #[test]
    fn kafka_python() {
        groups::check(&Client {
            name: "kafka-python",
            host: &|| super::python("kafka_python_members.py"),
            needs: PYTHON,
            kinds: &[RANGE, ROUND_ROBIN, STICKY, COOPERATIVE],
            statics: &[RANGE, ROUND_ROBIN, STICKY, COOPERATIVE],
            // With some assignors it gives up its partitions when a topic comes, and joins no more, with stock Kafka too.
            looks_again: false,
        });
    }

    #[test]
    fn confluent() {
        groups::check(&Client {
            name: "confluent",
            host: &|| super::python("confluent_members.py"),
            needs: PYTHON,
            kinds: &[RANGE, ROUND_ROBIN, COOPERATIVE, SERVER_UNIFORM, SERVER_RANGE],
            statics: &[RANGE, ROUND_ROBIN, COOPERATIVE, SERVER_UNIFORM, SERVER_RANGE],
            looks_again: true,
        });
    }

    #[test]
    fn go() {
        groups::check(&Client {
            name: "franz-go",
            host: &|| super::go("members"),
            needs: GO,
            kinds: &[RANGE, ROUND_ROBIN, STICKY, COOPERATIVE, SERVER_UNIFORM, SERVER_RANGE],
            // In the new protocol its static members lose their place when they are closed, with stock Kafka too.
            statics: &[RANGE, ROUND_ROBIN, STICKY, COOPERATIVE],
            looks_again: true,
        });
    }

    #[test]
    fn javascript() {
        groups::check(&Client {
            name: "kafkajs",
            host: &|| super::javascript("members.js"),
            needs: JAVASCRIPT,
            kinds: &[ROUND_ROBIN],
            // It has no static members, and takes the topics that are there when it begins.
            statics: &[],
            looks_again: false,
        });
    }
}
