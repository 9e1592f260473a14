//! Producer snapshots (`.snapshot`, version 1): what a log knew of each producer at an offset.
//!
//! ```text
//! version: i16 = 1 | CRC32C of all that follows: u32 | number of entries: i32 | entries | older batches
//! ```
//!
//! Kafka's entry holds a producer's last batch alone, so that after a restart from a snapshot it takes the retry of
//! an earlier one for a gap. Ottla writes the batches before the last behind the entries. Kafka counts these bytes
//! into the checksum, as it is written here, and reads no further than the entries.

/// The only version there is.
const VERSION: i16 = 1;
/// Version, CRC and the number of entries.
const HEAD: usize = 10;
/// Where the bytes begin that the CRC covers.
const CRC_FROM: usize = 6;
/// One producer.
const ENTRY: usize = 46;
/// One batch before a producer's last.
const OLDER: usize = 32;
/// What the older batches begin with.
const OLDER_MARK: &[u8; 8] = b"OttlaOB1";

/// The largest file that is read.
pub const SNAPSHOT_MAX: u64 = 1 << 30;

/// A batch of a producer, as far as it must be known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Its last offset; -1 for no batch.
    pub last_offset: i64,
    /// Its largest timestamp.
    pub timestamp: i64,
    /// The sequence number of its last record; -1 for no batch.
    pub last_sequence: i32,
    /// Its last offset less its first.
    pub offset_delta: i32,
}

impl ProducerBatch {
    /// The offset of its first record.
    pub fn base_offset(&self) -> i64 {
        self.last_offset.saturating_sub(self.offset_delta.into())
    }

    /// The sequence number of its first record. Numbers go on with 0 after the largest.
    pub fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

/// A producer and its last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Its last batch.
    pub last: ProducerBatch,
    /// The epoch of the coordinator that last ended a transaction of it, -1 for none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins, -1 for none.
    pub transaction_first_offset: i64,
}

/// Makes a snapshot.
#[derive(Debug, Default)]
pub struct SnapshotWriter {
    count: u32,
    entries: Vec<u8>,
    older: Vec<u8>,
}

impl SnapshotWriter {
    /// With room for so many producers.
    pub fn with_capacity(producers: usize) -> SnapshotWriter {
        let mut entries = Vec::with_capacity(HEAD + producers * ENTRY);
        entries.extend_from_slice(&VERSION.to_be_bytes());
        entries.resize(HEAD, 0);
        SnapshotWriter { count: 0, entries, older: Vec::new() }
    }

    /// Adds a producer, and its batches before the last, oldest first.
    pub fn add<'a>(&mut self, entry: &SnapshotEntry, older: impl IntoIterator<Item = &'a ProducerBatch>) {
        self.count += 1;
        let bytes = &mut self.entries;
        bytes.extend_from_slice(&entry.producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.last.last_sequence.to_be_bytes());
        bytes.extend_from_slice(&entry.last.last_offset.to_be_bytes());
        bytes.extend_from_slice(&entry.last.offset_delta.to_be_bytes());
        bytes.extend_from_slice(&entry.last.timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.transaction_first_offset.to_be_bytes());
        for batch in older {
            if self.older.is_empty() {
                self.older.extend_from_slice(OLDER_MARK);
            }
            self.older.extend_from_slice(&entry.producer_id.to_be_bytes());
            self.older.extend_from_slice(&batch.last_sequence.to_be_bytes());
            self.older.extend_from_slice(&batch.last_offset.to_be_bytes());
            self.older.extend_from_slice(&batch.offset_delta.to_be_bytes());
            self.older.extend_from_slice(&batch.timestamp.to_be_bytes());
        }
    }

    /// The file's bytes.
    pub fn finish(self) -> Vec<u8> {
        let SnapshotWriter { count, entries: mut bytes, older } = self;
        bytes.extend_from_slice(&older);
        bytes[CRC_FROM..HEAD].copy_from_slice(&count.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[2..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        bytes
    }
}

/// A snapshot that was found whole.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    entries: &'a [[u8; ENTRY]],
    older: &'a [[u8; OLDER]],
}

impl<'a> Snapshot<'a> {
    /// Reads a snapshot; the error says what is wrong with it.
    pub fn decode(bytes: &'a [u8]) -> Result<Snapshot<'a>, String> {
        if bytes.len() < HEAD {
            return Err(format!("{} bytes, less than a snapshot's head", bytes.len()));
        }
        let version = i16::from_be_bytes(field(bytes, 0));
        if version != VERSION {
            return Err(format!("version {version} is not known ({VERSION} is)"));
        }
        let (stored, computed) = (u32::from_be_bytes(field(bytes, 2)), crc32c::crc32c(&bytes[CRC_FROM..]));
        if stored != computed {
            return Err(format!("its CRC is {stored:#010x}, its bytes give {computed:#010x}"));
        }
        let count = u32::from_be_bytes(field(bytes, CRC_FROM)) as usize;
        let rest = &bytes[HEAD..];
        let Some((entries, rest)) = rest.split_at_checked(count.saturating_mul(ENTRY)) else {
            return Err(format!("{count} producers do not fit into {} bytes", bytes.len()));
        };
        let older = match rest.strip_prefix(OLDER_MARK) {
            Some(older) if older.len() % OLDER == 0 => older,
            None if rest.is_empty() => rest,
            _ => return Err(format!("{} bytes behind its producers are not known", rest.len())),
        };
        Ok(Snapshot { entries: entries.as_chunks().0, older: older.as_chunks().0 })
    }

    /// The producers.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = SnapshotEntry> + use<'a> {
        self.entries.iter().map(|raw| SnapshotEntry {
            producer_id: i64::from_be_bytes(field(raw, 0)),
            epoch: i16::from_be_bytes(field(raw, 8)),
            last: ProducerBatch {
                last_sequence: i32::from_be_bytes(field(raw, 10)),
                last_offset: i64::from_be_bytes(field(raw, 14)),
                offset_delta: i32::from_be_bytes(field(raw, 22)),
                timestamp: i64::from_be_bytes(field(raw, 26)),
            },
            coordinator_epoch: i32::from_be_bytes(field(raw, 34)),
            transaction_first_offset: i64::from_be_bytes(field(raw, 38)),
        })
    }

    /// Batches before a producer's last, each with the producer's id; those of one producer oldest first.
    pub fn older(&self) -> impl ExactSizeIterator<Item = (i64, ProducerBatch)> + use<'a> {
        self.older.iter().map(|raw| {
            let batch = ProducerBatch {
                last_sequence: i32::from_be_bytes(field(raw, 8)),
                last_offset: i64::from_be_bytes(field(raw, 12)),
                offset_delta: i32::from_be_bytes(field(raw, 20)),
                timestamp: i64::from_be_bytes(field(raw, 24)),
            };
            (i64::from_be_bytes(field(raw, 0)), batch)
        })
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a field lies within its entry")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(producer_id: i64) -> SnapshotEntry {
        let last = ProducerBatch {
            last_offset: 99,
            timestamp: 1_700_000_000_000,
            last_sequence: 7,
            offset_delta: 2,
        };
        SnapshotEntry { producer_id, epoch: 3, last, coordinator_epoch: -1, transaction_first_offset: -1 }
    }

    #[test]
    fn what_is_written_reads_back() {
        let older =
            [1, 2].map(|n| ProducerBatch { last_offset: n, timestamp: n, last_sequence: 5, offset_delta: 1 });
        let mut writer = SnapshotWriter::with_capacity(2);
        writer.add(&entry(5), &older);
        writer.add(&entry(6), []);
        let bytes = writer.finish();
        let read = Snapshot::decode(&bytes).unwrap();
        assert_eq!(read.entries().collect::<Vec<_>>(), [entry(5), entry(6)]);
        assert_eq!(read.older().collect::<Vec<_>>(), older.map(|batch| (5, batch)));
    }

    #[test]
    fn nothing_damaged_is_read() {
        let mut writer = SnapshotWriter::with_capacity(1);
        writer.add(&entry(5), &[entry(5).last]);
        let bytes = writer.finish();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(Snapshot::decode(&damaged).is_err(), "byte {at}");
            assert!(Snapshot::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn sequences_wrap() {
        let batch = ProducerBatch { last_offset: 10, timestamp: 0, last_sequence: 1, offset_delta: 3 };
        assert_eq!((batch.base_offset(), batch.first_sequence()), (7, i32::MAX - 1));
    }
}
