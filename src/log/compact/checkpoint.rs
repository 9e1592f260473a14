//! How far a partition was cleaned, and which files are just being exchanged.

/// The file's name in the partition's folder.
pub const NAME: &str = "cleaner-offset-checkpoint";
/// What the names of files end with that are to take others' places.
pub const CLEANED: &str = ".cleaned";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log was cleaned below this offset.
    pub first_dirty: i64,
    /// The segments that one takes the place of, by their base offsets; the first is its own. Empty where no exchange
    /// is under way.
    pub exchange: Vec<i64>,
}

impl Checkpoint {
    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        let bases: Vec<String> = self.exchange.iter().map(i64::to_string).collect();
        format!("0\n{}\n{}\n", self.first_dirty, bases.join(" ")).into_bytes()
    }

    /// Reads the file; the error says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text")?;
        let lines: Vec<&str> = text.lines().collect();
        let &["0", first_dirty, exchange] = &lines[..] else {
            return Err("not a version 0, an offset, and a line of base offsets".to_owned());
        };
        let number = |word: &str| word.parse().map_err(|_| format!("'{word}' is no offset"));
        let exchange = exchange.split_whitespace().map(number).collect::<Result<_, _>>()?;
        Ok(Checkpoint { first_dirty: number(first_dirty)?, exchange })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back() {
        for exchange in [vec![], vec![0], vec![0, 17, 300]] {
            let checkpoint = Checkpoint { first_dirty: 42, exchange };
            assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint));
        }
        for bad in ["", "0\n1", "1\n0\n\n", "0\nx\n\n", "0\n1\n2 x\n"] {
            assert!(Checkpoint::decode(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
