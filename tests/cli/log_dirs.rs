//! A broker with several log directories: what lies where, moving it, and directories that are carried, lost or
//! strange.

use std::fs;
use std::path::{Path, PathBuf};

use crate::broker::{Broker, free_address};
use crate::support::run;

fn ask(broker: &Broker, arguments: &[&str]) -> String {
    run(&[&["-b", &broker.address], arguments].concat(), b"").ok()
}

fn lies_in(broker: &Broker, partition: i64) -> PathBuf {
    let told = ask(broker, &["logdirs", "--partitions", "--output", "json"]);
    let lines = told.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut of = lines.filter(|line| line["topic"] == "t" && line["partition"] == partition);
    let one = of.next().unwrap_or_else(|| panic!("{told}"));
    assert_eq!(of.next(), None, "{told}");
    PathBuf::from(one["log_dir"].as_str().unwrap())
}

fn records(broker: &Broker) -> Vec<String> {
    let mut all: Vec<_> =
        ask(broker, &["consume", "-t", "t", "-e", "-f", "%s\\n"]).lines().map(str::to_owned).collect();
    all.sort();
    all
}

fn produce(broker: &Broker, partition: &str, text: &str) {
    let arguments = ["-b", &broker.address, "produce", "-t", "t", "-p", partition];
    run(&arguments, format!("{text}\n").as_bytes()).ok();
}

#[test]
fn replicas_are_moved_carried_and_missed() {
    let (mut broker, dirs) = Broker::with_dirs(&["one", "two"]);
    broker.begin();
    broker.wait();
    ask(&broker, &["topic", "create", "t", "-p", "4"]);
    let mut sent = Vec::new();
    for n in 0..8 {
        sent.push(format!("record {n}"));
        produce(&broker, &(n % 4).to_string(), &sent[n]);
    }
    let in_one: Vec<i64> = (0..4).filter(|n| lies_in(&broker, *n) == dirs[0]).collect();
    assert_eq!(in_one.len(), 2, "they are spread");
    let shown = ask(&broker, &["logdirs"]);
    assert!(dirs.iter().all(|dir| shown.contains(&dir.display().to_string())), "{shown}");

    // Moved by the broker.
    let (moved, carried) = (in_one[0], in_one[1]);
    let to = dirs[1].display().to_string();
    ask(&broker, &["logdirs", "move", "t", "-p", &moved.to_string(), "--to", &to]);
    assert_eq!(lies_in(&broker, moved), dirs[1]);
    assert!(!dirs[0].join(format!("t-{moved}")).exists());
    let arguments = ["-b", &broker.address, "logdirs", "move", "t", "--to", "/no/such"];
    let refused = run(&arguments, b"").fails(1);
    assert!(refused.contains("has no log directory /no/such"), "{refused}");
    assert_eq!(records(&broker), sent);

    // Carried by hand, as Kafka's operators do.
    broker.stop();
    let name = format!("t-{carried}");
    fs::rename(dirs[0].join(&name), dirs[1].join(&name)).unwrap();
    broker.begin();
    broker.wait();
    assert_eq!(lies_in(&broker, carried), dirs[1]);
    assert_eq!(records(&broker), sent);
    broker.kill();

    // A disk that is gone: what lies there is offline, and comes back with it.
    let aside = dirs[1].with_file_name("aside");
    fs::rename(&dirs[1], &aside).unwrap();
    fs::write(&dirs[1], "no folder").unwrap();
    broker.begin();
    broker.wait();
    let log = broker.log();
    assert!(log.contains(&format!("{} cannot be used", dirs[1].display())), "{log}");
    let shown = ask(&broker, &["logdirs"]);
    assert!(shown.contains("offline"), "{shown}");
    let described = ask(&broker, &["topic", "describe", "t", "--output", "json"]);
    assert!(described.contains("\"leader\":null"), "no leader: {described}");
    broker.stop();
    fs::remove_file(&dirs[1]).unwrap();
    fs::rename(&aside, &dirs[1]).unwrap();
    broker.begin();
    broker.wait();
    assert_eq!(records(&broker), sent);
    broker.stop();
}

#[test]
fn moves_keep_to_the_rate_that_is_set() {
    const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
    let (mut broker, dirs) = Broker::with_dirs(&["one", "two"]);
    broker.begin();
    broker.wait();
    ask(&broker, &["topic", "create", "t", "-p", "1"]);
    for n in 0..8 {
        produce(&broker, "0", &format!("{n}{}", "v".repeat(200_000)));
    }
    let before = records(&broker);
    let from = lies_in(&broker, 0);
    let to = dirs.iter().find(|dir| **dir != from).unwrap();
    ask(&broker, &["config", "set", "--cluster", &format!("{RATE}=1000")]);
    let places = || {
        let told = ask(&broker, &["logdirs", "--partitions", "--output", "json"]);
        told.lines().filter(|line| line.contains("\"topic\":\"t\"")).count()
    };
    let mut moving = std::process::Command::new(crate::broker::OTTLA)
        .args(["-b", &broker.address, "logdirs", "move", "t", "--to", &to.display().to_string()])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while places() < 2 {
        assert!(moving.try_wait().unwrap().is_none(), "it takes as long as the rate says");
    }
    for _ in 0..20 {
        assert_eq!(places(), 2);
    }
    ask(&broker, &["config", "set", "--cluster", &format!("{RATE}=1000000000")]);
    assert!(moving.wait().unwrap().success());
    assert_eq!(lies_in(&broker, 0), *to);
    assert_eq!(records(&broker), before);
    broker.stop();
}

fn meta(dir: &Path) -> PathBuf {
    dir.join("meta.properties")
}

#[test]
fn directories_of_two_clusters_and_copies_are_told() {
    let (mut broker, dirs) = Broker::with_dirs(&["one", "two"]);
    broker.begin();
    broker.wait();
    broker.stop();
    let both = format!("{},{}", dirs[0].display(), dirs[1].display());
    let refused = || run(&["serve", "--data-dir", &both, "--listen", &free_address()], b"").fails(1);
    let original = fs::read_to_string(meta(&dirs[1])).unwrap();
    let other: String =
        original
            .lines()
            .map(|line| {
                if line.starts_with("cluster.id=") {
                    "cluster.id=another".to_owned()
                } else {
                    line.to_owned()
                }
            })
            .map(|line| line + "\n")
            .collect();
    fs::write(meta(&dirs[1]), other).unwrap();
    let said = refused();
    assert!(said.contains("belongs to the cluster") && said.contains("another"), "{said}");
    fs::copy(meta(&dirs[0]), meta(&dirs[1])).unwrap();
    let said = refused();
    assert!(said.contains("one is a copy of the other"), "{said}");
}
