//! Kafka's tools against Ottla and stock Kafka: the same scripts (script.txt, groups.txt,
//! transactions.txt), and the same outputs but for
//! what differences.txt names.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use crate::broker::{Broker, Folder, free_address};
use crate::driver::{self, Driver, Ran};
use crate::stock::Stock;

const DIFFERENCES: &str = include_str!("differences.txt");
/// What both brokers are told beside what tells them apart.
const PROPERTIES: &str = include_str!("../../benches/stock-kafka/server.properties");

/// The classes behind the names of Kafka's scripts.
const TOOLS: [(&str, &str); 19] = [
    ("topics", "org.apache.kafka.tools.TopicCommand"),
    ("configs", "kafka.admin.ConfigCommand"),
    ("console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("features", "org.apache.kafka.tools.FeatureCommand"),
    ("metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("cluster", "org.apache.kafka.tools.ClusterTool"),
    ("acls", "org.apache.kafka.tools.AclCommand"),
    ("leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    ("verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
    ("consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("groups", "org.apache.kafka.tools.GroupsCommand"),
    ("transactions", "org.apache.kafka.tools.TransactionsCommand"),
];

/// A tool and what it is given.
struct Step {
    line: &'static str,
    words: Vec<String>,
    input: String,
}

/// The steps for a broker at an address; files go into a folder. A line is `TOOL ARGUMENT...`, `TOOL ... << INPUT` with
/// the input's newlines as \n, or `file NAME CONTENT`. BROKER and FILES stand for the address and the folder.
fn steps(script: &'static str, address: &str, files: &Folder) -> Vec<Step> {
    let lines = script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut steps = Vec::new();
    for line in lines {
        let (command, input) = line.split_once(" << ").unwrap_or((line, ""));
        if let Some(file) = command.strip_prefix("file ") {
            let (name, content) = file.split_once(' ').expect(line);
            std::fs::write(files.0.join(name), content).unwrap();
            continue;
        }
        let files = files.0.to_str().unwrap();
        let mut words =
            command.split(' ').map(|word| word.replace("BROKER", address).replace("FILES", files));
        let tool = words.next().unwrap();
        let (_, class) = TOOLS.iter().find(|(name, _)| *name == tool).expect(line);
        let words = std::iter::once((*class).to_owned()).chain(words).collect();
        steps.push(Step { line, words, input: input.replace("\\n", "\n").replace("\\t", "\t") });
    }
    steps
}

/// Runs the whole script; gives each line and what came of it. `is_wanted` says whether that will do: stock Kafka answers
/// before each of its parts knows of a change, so what only looks, or was refused, is tried again a few times.
fn run(
    script: &'static str,
    address: &str,
    data: &Path,
    is_wanted: impl Fn(usize, &str, &str) -> bool,
) -> Vec<(&'static str, String)> {
    let (mut driver, files) = (Driver::start(), Folder::new());
    let port = address.rsplit_once(':').unwrap().1;
    let names = [
        (address, "BROKER"),
        (port, "PORT"),
        (data.to_str().unwrap(), "DATA"),
        (files.0.to_str().unwrap(), "FILES"),
    ];
    let mut outputs = Vec::new();
    for Step { line, words, input } in steps(script, address, &files) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut text = String::new();
        for _ in 0..20 {
            // This one is only finished by the end of its JVM.
            let alone = line.starts_with("verifiable-producer");
            let Ran { code, out, err } =
                if alone { driver::alone(&words) } else { driver.run_with(&words, &input) };
            text = format!("ends with {code}\n");
            for (name, said) in [("out", out), ("err", err)] {
                let said = names.iter().fold(said, |said, (found, name)| said.replace(found, name));
                let said = match line.starts_with("log-dirs") {
                    true => said.replace("[{", "[\n{").replace("},{", "}\n{").replace("}]", "}\n]"),
                    false => said,
                };
                let mut parts: Vec<_> = said.lines().filter(|part| !is_trace(part)).collect();
                let unordered = ["delete-records", "leader-election", "log-dirs"];
                let lists_groups = line.contains("groups --bootstrap-server BROKER --list");
                if lists_groups || unordered.iter().any(|tool| line.starts_with(tool)) {
                    // They come in the order of a hash map.
                    parts.sort_unstable();
                }
                for part in parts {
                    writeln!(text, "{name}: {}", plain(line, part)).unwrap();
                }
            }
            let looks = ["--describe", "--list", " describe", " list", "get-offsets", "cluster"];
            let looks = looks.iter().any(|part| line.contains(part));
            if is_wanted(outputs.len(), line, &text) || !looks && code == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        outputs.push((line, text));
    }
    outputs
}

/// A line of a Java stack trace.
fn is_trace(line: &str) -> bool {
    line.starts_with("\tat ") || line.starts_with("\t... ")
}

/// A line of output without ids, times and measurements.
fn plain(step: &str, line: &str) -> String {
    let measures = ["producer-perf-test", "verifiable-producer", "metadata-quorum"];
    let measures = measures.iter().any(|tool| step.starts_with(tool));
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut text = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_part(c) != is_part(first)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let is_number = word.chars().all(|c| c.is_ascii_digit());
        let named = text.trim_end().to_lowercase();
        text += match word {
            _ if is_number && (measures || word.len() >= 13) => "N",
            _ if is_number && named.ends_with("\"size\":") => "N",
            // For how long a transaction was or is open, behind when it began.
            _ if is_number
                && step.starts_with("transactions")
                && text.split_whitespace().next_back() == Some("N") =>
            {
                "N"
            }
            // Each core gives producer ids from blocks of its own.
            _ if is_number && step.starts_with("transactions") && word.len() == 4 => &word[3..],
            _ if word.len() == 22 && (named.ends_with("id:") || step.starts_with("metadata-quorum")) => "ID",
            word => word,
        };
        rest = behind;
    }
    // Columns are as wide as what they hold.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is left of an output when the accepted differences are cut out; notes which of them were met.
fn without_accepted(step: &str, output: &str, used: &mut BTreeSet<&'static str>) -> String {
    let mut left = String::new();
    for line in output.lines() {
        let mut line = line.to_owned();
        for (_, part, whole) in accepted().filter(|(of, ..)| step.starts_with(of)) {
            let (part, to_the_end) = part.strip_suffix("...").map_or((part, false), |part| (part, true));
            if let Some(at) = line.find(part) {
                used.insert(whole);
                line = if to_the_end { line[..at].to_owned() } else { line.replace(part, "") };
            }
        }
        if !line.trim_start_matches("out:").trim().is_empty() {
            writeln!(left, "{}", line.trim_end()).unwrap();
        }
    }
    left
}

/// The accepted differences: the beginning of a step, a part of a line that it puts out, and both together.
fn accepted() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let lines = DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (step, part) = line.split_once(" | ").expect(line);
        (step, part, line)
    })
}

#[test]
fn tools_find_the_same() {
    let used = find_the_same(include_str!("script.txt"), &[]);
    // What is being built makes the last part of the list shorter.
    let needed = DIFFERENCES.split("# Not built yet").next().unwrap();
    let unused: Vec<_> =
        accepted().filter(|(.., whole)| needed.contains(whole) && !used.contains(whole)).collect();
    assert!(unused.is_empty(), "these differences are gone: {unused:?}");
}

#[test]
fn groups_are_the_same() {
    find_the_same(include_str!("groups.txt"), &["group.initial.rebalance.delay.ms=0"]);
}

#[test]
fn transactions_are_the_same() {
    find_the_same(include_str!("transactions.txt"), &[]);
}

/// Runs a script against both brokers with these settings. Gives the accepted differences that were met.
fn find_the_same(script: &'static str, settings: &[&str]) -> BTreeSet<&'static str> {
    let (folder, address) = (Folder::new(), free_address());
    let config = folder.0.join("server.properties");
    let set = settings.join("\n");
    let properties = format!("{PROPERTIES}\nadvertised.listeners=PLAINTEXT://{address}\n{set}\n");
    std::fs::write(&config, properties).unwrap();
    let arguments = ["--config", &config.to_string_lossy(), "--listen", &address].map(str::to_owned);
    let mut broker = Broker::with(folder, address.clone(), arguments.to_vec());
    broker.begin();
    let stock = Stock::start(settings);
    broker.wait();
    let ours = run(script, &broker.address, &broker.data(), |_, _, _| true);
    let theirs = run(script, &stock.address, &stock.data(), |at, step, theirs| {
        let mut used = BTreeSet::new();
        without_accepted(step, theirs, &mut used) == without_accepted(step, &ours[at].1, &mut used)
    });
    let (mut wrong, mut used) = (String::new(), BTreeSet::new());
    for ((step, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        let (theirs, ours) =
            (without_accepted(step, theirs, &mut used), without_accepted(step, ours, &mut used));
        if theirs != ours {
            let (in_ours, in_theirs): (Vec<_>, Vec<_>) = (ours.lines().collect(), theirs.lines().collect());
            writeln!(wrong, "\n{step}").unwrap();
            in_theirs
                .iter()
                .filter(|line| !in_ours.contains(line))
                .for_each(|l| writeln!(wrong, "- {l}").unwrap());
            in_ours
                .iter()
                .filter(|line| !in_theirs.contains(line))
                .for_each(|l| writeln!(wrong, "+ {l}").unwrap());
        }
    }
    assert!(wrong.is_empty(), "Stock Kafka's tools see stock Kafka (-) and Ottla (+):\n{wrong}");
    used
}
