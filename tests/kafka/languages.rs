//! Clients of other languages with their default settings: each makes a topic, asks for its settings and offsets, writes
//! and reads, and prints what it found; the programs lie beside this file.
//!
//! With OTTLA_TEST_BOOTSTRAP set to HOST:PORT they use the broker there, for example stock Kafka.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use ottla::wire::schema::{DescribeProducersRequest, DescribeProducersTopicRequest};

use crate::broker::Broker;
use crate::driver::Driver;
use crate::remote::Remote;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka");

/// The broker that a client is tried against.
struct Target {
    address: String,
    _own: Option<Broker>,
}

impl Target {
    fn start() -> Target {
        match std::env::var("OTTLA_TEST_BOOTSTRAP") {
            Ok(address) => Target { address, _own: None },
            Err(_) => {
                let own = Broker::start();
                Target { address: own.address.clone(), _own: Some(own) }
            }
        }
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

#[test]
fn java() {
    let (target, mut driver) = (Target::start(), Driver::start());
    target.check("java", true, |address, topic| driver.run(&["Client", address, topic]).ok());
}

#[test]
fn python() {
    let needs = "Python 3.9 or later with venv is needed, see tests/setup.sh";
    let folder = made("python", &["python/requirements.txt"], |folder| {
        output(Command::new("python3").args(["-m", "venv"]).arg(folder), needs);
        let requirements = Path::new(SOURCES).join("python/requirements.txt");
        output(Command::new(folder.join("bin/pip")).args(["install", "-q", "-r"]).arg(requirements), needs);
    });
    let target = Target::start();
    let run = |program: &str, address: &str, topic: &str, mode: &str| {
        let program = Path::new(SOURCES).join("python").join(program);
        output(Command::new(folder.join("bin/python")).arg(program).args([address, topic, mode]), needs)
    };
    target.check("kafka-python", true, |address, topic| run("kafka_python.py", address, topic, ""));
    for mode in ["default", "idempotent"] {
        let idempotent = mode == "idempotent";
        target.check("confluent", idempotent, |address, topic| run("confluent.py", address, topic, mode));
    }
}

#[test]
fn go() {
    let needs = "Go 1.24 or later is needed, see tests/setup.sh";
    let folder = made("go", &["go/main.go", "go/go.mod", "go/go.sum"], |folder| {
        let mut build = Command::new("go");
        build.args(["build", "-buildvcs=false", "-mod=readonly", "-o"]).arg(folder.join("client")).arg(".");
        output(build.current_dir(Path::new(SOURCES).join("go")), needs);
    });
    let run = |address: &str, topic: &str| {
        output(Command::new(folder.join("client")).args([address, topic]), needs)
    };
    Target::start().check("franz-go", true, run);
}

#[test]
fn javascript() {
    let needs = "Node.js 18 or later with npm is needed, see tests/setup.sh";
    let files = ["package.json", "package-lock.json", "client.js"];
    let folder =
        made("js", &files.map(|file| format!("js/{file}")).each_ref().map(String::as_str), |folder| {
            for file in files {
                std::fs::copy(Path::new(SOURCES).join("js").join(file), folder.join(file)).unwrap();
            }
            let arguments = ["ci", "--prefer-offline", "--no-audit", "--no-fund"];
            output(Command::new("npm").args(arguments).current_dir(folder), needs);
        });
    let target = Target::start();
    for mode in ["default", "idempotent"] {
        target.check("kafkajs", mode == "idempotent", |address, topic| {
            output(Command::new("node").arg(folder.join("client.js")).args([address, topic, mode]), needs)
        });
    }
}
