//! How a record is shown: kcat's format string, or kcat's JSON fields.

use std::io::{self, Write};

use serde::Serialize;

use super::failure::{Failure, Result};

/// A record as a consumer shows it.
#[derive(Clone, Debug, Default)]
pub struct Shown<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Milliseconds since 1970, or -1 where the record has none.
    pub timestamp: i64,
    /// Whether the broker set the timestamp when it appended (`LogAppendTime`).
    pub append_time: bool,
    /// The key; none is null.
    pub key: Option<&'a [u8]>,
    /// The value; none is null, a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order; a value may be null.
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// The parts of the default format beside the value.
#[derive(Clone, Debug, Default)]
pub struct Delimiters {
    /// Ends each record.
    pub record: Vec<u8>,
    /// Stands between key and value; none leaves the key out.
    pub key: Option<Vec<u8>>,
}

/// A parsed format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// What stands for a null key or value (kcat's `-Z` prints NULL).
    null: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    KeyLength,
    Value,
    ValueLength,
    /// The value's length as four bytes, the highest first.
    ValueLengthBinary,
    Timestamp,
    Headers,
}

impl Template {
    /// Reads a format string: `%t %p %o %k %K %s %S %R %T %h %%` and the escapes of [`unescape`].
    pub fn parse(format: &str) -> Result<Template> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            literal.extend(unescape(&rest[..at])?);
            let token = rest[at + 1..].chars().next().ok_or_else(|| {
                Failure::usage(format!("the format {format:?} ends in a single %; %% writes one"))
            })?;
            rest = &rest[at + 1 + token.len_utf8()..];
            let part = match token {
                '%' => {
                    literal.push(b'%');
                    continue;
                }
                't' => Part::Topic,
                'p' => Part::Partition,
                'o' => Part::Offset,
                'k' => Part::Key,
                'K' => Part::KeyLength,
                's' => Part::Value,
                'S' => Part::ValueLength,
                'R' => Part::ValueLengthBinary,
                'T' => Part::Timestamp,
                'h' => Part::Headers,
                other => {
                    return Err(Failure::usage(format!(
                        "the format {format:?} has an unknown token %{other}"
                    ))
                    .advice("The tokens are %t %p %o %k %K %s %S %R %T %h and %%."));
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        literal.extend(unescape(rest)?);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template { parts, null: Vec::new() })
    }

    /// The format that is used where none is given: key, delimiter, value, delimiter.
    pub fn from_delimiters(delimiters: Delimiters) -> Template {
        let mut parts = Vec::new();
        if let Some(delimiter) = delimiters.key {
            parts.extend([Part::Key, Part::Literal(delimiter)]);
        }
        parts.extend([Part::Value, Part::Literal(delimiters.record)]);
        Template { parts, null: Vec::new() }
    }

    /// Shows null keys and values as `NULL` instead of nothing.
    pub fn with_nulls_shown(mut self, shown: bool) -> Template {
        self.null = if shown { b"NULL".to_vec() } else { Vec::new() };
        self
    }

    /// Writes one record.
    pub fn write(&self, out: &mut impl Write, record: &Shown<'_>) -> io::Result<()> {
        let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |b| b.len() as i64);
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.write_all(bytes)?,
                Part::Topic => out.write_all(record.topic.as_bytes())?,
                Part::Partition => write!(out, "{}", record.partition)?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Key => out.write_all(record.key.unwrap_or(&self.null))?,
                Part::KeyLength => write!(out, "{}", length(record.key))?,
                Part::Value => out.write_all(record.value.unwrap_or(&self.null))?,
                Part::ValueLength => write!(out, "{}", length(record.value))?,
                Part::ValueLengthBinary => {
                    out.write_all(&(length(record.value) as i32).to_be_bytes())?;
                }
                Part::Timestamp => write!(out, "{}", record.timestamp)?,
                Part::Headers => {
                    for (i, (name, value)) in record.headers.iter().enumerate() {
                        if i > 0 {
                            out.write_all(b",")?;
                        }
                        out.write_all(name)?;
                        out.write_all(b"=")?;
                        out.write_all(value.unwrap_or(b"NULL"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads `\n`, `\r`, `\t`, `\0`, `\xHH` and `\` before any other character, which then stands for itself.
pub fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match rest.next() {
            Some('n') => out.push(b'\n'),
            Some('r') => out.push(b'\r'),
            Some('t') => out.push(b'\t'),
            Some('0') => out.push(0),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                let byte = (digits.len() == 2).then(|| u8::from_str_radix(&digits, 16).ok()).flatten();
                out.push(
                    byte.ok_or_else(|| {
                        Failure::usage(format!("{text:?}: \\x needs two hexadecimal digits"))
                    })?,
                );
            }
            Some(other) => out.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
            None => return Err(Failure::usage(format!("{text:?} ends in a single \\; \\\\ writes one"))),
        }
    }
    Ok(out)
}

/// A record in kcat's JSON fields. Bytes that are no UTF-8 go into fields of their own, in base64.
#[derive(Debug, Serialize)]
struct Json<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    tstype: &'static str,
    ts: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Option<String>>,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// Writes one record as a line of JSON.
pub fn write_json(out: &mut impl Write, record: &Shown<'_>) -> io::Result<()> {
    let (key, key_base64) = text_or_base64(record.key);
    let (payload, payload_base64) = text_or_base64(record.value);
    let mut headers = Vec::with_capacity(record.headers.len() * 2);
    for (name, value) in &record.headers {
        headers.push(Some(String::from_utf8_lossy(name).into_owned()));
        headers.push(value.map(|v| String::from_utf8_lossy(v).into_owned()));
    }
    let tstype = match (record.timestamp, record.append_time) {
        (-1, _) => "unknown",
        (_, true) => "logappend",
        (_, false) => "create",
    };
    super::output::json_line(
        out,
        &Json {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            tstype,
            ts: record.timestamp,
            headers,
            key,
            key_base64,
            payload,
            payload_base64,
        },
    )
}

/// Bytes as text where they are UTF-8, else as base64.
pub fn text_or_base64(bytes: Option<&[u8]>) -> (Option<&str>, Option<String>) {
    match bytes.map(|b| (b, std::str::from_utf8(b))) {
        None => (None, None),
        Some((_, Ok(text))) => (Some(text), None),
        Some((raw, Err(_))) => (None, Some(base64(raw))),
    }
}

/// Base64 with padding, for JSON and for topic ids.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0u32, |w, (i, b)| w | u32::from(*b) << (16 - 8 * i));
        for digit in 0..4 {
            if digit <= group.len() {
                out.push(DIGITS[(word >> (18 - 6 * digit)) as usize & 63] as char);
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Shown<'static> {
        Shown {
            topic: "orders",
            partition: 3,
            offset: 42,
            timestamp: 1_700_000_000_000,
            append_time: false,
            key: Some(b"k1"),
            value: Some(b"hello"),
            headers: vec![(b"a", Some(b"1")), (b"b", None)],
        }
    }

    fn formatted(format: &str, record: &Shown<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        Template::parse(format).unwrap().write(&mut out, record).unwrap();
        out
    }

    #[test]
    fn every_token_is_written() {
        assert_eq!(
            formatted("%t[%p]@%o %k(%K) %s(%S) %T %h 100%%\\n", &record()),
            b"orders[3]@42 k1(2) hello(5) 1700000000000 a=1,b=NULL 100%\n"
        );
        assert_eq!(formatted("%R", &record()), [0, 0, 0, 5]);
    }

    #[test]
    fn nulls_are_empty_or_named() {
        let tombstone = Shown { key: None, value: None, ..record() };
        assert_eq!(formatted("[%k][%s]%K%S", &tombstone), b"[][]-1-1");
        let mut out = Vec::new();
        let template = Template::parse("%k:%s").unwrap().with_nulls_shown(true);
        template.write(&mut out, &tombstone).unwrap();
        assert_eq!(out, b"NULL:NULL");
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(unescape(r"a\tb\x41\\\n\q").unwrap(), b"a\tbA\\\nq");
        for bad in [r"\x4", r"\xzz", "\\"] {
            assert_eq!(unescape(bad).unwrap_err().code(), crate::command::failure::USAGE, "{bad}");
        }
        for bad in ["%", "%y"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_has_the_fields_of_kcat_and_loses_no_bytes() {
        let mut out = Vec::new();
        write_json(&mut out, &Shown { value: Some(&[0xff, 0xfe]), ..record() }).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["topic"], "orders");
        assert_eq!(value["tstype"], "create");
        assert_eq!(value["headers"], serde_json::json!(["a", "1", "b", null]));
        assert_eq!(value["key"], "k1");
        assert_eq!(value["payload"], serde_json::Value::Null);
        assert_eq!(value["payload_base64"], "//4=");
    }

    #[test]
    fn base64_pads() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
