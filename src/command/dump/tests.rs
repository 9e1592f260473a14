use std::path::PathBuf;

use super::*;
use crate::command::output::Format;
use crate::wire::batch::{BatchBuilder, Compression};

const LOG: &str = "00000000000000000100.log";

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ottla-dump-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn dump(&self, name: &str, content: &[u8]) -> (Verdict, String) {
        std::fs::write(self.0.join(name), content).unwrap();
        self.look(name, Format::Text)
    }

    fn look(&self, name: &str, format: Format) -> (Verdict, String) {
        let args = DumpArgs { files: Vec::new(), records: true, verdict_only: false };
        let mut out = Vec::new();
        let style = Style { format, quiet: true };
        let mut sink = Sink { out: &mut out, style, file: name.into(), silent: false };
        let verdict = dump_file(&self.0.join(name), &args, &mut sink).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn batch_of(base: i64, epoch: i32, compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(base).leader_epoch(epoch).compression(compression);
    for n in 0..10 {
        builder.append(1_700_000_000_000 + n, Some(b"key"), Some(format!("value {n}").as_bytes()), &[]);
    }
    builder.build().unwrap()
}

fn batch(base: i64) -> Vec<u8> {
    batch_of(base, 3, Compression::None)
}

fn three() -> Vec<u8> {
    [batch(100), batch_of(110, 3, Compression::Zstd), batch(125)].concat()
}

#[test]
fn a_whole_segment_is_shown() {
    let folder = Folder::new("whole");
    let (verdict, text) = folder.dump(LOG, &three());
    assert_eq!(verdict, Verdict::whole("3 batches, 30 records, next offset 135"));
    assert!(text.contains("offsets 110..119"), "{text}");
    assert!(text.contains("offset 134  2023-11-14T22:13:20.009Z  key \"key\"  value \"value 9\""), "{text}");
    let (_, json) = folder.look(LOG, Format::Json);
    let lines: Vec<serde_json::Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 33);
    assert_eq!((&lines[11]["kind"], &lines[11]["compression"]), (&"batch".into(), &"zstd".into()));
    assert_eq!(lines[12]["value"], "value 0");
}

#[test]
fn room_made_ahead_is_no_damage() {
    let folder = Folder::new("zeros");
    let (verdict, _) = folder.dump(LOG, &[three(), vec![0; 10_000]].concat());
    assert!(verdict.whole && verdict.text.contains("10000 zero bytes"), "{verdict:?}");
    let (verdict, _) = folder.dump(LOG, &[three(), vec![0; 10_000], vec![7]].concat());
    assert!(!verdict.whole, "{verdict:?}");
    let (verdict, _) = folder.dump(LOG, &[]);
    assert_eq!(verdict, Verdict::whole("0 batches, 0 records, next offset 100"));
}

#[test]
fn every_flipped_byte_is_found() {
    let folder = Folder::new("flip");
    let whole = three();
    let second = batch(100).len();
    // Of the second batch: everything but the base offset's and the epoch's low bytes, where a change may still be
    // a possible batch.
    for at in (second + 8..second + 12).chain(second + 16..whole.len() - batch(125).len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let (verdict, _) = folder.dump(LOG, &bytes);
        assert!(!verdict.whole, "byte {at}: {verdict:?}");
        assert!(verdict.text.contains(&format!("at position {second}")), "byte {at}: {verdict:?}");
    }
}

#[test]
fn a_torn_tail_is_told_from_damage_in_the_middle() {
    let folder = Folder::new("torn");
    let whole = three();
    let last = whole.len() - batch(125).len();
    for cut in [last + 8, last + 40, last + 62, whole.len() - 1] {
        let (verdict, _) = folder.dump(LOG, &whole[..cut]);
        assert!(!verdict.whole && verdict.text.contains("no whole batch follows"), "{cut}: {verdict:?}");
    }
    // The second batch's length says that it ends elsewhere; the third is still whole.
    let mut bytes = whole.clone();
    let length_at = batch(100).len() + 8;
    bytes[length_at] = 0x7f;
    let (verdict, _) = folder.dump(LOG, &bytes);
    let place = format!("a whole batch with offset 125 follows at position {last}");
    assert!(!verdict.whole && verdict.text.contains(&place), "{verdict:?}");
}

#[test]
fn offsets_and_epochs_must_not_fall() {
    let folder = Folder::new("order");
    for (bytes, word) in [
        ([batch(100), batch(105)].concat(), "its base offset is 105, the next one possible is 110"),
        ([batch(90)].concat(), "the next one possible is 100"),
        ([batch(100), batch_of(110, 2, Compression::None)].concat(), "its leader epoch is 2, after 3"),
    ] {
        let (verdict, _) = folder.dump(LOG, &bytes);
        assert!(!verdict.whole && verdict.text.contains(word), "{verdict:?}");
    }
}

#[test]
fn an_index_is_held_against_its_segment() {
    let folder = Folder::new("index");
    folder.dump(LOG, &three());
    let positions =
        [batch(100).len() as u32, (batch(100).len() + batch_of(110, 3, Compression::Zstd).len()) as u32];
    let entry = |offset: u32, position: u32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
    let name = "00000000000000000100.index";
    let good = [entry(19, positions[0]), entry(34, positions[1])].concat();
    let (verdict, text) = folder.dump(name, &[good.clone(), vec![0; 80]].concat());
    assert!(verdict.whole && verdict.text.starts_with("2 entries, room for 10 more, each"), "{verdict:?}");
    assert_eq!(text.lines().next(), Some(format!("offset 119  position {}", positions[0]).as_str()));
    for bad in [
        [entry(20, positions[0])].concat(),
        [entry(19, positions[0] + 1)].concat(),
        [entry(34, positions[1]), entry(19, positions[0])].concat(),
        [good, vec![0, 0, 1]].concat(),
    ] {
        let (verdict, _) = folder.dump(name, &bad);
        assert!(!verdict.whole, "{verdict:?}");
    }
}

#[test]
fn checkpoints_and_properties_are_read() {
    let folder = Folder::new("checkpoint");
    for (name, content, whole) in [
        ("leader-epoch-checkpoint", "0\n2\n0 0\n4 17\n", true),
        ("leader-epoch-checkpoint", "0\n2\n4 17\n4 18\n", false),
        ("leader-epoch-checkpoint", "0\n1\n4\n", false),
        ("recovery-point-offset-checkpoint", "0\n2\norders 0 12\nmy-topic 3 0\n", true),
        ("replication-offset-checkpoint", "0\n1\norders 0\n", false),
        ("log-start-offset-checkpoint", "0\n3\norders 0 1\n", false),
        ("partition.metadata", "version: 0\ntopic_id: OpxISLI6T-q-1QuN8PTGfg", true),
        ("partition.metadata", "version: 0\n", false),
        ("meta.properties", "#\nversion=1\ncluster.id=x\nnode.id=1\n", true),
    ] {
        let (verdict, text) = folder.dump(name, content.as_bytes());
        assert_eq!(verdict.whole, whole, "{name} {content:?}: {verdict:?} {text}");
    }
}

#[test]
fn a_producer_snapshot_has_a_crc() {
    let folder = Folder::new("snapshot");
    let mut body = 1u32.to_be_bytes().to_vec();
    body.extend([7u64.to_be_bytes().as_slice(), &[0, 1], &[0; 36]].concat());
    let mut bytes = [&1u16.to_be_bytes()[..], &crc32c::crc32c(&body).to_be_bytes(), &body].concat();
    let name = "00000000000000000100.snapshot";
    let (verdict, text) = folder.dump(name, &bytes);
    assert!(verdict.whole && text.starts_with("producer 7  epoch 1"), "{verdict:?} {text}");
    bytes[20] ^= 1;
    assert!(!folder.dump(name, &bytes).0.whole);
}

#[test]
fn a_name_tells_the_format() {
    for (name, kind) in [
        (LOG, Some(Kind::Segment)),
        ("00000000000000000000.timeindex", Some(Kind::TimeIndex)),
        ("00000000000000000000.log.deleted", Some(Kind::Segment)),
        ("cleaner-offset-checkpoint", Some(Kind::Offsets)),
        ("photo.jpg", None),
        ("passwd", None),
    ] {
        assert_eq!(Kind::of(Path::new(name)), kind, "{name}");
    }
}
