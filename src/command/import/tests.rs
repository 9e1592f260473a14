//! Imports that are cut short at every step there is.

use std::collections::BTreeMap;
use std::fs;

use super::found::{KEPT, METADATA};
use super::*;
use crate::broker::metadata_log;
use crate::wire::batch::{BatchBuilder, BatchMut};
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

const TOPIC: Uuid = Uuid([1; 16]);

/// A folder of the test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ottla-import-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn batch(offset: i64, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(offset).leader_epoch(2);
    builder.append(5, None, Some(value), &[]);
    builder.build().unwrap()
}

fn dir_id(at: u8) -> Uuid {
    Uuid([at + 10; 16])
}

/// A stopped Kafka in two folders, with a partition in each.
fn kafka(root: &Path) -> Vec<PathBuf> {
    let partition = |partition_id: i32| -> MetadataRecord {
        PartitionRecord {
            partition_id,
            topic_id: TOPIC,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![dir_id(partition_id as u8)],
            ..Default::default()
        }
        .into()
    };
    let records = [
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 25 }.into(),
        RegisterBrokerRecord { broker_id: 1, broker_epoch: 5, ..Default::default() }.into(),
        TopicRecord { name: "t".into(), topic_id: TOPIC }.into(),
        partition(0),
        partition(1),
    ];
    let dirs: Vec<PathBuf> = ["one", "two"].map(|name| root.join(name)).to_vec();
    for (at, dir) in dirs.iter().enumerate() {
        let folder = dir.join(format!("t-{at}"));
        fs::create_dir_all(&folder).unwrap();
        let id = dir_id(at as u8);
        let identity = format!("#\nnode.id=1\ndirectory.id={id}\nversion=1\ncluster.id=c\n");
        fs::write(dir.join("meta.properties"), identity).unwrap();
        fs::write(dir.join(".kafka_cleanshutdown"), "").unwrap();
        fs::write(dir.join("log-start-offset-checkpoint"), format!("0\n1\nt {at} 1\n")).unwrap();
        fs::write(dir.join("cleaner-offset-checkpoint"), format!("0\n1\nt {at} 2\n")).unwrap();
        fs::write(dir.join("stable-ends-0.0"), "of an Ottla before").unwrap();
        let log = [batch(0, b"a"), batch(1, b"b"), batch(2, &[9; 3000])].concat();
        fs::write(folder.join("00000000000000000000.log"), log).unwrap();
        fs::write(folder.join("00000000000000000003.log"), batch(3, b"c")).unwrap();
        fs::write(folder.join("leader-epoch-checkpoint"), "0\n1\n2 0\n").unwrap();
        fs::write(folder.join("partition.metadata"), format!("version: 0\ntopic_id: {TOPIC}")).unwrap();
    }
    let metadata = dirs[0].join(METADATA);
    fs::create_dir_all(&metadata).unwrap();
    let mut log = metadata_log::encode(&records, 1).to_vec();
    BatchMut::first(&mut log).unwrap().set_base_offset(0);
    fs::write(metadata.join("00000000000000000000.log"), log).unwrap();
    fs::write(metadata.join("quorum-state"), "{}").unwrap();
    dirs
}

/// Stops before the step of this number.
struct Cut {
    left: usize,
}

impl Watch for Cut {
    fn step(&mut self, path: &Path) -> Result<()> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(Failure::new(format!("cut short at {}", path.display()))),
        }
        Ok(())
    }

    fn bytes(&mut self, _: u64) {}

    fn file(&mut self) {}
}

/// Runs an import that may do so many steps; whether it came to its end.
fn import(from: &[PathBuf], mode: &Mode, steps: usize) -> bool {
    let found = look::look(from).unwrap();
    let plan = plan::plan(&found, |dir| mode.identity(&found, mode.target(dir)).directory_id);
    assert_eq!(plan.problems, Vec::<String>::new());
    if mode_is_copy(mode) {
        work::check_target(&found, mode).unwrap();
    }
    match work::work(&found, &plan, mode, false, &mut Cut { left: steps }) {
        Ok(damage) => assert_eq!(damage, Vec::<String>::new()),
        Err(failure) => {
            assert!(failure.to_string().contains("cut short"), "{failure}");
            return false;
        }
    }
    true
}

/// All files of a folder by their names, the time in Ottla's metadata log left out.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                dirs.push(entry);
                continue;
            }
            let name = entry.strip_prefix(root).unwrap().display().to_string();
            let is_metadata = name.contains(&format!("{METADATA}/")) && name.ends_with(".log");
            let mut bytes = fs::read(&entry).unwrap();
            if is_metadata && bytes.len() > 61 {
                // The checksum, and the two times.
                bytes[17..21].fill(0);
                bytes[27..43].fill(0);
            }
            files.insert(name, bytes);
        }
    }
    files
}

fn says(dir: &Path, text: &str) -> bool {
    fs::read_to_string(dir.join("meta.properties")).unwrap().contains(text)
}

/// As long as Kafka may start, its metadata is where it looks for it; as soon as Ottla may, its own is.
fn assert_one_of_them_at_most(dirs: &[PathBuf], kafkas: &BTreeMap<String, Vec<u8>>) {
    let home = &dirs[0];
    let is_kafkas = |dir: PathBuf| {
        let of = |name: &str| fs::read(dir.join(name)).ok();
        let wanted = |name: &str| kafkas.get(&format!("one/{METADATA}/{name}")).cloned();
        ["quorum-state", "00000000000000000000.log"].iter().all(|name| {
            let there = of(name).map(|mut bytes| {
                if name.ends_with(".log") {
                    bytes[17..21].fill(0);
                    bytes[27..43].fill(0);
                }
                bytes
            });
            there.is_some() && there == wanted(name)
        })
    };
    let kafka_starts = says(home, "version=1\n") && !says(home, "ottla.format");
    assert!(!kafka_starts || is_kafkas(home.join(METADATA)), "Kafka starts without its metadata");
    let ottla_starts = says(home, "ottla.format");
    assert!(!ottla_starts || home.join(METADATA).join("00000000000000000000.log").exists());
    assert!(!ottla_starts || dirs.iter().all(|dir| says(dir, "ottla.format")));
    assert!(is_kafkas(home.join(METADATA)) || is_kafkas(home.join(KEPT)), "Kafka's metadata is lost");
    for name in ["one/t-0", "two/t-1"] {
        for file in ["00000000000000000000.log", "00000000000000000003.log", "leader-epoch-checkpoint"] {
            let path = format!("{name}/{file}");
            assert_eq!(fs::read(home.parent().unwrap().join(&path)).unwrap(), kafkas[&path], "{path}");
        }
    }
}

#[test]
fn in_place_goes_on_from_every_step() {
    let whole = Folder::new("whole");
    assert!(import(&kafka(&whole.0), &Mode::InPlace, usize::MAX));
    let wanted = tree(&whole.0);
    assert!(
        wanted.contains_key(&format!("one/{KEPT}/quorum-state"))
            && !wanted.contains_key("one/stable-ends-0.0")
    );
    assert_eq!(wanted["two/t-1/log-start-offset-checkpoint"], b"0\n1\n");
    assert_eq!(wanted["two/t-1/cleaner-offset-checkpoint"], b"0\n2\n\n");
    let mut steps = 0;
    loop {
        let folder = Folder::new("cut");
        let dirs = kafka(&folder.0);
        let before = tree(&folder.0);
        if import(&dirs, &Mode::InPlace, steps) {
            break;
        }
        assert_one_of_them_at_most(&dirs, &before);
        // Once more cut short, a little later.
        if !import(&dirs, &Mode::InPlace, 1) {
            assert_one_of_them_at_most(&dirs, &before);
            assert!(import(&dirs, &Mode::InPlace, usize::MAX), "step {steps}");
        }
        assert!(!dirs[0].join("meta.properties.importing").exists());
        let unfinished = |name: &String| name.ends_with(".importing");
        let now: BTreeMap<_, _> = tree(&folder.0).into_iter().filter(|(name, _)| !unfinished(name)).collect();
        assert!(now == wanted, "step {steps}: {:?}", now.keys().collect::<Vec<_>>());
        steps += 1;
    }
    assert!(steps > 12, "{steps}");
    let again = look::look(&kafka_dirs(&whole.0)).unwrap_err().to_string();
    assert!(again.contains("Ottla's already"), "{again}");
}

fn kafka_dirs(root: &Path) -> Vec<PathBuf> {
    vec![root.join("one"), root.join("two")]
}

#[test]
fn a_copy_goes_on_from_every_step_and_leaves_the_source_alone() {
    let source = Folder::new("source");
    let dirs = kafka(&source.0);
    let before = tree(&source.0);
    for targets in [vec!["all"], vec!["a", "b"]] {
        let copy_to = |root: &Path| Mode::Copy(targets.iter().map(|name| root.join(name)).collect());
        let whole = Folder::new("copied");
        assert!(import(&dirs, &copy_to(&whole.0), usize::MAX));
        let wanted = tree(&whole.0);
        let mut steps = 0;
        loop {
            let target = Folder::new("copy");
            let mode = copy_to(&target.0);
            if import(&dirs, &mode, steps) {
                break;
            }
            let home = target.0.join(targets[0]);
            let serves = home.join("meta.properties").exists() && says(&home, "ottla.format");
            assert!(!serves || tree(&target.0) == wanted, "step {steps}: a half of a copy passes for whole");
            assert!(import(&dirs, &mode, usize::MAX), "step {steps}");
            assert!(tree(&target.0) == wanted, "step {steps}: {:?}", tree(&target.0).keys());
            steps += 1;
        }
        assert!(steps > 15, "{steps}");
        assert!(tree(&source.0) == before, "the source was changed");
    }
}

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let (source, target) = (Folder::new("refused-source"), Folder::new("refused"));
    let dirs = kafka(&source.0);
    fs::write(target.0.join("precious"), "").unwrap();
    let found = look::look(&dirs).unwrap();
    let failure = work::check_target(&found, &Mode::Copy(vec![target.0.clone()])).unwrap_err();
    assert!(failure.to_string().contains("is not empty"), "{failure}");
    assert!(target.0.join("precious").exists());
}

#[test]
fn a_segment_that_was_not_flushed_and_is_torn_is_refused_before_anything_changes() {
    let source = Folder::new("torn");
    let dirs = kafka(&source.0);
    fs::remove_file(dirs[0].join(".kafka_cleanshutdown")).unwrap();
    let log = dirs[0].join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&log, bytes).unwrap();
    let before = tree(&source.0);
    let found = look::look(&dirs).unwrap();
    let plan = plan::plan(&found, |_| dir_id(0));
    let failure =
        work::work(&found, &plan, &Mode::InPlace, false, &mut Cut { left: usize::MAX }).unwrap_err();
    assert!(failure.to_string().contains("stop it cleanly"), "{failure}");
    assert!(tree(&source.0) == before);
    // Where Kafka had flushed it, it is told, and the copy is as it was.
    fs::write(dirs[0].join("recovery-point-offset-checkpoint"), "0\n1\nt 0 4\n").unwrap();
    let (found, target) = (look::look(&dirs).unwrap(), Folder::new("torn-copy"));
    let mode = Mode::Copy(vec![target.0.clone()]);
    let plan = plan::plan(&found, |_| dir_id(0));
    let damage = work::work(&found, &plan, &mode, false, &mut Cut { left: usize::MAX }).unwrap();
    assert!(
        damage.len() == 1 && damage[0].contains("t-0/00000000000000000000.log at position"),
        "{damage:?}"
    );
}
