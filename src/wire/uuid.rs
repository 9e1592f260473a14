//! The ids of topics, directories and clusters.

use std::fmt;
use std::str::FromStr;

/// Sixteen bytes that are unique by chance. Written as 22 characters of base64 for URLs, without padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// "None": no topic has it. In a list of directories: not known yet.
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// The metadata log's own topic. In a list of directories: not assigned yet.
    pub const ONE: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// A version 4 id of random bytes, or none where the bytes gave an id that Kafka avoids: a reserved one, or
    /// one whose text would start with a dash and so look like an option on a command line. Draw again then.
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Uuid> {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let uuid = Uuid(bytes);
        (!uuid.is_reserved() && bytes[0] >> 2 != 62).then_some(uuid)
    }

    /// Whether Kafka never gives this id to a topic or directory: the first hundred.
    pub fn is_reserved(self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0);
        // 22 characters carry 132 bits; the last character's low four bits are zero.
        for i in 0..21 {
            write!(f, "{}", char::from(ALPHABET[(number >> (122 - 6 * i)) as usize & 63]))?;
        }
        write!(f, "{}", char::from(ALPHABET[(number << 4) as usize & 63]))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUuid(String);

impl fmt::Display for BadUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an id: one has 22 characters of A-Z, a-z, 0-9, '-' and '_'", self.0)
    }
}

impl std::error::Error for BadUuid {}

impl FromStr for Uuid {
    type Err = BadUuid;

    fn from_str(text: &str) -> Result<Uuid, BadUuid> {
        let bad = || BadUuid(text.chars().take(64).collect());
        // Kafka's own tools sometimes print the padding.
        let digits = text.strip_suffix("==").unwrap_or(text).as_bytes();
        if digits.len() != 22 {
            return Err(bad());
        }
        let mut number = 0u128;
        for (i, digit) in digits.iter().enumerate() {
            let value = ALPHABET.iter().position(|c| c == digit).ok_or_else(bad)? as u128;
            number = if i < 21 { number << 6 | value } else { number << 2 | value >> 4 };
        }
        Ok(Uuid(number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas() {
        // Values printed by org.apache.kafka.common.Uuid.
        for (bytes, text) in [
            ([0; 16], "AAAAAAAAAAAAAAAAAAAAAA"),
            (Uuid::ONE.0, "AAAAAAAAAAAAAAAAAAAAAQ"),
            ([255; 16], "_____________________w"),
            (0x0123_4567_89ab_cdef_fedc_ba98_7654_3210u128.to_be_bytes(), "ASNFZ4mrze_-3LqYdlQyEA"),
        ] {
            assert_eq!(Uuid(bytes).to_string(), text);
            assert_eq!(text.parse::<Uuid>().unwrap(), Uuid(bytes));
        }
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAA+AAAAAAAAAAA"] {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_ids_are_version_4_and_never_start_with_a_dash() {
        let uuid = Uuid::from_random([0xff; 16]).unwrap();
        assert_eq!((uuid.0[6] >> 4, uuid.0[8] >> 6), (4, 2));
        assert_eq!(Uuid::from_random([0xf8; 16]), None);
        assert!(!uuid.to_string().starts_with('-'));
    }
}
