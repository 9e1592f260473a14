//! Whether the batches of a segment are whole, while its bytes pass by. Pure.

use crate::wire::batch::{Batch, BatchError};

/// Goes through the batches of a segment as its bytes come, and checks each.
#[derive(Debug, Default)]
pub struct Checker {
    unread: Vec<u8>,
    position: u64,
    /// Where zeros begin, which only more zeros may follow.
    zeros: Option<u64>,
    /// Where the first bad batch begins, and what is wrong with it. What lies behind is not looked at.
    pub damage: Option<(u64, String)>,
}

/// The most bytes of one batch that are gathered; a longer one is a length that was never written.
const BATCH_MAX: usize = 1 << 30;

impl Checker {
    /// The next bytes of the file.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.damage.is_some() {
            return;
        }
        if let Some(zeros) = self.zeros {
            if bytes.iter().any(|byte| *byte != 0) {
                self.damage = Some((zeros, "zeros in the middle".to_owned()));
            }
            return;
        }
        self.unread.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            match Batch::first(&self.unread[at..]).and_then(|batch| batch.check().map(|()| batch)) {
                Ok(batch) => at += batch.bytes().len(),
                Err(BatchError::Cut { needed, .. }) if needed <= BATCH_MAX => break,
                // A file that was extended ahead of need ends in zeros.
                Err(_) if self.unread[at..].iter().all(|byte| *byte == 0) => {
                    self.zeros = Some(self.position + at as u64);
                    self.unread.clear();
                    return;
                }
                Err(error) => {
                    self.damage = Some((self.position + at as u64, error.to_string()));
                    break;
                }
            }
        }
        self.unread.drain(..at);
        self.position += at as u64;
    }

    /// The file has ended.
    pub fn finish(mut self) -> Option<(u64, String)> {
        if self.damage.is_none() && self.unread.iter().any(|byte| *byte != 0) {
            let left = self.unread.len();
            self.damage = Some((self.position, format!("{left} bytes, which are no whole batch")));
        }
        self.damage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::BatchBuilder;

    fn batch(size: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.append(1, None, Some(&vec![7; size]), &[]);
        builder.build().unwrap()
    }

    /// The verdict is the same however the bytes come.
    fn check(bytes: &[u8]) -> Option<u64> {
        let verdicts: Vec<Option<u64>> = [1, 7, 4096, 1 << 20]
            .map(|part| {
                let mut checker = Checker::default();
                bytes.chunks(part).for_each(|bytes| checker.take(bytes));
                checker.finish().map(|(position, _)| position)
            })
            .to_vec();
        assert!(verdicts.windows(2).all(|two| two[0] == two[1]), "{verdicts:?}");
        verdicts[0]
    }

    #[test]
    fn damage_is_found_where_it_is() {
        let (one, two) = (batch(10), batch(9000));
        let whole = [&one[..], &two, &one].concat();
        assert_eq!(check(&whole), None);
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[&whole[..], &[0; 5000]].concat()), None);
        let second = one.len() as u64;
        for at in [30, 100, two.len() - 1] {
            let mut bad = whole.clone();
            bad[one.len() + at] ^= 1;
            assert_eq!(check(&bad), Some(second), "byte {at}");
        }
        assert_eq!(check(&whole[..one.len() + 5000]), Some(second));
        let behind_zeros = [&one[..], &[0; 300], &two].concat();
        assert_eq!(check(&behind_zeros), Some(second));
    }
}
