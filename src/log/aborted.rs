//! The `.txnindex`: which transactions ended in a segment by being aborted. Readers of committed records are told of
//! them with what they read, and leave those records out.
//!
//! Kafka's format, one entry after the other, in the order of the markers:
//!
//! ```text
//! version: i16 = 0 | producer id: i64 | first offset: i64 | last offset: i64 | last stable offset: i64
//! ```

/// Bytes of an entry.
pub const ENTRY: usize = 34;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// Its producer.
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: i64,
    /// The offset of the marker that ended it.
    pub last_offset: i64,
    /// Below this offset every transaction had ended when it had. Who reads up to there need not look for markers
    /// behind this one.
    pub last_stable_offset: i64,
}

/// The aborted transactions of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortedIndex {
    entries: Vec<Aborted>,
}

/// Whether what lies behind has to be searched as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// It has.
    GoesOn,
    /// All are found.
    Done,
}

impl AbortedIndex {
    /// Notes a transaction that has just been aborted.
    pub fn push(&mut self, aborted: Aborted) {
        let last = self.entries.last().map_or(-1, |last| last.last_offset);
        assert!(last < aborted.last_offset, "markers come one after the other");
        self.entries.push(aborted);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All, in the order of their markers.
    pub fn entries(&self) -> &[Aborted] {
        &self.entries
    }

    /// Adds those whose records lie between two offsets to what a reader from `from` up to `limit` is told.
    pub fn collect(&self, from: i64, limit: i64, found: &mut Vec<Aborted>) -> Search {
        for aborted in &self.entries {
            if aborted.last_offset >= from && aborted.first_offset < limit {
                found.push(*aborted);
            }
            if aborted.last_stable_offset >= limit {
                return Search::Done;
            }
        }
        Search::GoesOn
    }

    /// The content of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY);
        for aborted in &self.entries {
            bytes.extend_from_slice(&0i16.to_be_bytes());
            let Aborted { producer_id, first_offset, last_offset, last_stable_offset } = *aborted;
            for field in [producer_id, first_offset, last_offset, last_stable_offset] {
                bytes.extend_from_slice(&field.to_be_bytes());
            }
        }
        bytes
    }

    /// Reads the file of the segment that begins at an offset. The error says what is wrong with it.
    pub fn decode(bytes: &[u8], base_offset: i64) -> Result<AbortedIndex, String> {
        if !bytes.len().is_multiple_of(ENTRY) {
            return Err(format!("{} bytes are no whole number of entries of {ENTRY}", bytes.len()));
        }
        let mut index = AbortedIndex::default();
        let mut last = base_offset - 1;
        for (number, entry) in bytes.chunks_exact(ENTRY).enumerate() {
            let version = i16::from_be_bytes([entry[0], entry[1]]);
            if version != 0 {
                return Err(format!("entry {number} has version {version}, which is not known"));
            }
            let field = |at: usize| i64::from_be_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
            let aborted = Aborted {
                producer_id: field(2),
                first_offset: field(10),
                last_offset: field(18),
                last_stable_offset: field(26),
            };
            let is_sound = aborted.first_offset >= 0
                && aborted.first_offset <= aborted.last_offset
                && aborted.last_offset > last;
            if !is_sound {
                let Aborted { first_offset, last_offset, .. } = aborted;
                return Err(format!(
                    "entry {number}, of offsets {first_offset} to {last_offset}, cannot come behind offset {last}"
                ));
            }
            last = aborted.last_offset;
            index.entries.push(aborted);
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64, last_stable_offset: i64) -> Aborted {
        Aborted { producer_id, first_offset, last_offset, last_stable_offset }
    }

    fn index() -> AbortedIndex {
        let mut index = AbortedIndex::default();
        // The other's was open from 5 on.
        index.push(aborted(1, 10, 20, 5));
        index.push(aborted(2, 5, 30, 25));
        index.push(aborted(1, 25, 40, 41));
        index
    }

    #[test]
    fn files_read_back_as_written() {
        let bytes = index().encode();
        assert_eq!(bytes.len(), 3 * ENTRY);
        assert_eq!(AbortedIndex::decode(&bytes, 5), Ok(index()));
        assert_eq!(AbortedIndex::decode(&[], 5), Ok(AbortedIndex::default()));
    }

    #[test]
    fn damaged_files_are_refused() {
        let bytes = index().encode();
        assert!(AbortedIndex::decode(&bytes[1..], 5).unwrap_err().contains("whole number"));
        assert!(AbortedIndex::decode(&bytes, 21).unwrap_err().contains("entry 0"));
        let mut other = bytes.clone();
        other[ENTRY + 1] = 1;
        assert!(AbortedIndex::decode(&other, 5).unwrap_err().contains("entry 1 has version 1"));
        let mut swapped = bytes[ENTRY..].to_vec();
        swapped.extend_from_slice(&bytes[..ENTRY]);
        assert!(AbortedIndex::decode(&swapped, 5).unwrap_err().contains("entry 2"));
    }

    #[test]
    fn a_reader_is_told_of_all_whose_records_he_may_meet() {
        let found = |from, limit| {
            let mut found = Vec::new();
            let search = index().collect(from, limit, &mut found);
            (found.iter().map(|aborted| aborted.last_offset).collect::<Vec<_>>(), search)
        };
        assert_eq!(found(0, 100), (vec![20, 30, 40], Search::GoesOn));
        assert_eq!(found(21, 100), (vec![30, 40], Search::GoesOn));
        assert_eq!(found(0, 10), (vec![30], Search::Done), "what begins behind is not his");
        assert_eq!(found(0, 5), (vec![], Search::Done));
        assert_eq!(found(0, 22), (vec![20, 30], Search::Done));
        assert_eq!(found(41, 100), (vec![], Search::GoesOn));
    }
}
