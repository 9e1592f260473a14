//! Which offset each key was seen at last: hashes in a table of fixed size.
//!
//! Keys are told apart by 128 bits of a keyed hash alone. The key is drawn for each table, so that nobody can choose
//! two keys that meet.

/// Bytes that one key takes.
pub const SLOT: usize = 24;
/// The table takes no more keys when this part of it is filled.
const FULL: f64 = 0.9;

/// A hash of a key, and behind the last offset that it was seen at; zeros where the slot is empty, so that memory comes
/// as the system gives it.
type Slot = [u64; SLOT / 8];
/// Slots of a part. Parts are made when they are first needed and let go one by one: a table of many megabytes at once
/// would hold up its core for as long as that takes.
const PART: usize = 8192;

/// The table.
pub struct OffsetMap {
    secret: (u64, u64),
    /// Empty ones are to be made.
    parts: Vec<Vec<Slot>>,
    slots: usize,
    used: usize,
    /// How many keys it takes.
    most: usize,
}

impl OffsetMap {
    /// A table for so many keys, of at most so many bytes.
    pub fn new(secret: (u64, u64), keys: usize, most_bytes: usize) -> OffsetMap {
        OffsetMap::with_load(secret, keys, most_bytes, FULL)
    }

    /// The same, but no more than this part of it is filled.
    pub fn with_load(secret: (u64, u64), keys: usize, most_bytes: usize, load: f64) -> OffsetMap {
        let load = load.clamp(0.01, 0.99);
        let wanted = (keys as f64 / load) as usize;
        let slots = wanted.saturating_add(2).min(most_bytes / SLOT).max(2);
        let most = ((slots as f64 * load) as usize).clamp(1, slots - 1);
        OffsetMap { secret, parts: vec![Vec::new(); slots.div_ceil(PART)], slots, used: 0, most }
    }

    /// Lets go of some of its memory; false when there is none left. It is of no use any more then.
    pub fn let_go(&mut self) -> bool {
        self.parts.pop().is_some()
    }

    /// Whether there may be no room for another key.
    pub fn is_full(&self) -> bool {
        self.used >= self.most
    }

    /// Notes that a key was seen at an offset, which is larger than any before. False where there is no room.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let (at, slot) = self.place(hash);
        if slot[2] == 0 {
            if self.is_full() {
                return false;
            }
            self.used += 1;
        }
        let part = &mut self.parts[at / PART];
        if part.is_empty() {
            *part = vec![[0; SLOT / 8]; PART];
        }
        part[at % PART] = [hash.0, hash.1, offset as u64 + 1];
        true
    }

    /// The last offset that a key was seen at.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let (_, [_, _, behind]) = self.place(self.hash(key));
        behind.checked_sub(1).map(|offset| offset as i64)
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        siphash128(self.secret, key)
    }

    /// The slot of a hash, or the empty one where it would go. There always is an empty one.
    fn place(&self, hash: (u64, u64)) -> (usize, Slot) {
        let mut at = (hash.0 % self.slots as u64) as usize;
        loop {
            let slot = self.parts[at / PART].get(at % PART).copied().unwrap_or_default();
            if slot[2] == 0 || (slot[0], slot[1]) == hash {
                return (at, slot);
            }
            at = (at + 1) % self.slots;
        }
    }
}

/// SipHash-2-4 with 128 bits.
fn siphash128(key: (u64, u64), bytes: &[u8]) -> (u64, u64) {
    let mut v = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for word in words {
        absorb(&mut v, u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    absorb(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xee;
    (0..4).for_each(|_| round(&mut v));
    let first = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    (0..4).for_each(|_| round(&mut v));
    (first, v[0] ^ v[1] ^ v[2] ^ v[3])
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash() {
        // The first vectors of the reference: key 00 01 .. 0f, input of 0, 1, 2 ... bytes 00 01 02 ...
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let wanted: [[u8; 16]; 2] = [
            [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93],
            [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45],
        ];
        for (len, wanted) in wanted.iter().enumerate() {
            let input: Vec<u8> = (0..len as u8).collect();
            let (first, second) = siphash128(key, &input);
            assert_eq!([first.to_le_bytes(), second.to_le_bytes()].concat(), wanted, "{len} bytes");
        }
    }

    #[test]
    fn the_last_offset_stays_and_no_key_is_forgotten() {
        // More than one part of the table.
        let keys = 3 * PART as i64;
        let mut map = OffsetMap::new((1, 2), keys as usize, usize::MAX);
        for offset in 0..3 * keys {
            assert!(map.put(format!("key-{}", offset % keys).as_bytes(), offset));
        }
        assert_eq!(map.len(), keys as usize);
        for key in 0..keys {
            assert_eq!(map.get(format!("key-{key}").as_bytes()), Some(2 * keys + key));
        }
        assert_eq!(map.get(b"another"), None);
        let parts = std::iter::from_fn(|| map.let_go().then_some(())).count();
        assert!((3..=4).contains(&parts), "{parts}");
    }

    #[test]
    fn a_full_table_takes_known_keys_only() {
        let mut map = OffsetMap::new((1, 2), 1000, 100 * SLOT);
        let taken = (0..1000).take_while(|key: &i64| map.put(&key.to_be_bytes(), *key)).count();
        assert_eq!(taken, 90);
        assert!(map.is_full() && !map.put(b"new", 1000));
        assert!(map.put(&5i64.to_be_bytes(), 1001));
        assert_eq!(map.get(&5i64.to_be_bytes()), Some(1001));
    }
}
