//! A setting's value: its text against its row of the table.

use std::fmt;
use std::net::IpAddr;

use super::settings::{Allowed, Setting, Type};

/// A value that was checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a boolean.
    Boolean(bool),
    /// Of an int, short or long.
    Number(i64),
    /// Of a double.
    Double(f64),
    /// Of text, classes and secrets.
    Text(String),
    /// Of a list.
    List(Vec<String>),
}

impl Value {
    /// The number; zero for what is none.
    pub fn number(&self) -> i64 {
        match self {
            Value::Number(n) => *n,
            _ => 0,
        }
    }
}

/// As Kafka writes it: lists between commas, doubles as Java does.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(b) => write!(f, "{b}"),
            Value::Number(n) => write!(f, "{n}"),
            Value::Double(d) => f.write_str(&java_double(*d)),
            Value::Text(t) => f.write_str(t),
            Value::List(l) => f.write_str(&l.join(",")),
        }
    }
}

/// Why a value is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// The setting.
    pub name: String,
    /// What was given; hidden for secrets.
    pub value: String,
    /// What is allowed.
    pub reason: String,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid value {} for configuration {}: {}", self.value, self.name, self.reason)
    }
}

impl std::error::Error for BadValue {}

/// Reads and checks a value.
pub fn parse(setting: &Setting, text: &str) -> Result<Value, BadValue> {
    let text = text.trim();
    let bad = |shown: &str, reason| BadValue {
        name: setting.name.to_owned(),
        value: if setting.sensitive() { "[hidden]".to_owned() } else { shown.chars().take(256).collect() },
        reason,
    };
    let value = read(setting.kind, text).map_err(|reason| bad(text, reason))?;
    match allowed(setting, &value) {
        Ok(()) => Ok(value),
        // As Kafka shows what it has read.
        Err(reason) if setting.allowed == Allowed::ThrottledReplicas => {
            Err(bad(&format!("[{text}]"), reason))
        }
        Err(reason) => Err(bad(&value.to_string(), reason)),
    }
}

fn read(kind: Type, text: &str) -> Result<Value, String> {
    let number = |least: i64, most: i64| match text.parse::<i64>() {
        Ok(n) if (least..=most).contains(&n) => Ok(Value::Number(n)),
        _ => Err(format!(
            "Not a number of type {}. It is a whole number from {least} to {most}",
            kind.name().to_uppercase()
        )),
    };
    match kind {
        Type::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Type::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Type::Boolean => Err("Expected value to be either true or false".to_owned()),
        Type::Short => number(i16::MIN.into(), i16::MAX.into()),
        Type::Int => number(i32::MIN.into(), i32::MAX.into()),
        Type::Long => number(i64::MIN, i64::MAX),
        Type::Double => match text.parse::<f64>() {
            Ok(d) if d.is_finite() => Ok(Value::Double(d)),
            _ => Err("Not a number of type DOUBLE. It is a number such as 0.5".to_owned()),
        },
        Type::String | Type::Class | Type::Password => Ok(Value::Text(text.to_owned())),
        Type::List if text.is_empty() => Ok(Value::List(Vec::new())),
        Type::List => {
            let mut list: Vec<String> = Vec::new();
            for item in text.split(',').map(str::trim) {
                if !list.iter().any(|known| known == item) {
                    list.push(item.to_owned());
                }
            }
            Ok(Value::List(list))
        }
    }
}

fn allowed(setting: &Setting, value: &Value) -> Result<(), String> {
    match (&setting.allowed, value) {
        (Allowed::AtLeast(least), Value::Number(n)) => at_least(*least, *n),
        (Allowed::Between(least, most), Value::Number(n)) => at_least(*least, *n).and(at_most(*most, *n)),
        (Allowed::BetweenOr(_, _, or), Value::Number(n)) if n == or => Ok(()),
        (Allowed::BetweenOr(least, most, or), Value::Number(n)) => at_least(*least, *n)
            .and(at_most(*most, *n))
            .map_err(|_| format!("Value must be between {least} and {most} or equal to {or}")),
        (Allowed::Fraction(least, most), Value::Double(d)) if d < least => {
            Err(format!("Value must be at least {least}"))
        }
        (Allowed::Fraction(least, most), Value::Double(d)) if d > most => {
            Err(format!("Value must be no more than {most}, and at least {least}"))
        }
        (Allowed::OneOf(words), Value::Text(t)) => match words.contains(&t.as_str()) {
            true => Ok(()),
            false => Err(format!("String must be one of: {}", words.join(", "))),
        },
        (Allowed::OneOfAnyCase(words), Value::Text(t)) => {
            match words.iter().any(|word| word.eq_ignore_ascii_case(t)) {
                true => Ok(()),
                false => Err(format!("String must be one of (case insensitive): {}", words.join(", "))),
            }
        }
        (Allowed::EachOf(words), Value::List(list)) => each_of(words, list),
        (Allowed::ThrottledReplicas, Value::List(list)) => throttled(setting.name, list),
        (Allowed::CountsByAddress, Value::Text(text)) => counts_by_address(setting.name, text).map(drop),
        (Allowed::NotEmpty, Value::Text(t)) if t.is_empty() => Err("String must be non-empty".to_owned()),
        (Allowed::NotEmpty, Value::List(l)) if l.is_empty() => Err("List must be non-empty".to_owned()),
        _ => Ok(()),
    }
}

fn at_least(least: i64, n: i64) -> Result<(), String> {
    if n < least { Err(format!("Value must be at least {least}")) } else { Ok(()) }
}

fn at_most(most: i64, n: i64) -> Result<(), String> {
    if n > most { Err(format!("Value must be no more than {most}")) } else { Ok(()) }
}

fn each_of(words: &[&str], list: &[String]) -> Result<(), String> {
    match list.iter().all(|item| words.contains(&item.as_str())) {
        true => Ok(()),
        false => Err(format!("String must be one of: {}", words.join(", "))),
    }
}

fn throttled(name: &str, list: &[String]) -> Result<(), String> {
    let pair = |item: &String| {
        item.split_once(':').is_some_and(|(partition, broker)| {
            partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
        })
    };
    if list.is_empty() || *list == ["*"] || list.iter().all(pair) {
        return Ok(());
    }
    Err(format!(
        "{name} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    ))
}

/// `address:count` between commas; the last colon counts, for addresses have some of their own.
pub fn counts_by_address(name: &str, text: &str) -> Result<Vec<(IpAddr, usize)>, String> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = pairs.map(|pair| {
        let (address, count) = pair.rsplit_once(':')?;
        let address = address.trim().trim_start_matches('[').trim_end_matches(']');
        Some((address.parse().ok()?, count.trim().parse::<u32>().ok()? as usize))
    });
    read.collect::<Option<Vec<_>>>().ok_or_else(|| {
        format!("Error parsing configuration property '{name}': it is address:count between commas")
    })
}

/// A double as Java's `Double.toString` writes it: always with a point, with an exponent below 10^-3 and from
/// 10^7 on.
fn java_double(d: f64) -> String {
    if d == 0.0 || (1e-3..1e7).contains(&d.abs()) {
        return format!("{d:?}");
    }
    let text = format!("{d:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text.replace('e', "E"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings;
    use super::*;

    fn topic(name: &str, text: &str) -> Result<String, String> {
        parse(settings::topic().get(name).unwrap(), text).map(|v| v.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_read_as_kafka_reads_and_writes_them() {
        for (name, given, shown) in [
            ("retention.ms", " 1000 ", "1000"),
            ("cleanup.policy", "compact , delete", "compact,delete"),
            ("cleanup.policy", "", ""),
            ("cleanup.policy", "delete, delete", "delete"),
            ("retention.ms", "+5", "5"),
            ("min.cleanable.dirty.ratio", "0.50", "0.5"),
            ("min.cleanable.dirty.ratio", "1", "1.0"),
            ("preallocate", "TRUE", "true"),
            ("compression.gzip.level", "-1", "-1"),
            ("leader.replication.throttled.replicas", "0:1, 2:3", "0:1,2:3"),
            ("leader.replication.throttled.replicas", "*", "*"),
        ] {
            assert_eq!(topic(name, given).as_deref(), Ok(shown), "{name}={given}");
        }
    }

    #[test]
    fn bad_values_are_told_with_what_is_allowed() {
        for (name, given, part) in [
            (
                "retention.ms",
                "abc",
                "Invalid value abc for configuration retention.ms: Not a number of type LONG",
            ),
            ("retention.ms", "-2", "Value must be at least -1"),
            ("retention.ms", "9223372036854775808", "Not a number of type LONG"),
            ("segment.bytes", "1048575", "Value must be at least 1048576"),
            ("segment.bytes", "2147483648", "Not a number of type INT"),
            ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
            ("compression.lz4.level", "18", "Value must be no more than 17"),
            ("cleanup.policy", "keep", "String must be one of: compact, delete"),
            ("cleanup.policy", "delete,", "String must be one of: compact, delete"),
            ("message.timestamp.type", "createtime", "String must be one of: CreateTime, LogAppendTime"),
            ("preallocate", "yes", "Expected value to be either true or false"),
            ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
            ("min.cleanable.dirty.ratio", "NaN", "Not a number of type DOUBLE"),
            ("leader.replication.throttled.replicas", "0-1", "[partitionId]:[brokerId]"),
        ] {
            let error = topic(name, given).unwrap_err();
            assert!(error.contains(part), "{name}={given}: {error}");
        }
    }

    #[test]
    fn a_bad_secret_is_not_shown() {
        let short = Setting { allowed: Allowed::NotEmpty, ..*settings::topic().get("retention.ms").unwrap() };
        let secret = Setting { kind: Type::Password, name: "ssl.key.password", ..short };
        assert_eq!(parse(&secret, "").unwrap_err().value, "[hidden]");
    }

    #[test]
    fn doubles_are_written_as_java_does() {
        for (d, text) in [
            (f64::MAX, "1.7976931348623157E308"),
            (0.0, "0.0"),
            (0.05, "0.05"),
            (1e7, "1.0E7"),
            (9999999.0, "9999999.0"),
            (0.0005, "5.0E-4"),
        ] {
            assert_eq!(java_double(d), text);
        }
    }
}
