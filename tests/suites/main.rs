//! Other projects' suites against Ottla, with a list of what is known to fail (known.txt). README.md tells what they are.
//!
//! With OTTLA_TEST_STOCK set to anything they are run against stock Kafka, to learn what passes there. With
//! OTTLA_TEST_LONG set to anything nothing is left out.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests run processes, talk to them and look at their files"
)]

#[path = "../support/mod.rs"]
mod broker;
#[path = "../kafka/stock.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod stock;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use broker::{Broker, Folder, free_address};
use stock::Stock;

/// What the suites want of a broker; stock Kafka is told the same.
const SETTINGS: [&str; 7] = [
    // A disk that others use too stands still for longer than clients are patient.
    "offsets.commit.timeout.ms=60000",
    "offsets.topic.replication.factor=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "num.partitions=4",
    "group.initial.rebalance.delay.ms=100",
    "group.min.session.timeout.ms=1000",
];
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suites/kafka-python");
const GO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/go");

/// A broker for a suite.
enum Target {
    Ottla(Broker),
    Stock(Stock),
}

impl Target {
    fn start() -> Target {
        if std::env::var_os("OTTLA_TEST_STOCK").is_some() {
            return Target::Stock(Stock::start(&SETTINGS));
        }
        let (folder, address) = (Folder::new(), free_address());
        let config = folder.0.join("server.properties");
        let own = format!("{}\nadvertised.listeners=PLAINTEXT://{address}\n", SETTINGS.join("\n"));
        std::fs::write(&config, own).unwrap();
        let arguments = ["--config", &config.to_string_lossy(), "--listen", &address].map(str::to_owned);
        let mut broker = Broker::with(folder, address, arguments.to_vec());
        broker.begin();
        broker.wait();
        Target::Ottla(broker)
    }

    fn address(&self) -> &str {
        match self {
            Target::Ottla(broker) => &broker.address,
            Target::Stock(stock) => &stock.address,
        }
    }
}

fn long() -> bool {
    std::env::var_os("OTTLA_TEST_LONG").is_some()
}

/// A folder under target/ that keeps what was fetched; `make` fills it, once.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("suite-{name}"));
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

/// What a command prints, if it succeeds.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; see tests/setup.sh"));
    String::from_utf8(broker::succeeded(command, output)).unwrap()
}

/// A line of the list: SUITE TEST SIDE WORD REASON...
struct Known {
    test: &'static str,
    word: &'static str,
}

impl Target {
    /// What is known of a suite on this side.
    fn known(&self, suite: &str) -> impl Iterator<Item = Known> {
        let side = match self {
            Target::Ottla(_) => "ottla",
            Target::Stock(_) => "stock",
        };
        let lines =
            include_str!("known.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.filter_map(move |line| {
            let [of, test, on, word, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("known.txt: {line}")
            };
            assert!(["fails", "hangs", "long"].contains(&word), "known.txt: {line}");
            (of == suite && (on == side || on == "both")).then_some(Known { test, word })
        })
    }

    /// What is not run.
    fn left_out(&self, suite: &str) -> Vec<&'static str> {
        let without = |known: &Known| known.word == "hangs" || known.word == "long" && !long();
        self.known(suite).filter(without).map(|known| known.test).collect()
    }

    /// Holds what failed against what is known to.
    fn compare(&self, suite: &str, outcomes: &BTreeMap<String, bool>, said: &str) {
        let passed = outcomes.values().filter(|passed| **passed).count();
        assert!(passed > 10, "{suite} was not run: {said}");
        let known: Vec<_> =
            self.known(suite).filter(|known| known.word == "fails").map(|known| known.test).collect();
        let failed = outcomes.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name.as_str());
        let new: Vec<_> = failed.filter(|name| !known.contains(name)).collect();
        assert!(new.is_empty(), "{suite}: these fail: {new:?}\n{said}");
        let gone: Vec<_> = known.iter().filter(|name| outcomes.get(**name) == Some(&true)).collect();
        assert!(gone.is_empty(), "{suite}: these pass: take them out of tests/suites/known.txt: {gone:?}");
        println!("{suite}: {passed} tests pass, {} fail as known", outcomes.len() - passed);
    }
}

#[test]
fn kafka_python() {
    let requirements = std::fs::read_to_string(Path::new(PYTHON).join("requirements.txt")).unwrap();
    let client = requirements.lines().find(|line| line.starts_with("kafka-python==")).unwrap();
    let folder = made(&client.replace("==", "-"), |folder| {
        output(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let pip = || Command::new(folder.join("bin/pip"));
        let list = Path::new(PYTHON).join("requirements.txt");
        output(pip().args(["install", "-q", "-r"]).arg(list));
        // The tests are part of the package's source alone.
        let source = ["download", "-q", "--no-deps", "--no-binary", ":all:", client, "-d"];
        output(pip().args(source).arg(folder.join("source")));
        let archive =
            std::fs::read_dir(folder.join("source")).unwrap().next().expect("an archive").unwrap().path();
        let unpack = ["-xzf", &archive.to_string_lossy(), "--strip-components=1", "-C"].map(str::to_owned);
        output(Command::new("tar").args(unpack).arg(folder).args(["--wildcards", "*/test"]));
    });
    for file in ["__init__.py", "service.py"] {
        std::fs::copy(Path::new(PYTHON).join(file), folder.join("test").join(file)).unwrap();
    }
    let target = Target::start();
    let files =
        ["admin", "consumer", "producer"].map(|name| format!("test/integration/test_{name}_integration.py"));
    let mut pytest = Command::new(folder.join("bin/python"));
    pytest
        .args(["-m", "pytest", "-rA", "-q", "--no-header", "--tb=short", "--show-capture=no"])
        .args(["-p", "no:cacheprovider", "-o", "addopts=", "--timeout=120", "--timeout-method=signal"])
        .args(&files)
        .args(
            target.left_out("kafka-python").iter().map(|test| format!("--deselect=test/integration/{test}")),
        )
        .current_dir(&folder)
        .env("KAFKA_VERSION", "4.2.0")
        .env("KAFKA_URI", format!("kafka://{}", target.address()))
        // Where it would look for a Kafka of its own, if it were not given one.
        .env("KAFKA_ROOT", &folder);
    let output = pytest.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcomes = said.lines().filter_map(|line| {
        let (word, rest) = line.split_once(' ')?;
        let passed = match word {
            "PASSED" => true,
            "FAILED" | "ERROR" => false,
            _ => return None,
        };
        let name = rest.split(" - ").next()?.strip_prefix("test/integration/")?;
        Some((name.to_owned(), passed))
    });
    target.compare("kafka-python", &outcomes.collect(), &said);
}

#[test]
fn franz_go() {
    let mut fetch = Command::new("go");
    fetch.args(["mod", "download", "-json", "github.com/twmb/franz-go"]).current_dir(GO);
    let module: serde_json::Value = serde_json::from_str(&output(&mut fetch)).unwrap();
    let (version, source) = (module["Version"].as_str().unwrap(), module["Dir"].as_str().unwrap());
    let folder = made(&format!("franz-go-{version}"), |folder| {
        output(Command::new("cp").args(["-r", "--no-preserve=mode"]).arg(format!("{source}/.")).arg(folder));
        let mut build = Command::new("go");
        build.args(["test", "-buildvcs=false", "-mod=readonly", "-c", "-o", "kgo.test", "./pkg/kgo"]);
        output(build.current_dir(folder));
    });
    let target = Target::start();
    let records = if long() { "50000" } else { "2000" };
    let mut test = Command::new(folder.join("kgo.test"));
    test.args(["-test.v", "-test.timeout=20m", "-test.parallel=4"])
        .current_dir(folder.join("pkg/kgo"))
        .env("KGO_SEEDS", target.address())
        .env("KGO_TEST_RF", "1")
        .env("KGO_TEST_RECORDS", records)
        .env("KGO_LOG_LEVEL", "none");
    let without = target.left_out("franz-go");
    if !without.is_empty() {
        test.args(["-test.skip".to_owned(), format!("^({})$", without.join("|"))]);
    }
    let output = test.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcomes = said.lines().filter_map(|line| {
        let (word, rest) = line.trim_start().strip_prefix("--- ")?.split_once(": ")?;
        Some((rest.split(' ').next()?.to_owned(), word != "FAIL"))
    });
    target.compare("franz-go", &outcomes.collect(), &said);
    assert!(output.status.success() || said.contains("--- FAIL"), "{said}");
}
