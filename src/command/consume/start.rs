//! Where a consumer starts and ends.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::super::client::{Client, EARLIEST, LATEST, Topic};
use super::super::failure::{Failure, Result};

/// An offset as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// The first one there is.
    Beginning,
    /// The one that the next record will get.
    End,
    /// This one.
    At(i64),
    /// So many before the end.
    Last(i64),
    /// The first one of this time or later, in milliseconds since 1970.
    Since(i64),
    /// Where to end: before the first record of this time or later.
    Until(i64),
}

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Offset, String> {
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|n| *n >= 0);
        let parsed = match text {
            "beginning" | "start" | "earliest" => Some(Offset::Beginning),
            "end" | "latest" => Some(Offset::End),
            _ => match (text.split_once('@'), text.strip_prefix('-')) {
                (Some(("" | "s", time)), _) => number(time).map(Offset::Since),
                (Some(("e", time)), _) => number(time).map(Offset::Until),
                (None, Some(count)) => number(count).map(Offset::Last),
                _ => number(text).map(Offset::At),
            },
        };
        parsed.ok_or_else(|| format!("'{text}' is not beginning, end, an offset, -N, @MS or e@MS"))
    }
}

/// Where a partition is read from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The next offset to read.
    pub next: i64,
    /// The first offset that is not read any more; none reads on for ever.
    pub end: Option<i64>,
}

impl Bounds {
    /// Whether everything was read.
    pub fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// Tells the start from the end among the offsets that were given.
pub fn split(offsets: &[Offset]) -> Result<(Offset, Option<i64>)> {
    let (mut start, mut end) = (None, None);
    for offset in offsets {
        let doubled = match offset {
            Offset::Until(time) => end.replace(*time).is_some(),
            other => start.replace(*other).is_some(),
        };
        if doubled {
            return Err(Failure::usage("--offset names one start, and with e@MS one end"));
        }
    }
    Ok((start.unwrap_or(Offset::Beginning), end))
}

/// Turns what was asked for into offsets of each partition.
pub fn bounds(
    client: &mut Client,
    topic: &Topic,
    partitions: &[i32],
    start: Offset,
    end_time: Option<i64>,
    exit_at_end: bool,
) -> Result<BTreeMap<i32, Bounds>> {
    let mut ask = |question: i64| -> Result<BTreeMap<i32, i64>> {
        let found = client.list_offsets(&topic.name, partitions, |_| question)?;
        Ok(found.into_iter().map(|(p, f)| (p, f.offset)).collect())
    };
    // Asked first, so that "until now" is a time before the start is looked up, not after.
    let ends = ask(LATEST)?;
    let stops = match (end_time, exit_at_end) {
        // Nothing is as late as that yet: everything that is there lies before it.
        (Some(time), _) => {
            ask(time)?.into_iter().map(|(p, o)| (p, if o < 0 { ends[&p] } else { o })).collect()
        }
        (None, true) => ends.clone(),
        (None, false) => BTreeMap::new(),
    };
    let starts = match start {
        Offset::Beginning => ask(EARLIEST)?,
        Offset::End => ends.clone(),
        Offset::At(offset) => partitions.iter().map(|p| (*p, offset)).collect(),
        Offset::Last(count) => {
            let begins = ask(EARLIEST)?;
            ends.iter().map(|(p, end)| (*p, (end - count).max(begins[p]))).collect()
        }
        Offset::Since(time) => {
            ask(time)?.into_iter().map(|(p, o)| (p, if o < 0 { ends[&p] } else { o })).collect()
        }
        Offset::Until(_) => unreachable!("an end is no start"),
    };
    let bound =
        |(partition, next): (i32, i64)| (partition, Bounds { next, end: stops.get(&partition).copied() });
    Ok(starts.into_iter().map(bound).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_as_for_kcat() {
        for (text, offset) in [
            ("beginning", Offset::Beginning),
            ("end", Offset::End),
            ("42", Offset::At(42)),
            ("-10", Offset::Last(10)),
            ("@1700", Offset::Since(1700)),
            ("s@1700", Offset::Since(1700)),
            ("e@1800", Offset::Until(1800)),
        ] {
            assert_eq!(text.parse(), Ok(offset));
        }
        for bad in ["", "middle", "--1", "@", "x@1", "@-1"] {
            assert!(bad.parse::<Offset>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_start_and_one_end() {
        assert_eq!(split(&[Offset::Until(9), Offset::Since(3)]).unwrap(), (Offset::Since(3), Some(9)));
        assert_eq!(split(&[Offset::Until(9)]).unwrap(), (Offset::Beginning, Some(9)));
        assert!(split(&[Offset::At(1), Offset::End]).is_err());
    }
}
