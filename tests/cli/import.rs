//! `ottla import` as an operator meets it. The Kafka that is adopted is an Ottla's folder made to look like one, for its
//! files are Kafka's; stock Kafka's own folders are adopted by the tests in tests/kafka.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::broker::{Broker, Folder, OTTLA};
use crate::support::{Outcome, run};

/// A stopped Kafka's folder with the topic t of three partitions and so many records of 1000 bytes.
fn kafka(records: usize) -> (Folder, PathBuf) {
    let mut broker = Broker::start();
    broker.ottla(&["topic", "create", "t", "-p", "3", "-c", "retention.ms=-1"]);
    let folder = Folder::new();
    let lines = folder.0.join("lines");
    fs::write(&lines, format!("{}\n", "x".repeat(999)).repeat(records)).unwrap();
    for partition in ["0", "1", "2"] {
        broker.ottla(&["produce", "-t", "t", "-p", partition, "-l", lines.to_str().unwrap()]);
    }
    broker.stop();
    let data = folder.0.join("kafka");
    let copied = Command::new("cp").arg("-a").arg(broker.data()).arg(&data).status().unwrap();
    assert!(copied.success());
    fs::write(data.join("__cluster_metadata-0/quorum-state"), "{}").unwrap();
    set_identity(&data, |text| {
        text.lines().filter(|line| !line.starts_with("ottla.")).map(|l| format!("{l}\n")).collect()
    });
    (folder, data)
}

fn set_identity(data: &Path, change: impl Fn(&str) -> String) {
    let path = data.join("meta.properties");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, change(&text)).unwrap();
}

fn import(arguments: &[&str]) -> Outcome {
    run(&[&["import"], arguments].concat(), b"")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// How many records a broker on this folder serves of each partition.
fn served(folder: Folder) -> Vec<u64> {
    let address = crate::broker::free_address();
    let arguments = vec!["--listen".to_owned(), address.clone()];
    let mut broker = Broker::with(folder, address, arguments);
    broker.begin();
    broker.wait();
    let told = String::from_utf8(broker.ottla(&["offsets", "t", "--output", "json"])).unwrap();
    let lines = told.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|line| line["records"].as_u64().unwrap()).collect()
}

#[test]
fn the_account_comes_first_and_needs_a_yes() {
    let (folder, data) = kafka(10);
    let told = import(&["--from", text(&data), "--dry-run"]);
    for wanted in ["1 (0 of Kafka's own) with 3 partitions", "stopped cleanly", "t ", "retention.ms=-1"] {
        assert!(told.out.contains(wanted), "{wanted}: {told:?}");
    }
    assert!(told.code == 0 && told.err.contains("nothing was changed"), "{told:?}");
    let json = import(&["--from", text(&data), "--dry-run", "--output", "json"]).json();
    assert_eq!((&json[0]["kind"], &json[0]["topics"][0]["partitions"]), (&"account".into(), &3.into()));
    assert_eq!(json[0]["problems"], serde_json::json!([]));
    let err = import(&["--from", text(&data)]).fails(2);
    assert!(err.contains("--in-place") && err.contains("--data-dir"), "{err}");
    let target = folder.0.join("data");
    let err = import(&["--from", text(&data), "--data-dir", text(&target)]).fails(2);
    assert!(err.contains("needs a yes") && err.contains("--yes"), "{err}");
    assert!(!target.exists(), "nothing was done");
    let done = import(&["--from", text(&data), "--data-dir", text(&target), "--yes"]).ok();
    assert!(done.contains("node.id=1") && done.contains(&format!("log.dirs={}", target.display())), "{done}");
    assert_eq!(served(folder), [10; 3]);
}

#[test]
fn a_server_properties_names_the_folders() {
    let (folder, data) = kafka(1);
    let config = folder.0.join("server.properties");
    fs::write(&config, format!("node.id=1\nlog.dirs={0}\nmetadata.log.dir={0}\n", data.display())).unwrap();
    let told = import(&["--config", text(&config), "--dry-run"]).ok();
    assert!(told.contains(text(&data)), "{told}");
    fs::write(&config, "node.id=1\n").unwrap();
    let err = import(&["--config", text(&config), "--dry-run"]).fails(1);
    assert!(err.contains("sets no log.dirs"), "{err}");
}

#[test]
fn what_cannot_be_adopted_is_refused_and_left_as_it_is() {
    let (folder, data) = kafka(1);
    let refused = |text: &str, code: u8| {
        let outcome = import(&["--from", data.to_str().unwrap(), "--in-place", "--yes"]);
        assert!(outcome.code == i32::from(code), "{text}: {outcome:?}");
        assert!(format!("{}{}", outcome.out, outcome.err).contains(text), "{text}: {outcome:?}");
        assert!(!data.join("__cluster_metadata-0.kafka").exists(), "{text}: it was begun");
    };
    // A broker does not start on it either, and says what to do.
    let serve = run(&["serve", "--data-dir", text(&data), "--listen", "127.0.0.1:0"], b"");
    assert!(serve.code == 1 && serve.err.contains("ottla import --from"), "{serve:?}");
    assert!(data.join(".kafka_cleanshutdown").exists(), "what a clean stop has left is still there");

    let identity = fs::read_to_string(data.join("meta.properties")).unwrap();
    set_identity(&data, |text| text.replace("version=1", "version=0"));
    refused("ZooKeeper", 1);
    set_identity(&data, |_| identity.replace("node.id=1", "node.id=7"));
    refused("node 7 is no broker", 1);
    let other_directory = |line: &str| match line.starts_with("directory.id") {
        true => "directory.id=AAAAAAAAAAAAAAAAAAAACg\n".replace("ACg", "zzg"),
        false => format!("{line}\n"),
    };
    set_identity(&data, |_| identity.lines().map(other_directory).collect());
    refused("none of --from", 1);
    set_identity(&data, |_| identity.clone());
    let swap = data.join("t-0/00000000000000000000.log.swap");
    fs::write(&swap, "").unwrap();
    refused("Start Kafka once and stop it cleanly", 1);
    fs::remove_file(&swap).unwrap();
    let log = data.join("t-0/00000000000000000000.log");
    let bytes = fs::read(&log).unwrap();
    let mut old = bytes.clone();
    old[16] = 1;
    fs::write(&log, &old).unwrap();
    refused("in the format 1", 1);
    fs::write(&log, &bytes).unwrap();
    let err = import(&["--from", text(&folder.0), "--in-place", "--yes"]).fails(1);
    assert!(err.contains("no meta.properties"), "{err}");
    let inside = data.join("inside");
    fs::create_dir(&inside).unwrap();
    let err = import(&["--from", text(&data), "--data-dir", text(&inside), "--yes"]).fails(2);
    assert!(err.contains("Kafka's own folder"), "{err}");
    fs::remove_dir(&inside).unwrap();

    import(&["--from", text(&data), "--in-place", "--yes"]).ok();
    let err = import(&["--from", text(&data), "--in-place", "--yes"]).fails(1);
    assert!(err.contains("Ottla's already"), "{err}");
}

#[test]
fn a_folder_in_use_is_refused() {
    let broker = Broker::start();
    let err = import(&["--from", text(&broker.data()), "--in-place", "--yes"]).fails(1);
    assert!(err.contains("is in use"), "{err}");
}

#[test]
fn damage_is_told_and_copied_as_it_is() {
    let (folder, data) = kafka(10);
    let log = data.join("t-1/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[100] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let target = folder.0.join("copy");
    let outcome = import(&["--from", text(&data), "--data-dir", text(&target), "--yes"]);
    assert!(
        outcome.code == 1 && outcome.out.contains("t-1/00000000000000000000.log at position 0"),
        "{outcome:?}"
    );
    assert_eq!(fs::read(target.join("t-1/00000000000000000000.log")).unwrap(), bytes);
    let outcome = import(&["--from", text(&data), "--in-place", "--verify", "--yes", "--output", "json"]);
    let lines: Vec<serde_json::Value> =
        outcome.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((outcome.code, lines[1]["damage"].as_array().unwrap().len()), (1, 1), "{outcome:?}");
}

#[test]
fn a_copy_that_was_killed_goes_on() {
    let (folder, data) = kafka(8_000);
    let target = folder.0.join("data");
    let arguments = ["import", "--from", text(&data), "--data-dir", text(&target), "--yes"];
    let mut killed = 0;
    for ms in 0.. {
        let mut child =
            Command::new(OTTLA).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(3 * ms));
        let _ = child.kill();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
        let identity = fs::read_to_string(target.join("meta.properties")).unwrap_or_default();
        if identity.contains("ottla.format") {
            break;
        }
        if identity.is_empty() {
            let _ = fs::remove_dir_all(&target);
            continue;
        }
        let serve = run(&["serve", "--data-dir", text(&target), "--listen", "127.0.0.1:0"], b"");
        assert!(serve.code == 1 && serve.err.contains("run the same ottla import again"), "{serve:?}");
    }
    assert!(killed > 0);
    assert_eq!(served(folder), [8_000; 3]);
}
