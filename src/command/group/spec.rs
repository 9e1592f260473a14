//! Which partitions are meant, and which offsets.

use std::str::FromStr;

/// A topic, or some partitions of it: `orders`, `orders:0,3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// The topic's name.
    pub name: String,
    /// The partitions' numbers; all where none is named.
    pub partitions: Vec<i32>,
}

impl FromStr for Topics {
    type Err = String;

    fn from_str(text: &str) -> Result<Topics, String> {
        let wrong = || format!("'{text}' is not TOPIC or TOPIC:P,...");
        let (name, numbers) = match text.split_once(':') {
            None => (text, None),
            Some((name, numbers)) => (name, Some(numbers)),
        };
        let number = |digits: &str| digits.trim().parse::<i32>().ok().filter(|n| *n >= 0).ok_or_else(wrong);
        let partitions = match numbers {
            None => Vec::new(),
            Some(numbers) => numbers.split(',').map(number).collect::<Result<_, _>>()?,
        };
        match name.is_empty() {
            true => Err(wrong()),
            false => Ok(Topics { name: name.to_owned(), partitions }),
        }
    }
}

/// Where a group goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// At the first record there is.
    Earliest,
    /// At the end.
    Latest,
    /// At this offset.
    Offset(i64),
    /// At the first record of this time or later, in milliseconds since 1970.
    Time(i64),
    /// Where it is; at the end where it has committed nothing.
    Current,
    /// So many offsets on from where it is, or back.
    By(i64),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<To, String> {
        let number = |digits: &str| digits.parse::<i64>().ok().filter(|n| *n >= 0);
        let parsed = match (text, text.as_bytes().first()) {
            ("earliest" | "beginning", _) => Some(To::Earliest),
            ("latest" | "end", _) => Some(To::Latest),
            ("current", _) => Some(To::Current),
            (_, Some(b'@')) => number(&text[1..]).map(To::Time),
            (_, Some(b'+')) => number(&text[1..]).filter(|_| !text[1..].starts_with('+')).map(To::By),
            (_, Some(b'-')) => number(&text[1..]).filter(|_| !text[1..].starts_with('+')).map(|n| To::By(-n)),
            _ => number(text).map(To::Offset),
        };
        parsed.ok_or_else(|| format!("'{text}' is not earliest, latest, an offset, @MS, current, +N or -N"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_name_its_partitions() {
        let topics = |name: &str, partitions: &[i32]| Topics {
            name: name.to_owned(),
            partitions: partitions.to_vec(),
        };
        assert_eq!("orders".parse(), Ok(topics("orders", &[])));
        assert_eq!("orders:0,12".parse(), Ok(topics("orders", &[0, 12])));
        for bad in ["", ":1", "orders:", "orders:x", "orders:1,", "orders:-1"] {
            assert!(bad.parse::<Topics>().is_err(), "{bad}");
        }
    }

    #[test]
    fn offsets_are_absolute_or_relative() {
        for (text, to) in [
            ("earliest", To::Earliest),
            ("latest", To::Latest),
            ("current", To::Current),
            ("17", To::Offset(17)),
            ("@17", To::Time(17)),
            ("+17", To::By(17)),
            ("-17", To::By(-17)),
        ] {
            assert_eq!(text.parse(), Ok(to));
        }
        for bad in ["", "@", "@-1", "+", "-", "++1", "-+1", "--1", "middle", "1.5"] {
            assert!(bad.parse::<To>().is_err(), "{bad}");
        }
    }
}
