//! The syntax of Java properties files, in which a `server.properties` is written.

use std::fmt;

/// One setting of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// Left of the `=`.
    pub key: String,
    /// Right of it.
    pub value: String,
}

/// A `\u` that is not followed by four hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEscape {
    /// The line on which the setting begins, from 1.
    pub line: usize,
}

impl fmt::Display for BadEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\\u must be followed by four hexadecimal digits; write \\\\ for a backslash itself")
    }
}

/// All settings of a file, in its order.
pub fn parse(text: &str) -> Result<Vec<Entry>, BadEscape> {
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut logical = line.trim_start_matches(BLANK).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while continues(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANK));
        }
        let (key, value) = split(&logical);
        let unescaped = |text: &str| unescape(text).ok_or(BadEscape { line: number + 1 });
        entries.push(Entry { line: number + 1, key: unescaped(key)?, value: unescaped(value)? });
    }
    Ok(entries)
}

const BLANK: [char; 3] = [' ', '\t', '\x0c'];

/// Whether the line ends in an odd number of backslashes.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or blank without a backslash before it.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || BLANK.contains(&c));
        escaped = !escaped && c == '\\';
        ends
    });
    let Some(end) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(BLANK);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(BLANK))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    // Java's escapes are UTF-16: two of them may make one character.
    let mut units: Vec<u16> = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let whole = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    units.push(u16::from_str_radix(&digits, 16).ok().filter(|_| whole)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(other) => other,
                None => break,
            },
            c => c,
        };
        out.push_str(&String::from_utf16_lossy(&std::mem::take(&mut units)));
        out.push(c);
    }
    out.push_str(&String::from_utf16_lossy(&units));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        parse(text).unwrap().into_iter().map(|e| (e.line, e.key, e.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let [(_, key, value)] = &pairs(text)[..] else { panic!("one setting in {text:?}") };
        (key.clone(), value.clone())
    }

    #[test]
    fn every_way_to_write_a_setting() {
        for text in ["a=b", "a = b", "a:b", "a b", "  a\t:\tb", "a=\\u0062", "\\a=b", "a=b\r\n", "a\\\n=b"] {
            assert_eq!(one(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(one("a"), ("a".into(), "".into()));
        assert_eq!(one("a="), ("a".into(), "".into()));
        assert_eq!(one("a==b"), ("a".into(), "=b".into()));
        assert_eq!(one("a\\=b\\ c=d # e "), ("a=b c".into(), "d # e ".into()));
        assert_eq!(one("dir=C:\\\\data\\ttab"), ("dir".into(), "C:\\data\ttab".into()));
        assert_eq!(one("smile=\\uD83D\\uDE00!"), ("smile".into(), "😀!".into()));
    }

    #[test]
    fn comments_blank_lines_and_continuations() {
        let text = "# no\n! no\n\n   # no\na=1,\\\n   2,\\\n\t3\nb=x\\\\\nc=y\\";
        let expected = [(5, "a", "1,2,3"), (8, "b", "x\\"), (9, "c", "y")];
        assert_eq!(pairs(text), expected.map(|(l, k, v)| (l, k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        assert_eq!(parse("a=b\nc=\\u12"), Err(BadEscape { line: 2 }));
        assert_eq!(parse("a=\\u12x4"), Err(BadEscape { line: 1 }));
        assert_eq!(parse("a=\\u+123"), Err(BadEscape { line: 1 }));
    }
}
