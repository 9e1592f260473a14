//! Which partition a key belongs to.

/// Kafka's murmur2, the hash of its own clients' default partitioner.
pub fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28cu32 ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

/// The partition of a key, of `partitions`, by Kafka's own clients and those that follow them.
pub fn murmur2_partition(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & i32::MAX) as u32 % partitions
}

/// The partition of a key by librdkafka's default partitioner, `consistent_random`. It draws lots for an empty key, as
/// for none, so that has no partition of its own.
pub fn crc32_partition(key: &[u8], partitions: u32) -> Option<u32> {
    if key.is_empty() {
        return None;
    }
    let mut crc = flate2::Crc::new();
    crc.update(key);
    Some(crc.sum() % partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_kafkas() {
        // Computed by org.apache.kafka.common.utils.Utils.murmur2.
        for (data, hash) in [
            (&b""[..], 275_646_681),
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"abc", 479_470_107),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (&[0xff, 0x80, 0x7f, 0x00, 0xfe], -1_958_495_739),
        ] {
            assert_eq!(murmur2(data), hash, "{data:?}");
        }
        assert_eq!(murmur2_partition(b"foobar", 300), (-790_332_482i32 & i32::MAX) as u32 % 300);
    }

    #[test]
    fn crc32_is_zlibs() {
        assert_eq!(crc32_partition(b"123456789", u32::MAX), Some(0xcbf4_3926));
        assert_eq!(crc32_partition(b"123456789", 7), Some(0xcbf4_3926 % 7));
        assert_eq!(crc32_partition(b"", 7), None);
    }
}
