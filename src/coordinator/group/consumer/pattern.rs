//! A regular expression by which members subscribe.
//!
//! Clients write them for RE2, and they match whole names. The engine here reads nearly the same language and is as
//! safe: the time of a match is linear. What it would read in another way is rewritten first: text between `\Q` and
//! `\E`; a brace that is no repetition; in a class, a bracket and doubled signs that are none of RE2's operators.
//! What is left of differences: `\C` is not known here, and `(?x)` is.

use regex::{Regex, RegexBuilder};

use crate::limits;

/// A pattern that can be matched.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern; says why not if that cannot be.
    pub fn new(text: &str) -> Result<Pattern, String> {
        // By itself first: else its brackets could close ours.
        let inner = rewritten(text);
        let built = build(&inner).and_then(|_| build(&format!(r"\A(?:{inner})\z")));
        // The engine draws the place with spaces and signs over several lines; the last says what is wrong.
        built.map(Pattern).map_err(|error| {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string()
        })
    }

    /// Whether it matches all of the name.
    pub fn is_match(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

fn build(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .octal(true)
        .nest_limit(100)
        .size_limit(limits::PATTERN_BYTES)
        .dfa_size_limit(limits::PATTERN_BYTES)
        .build()
}

/// The same in the language of the engine.
fn rewritten(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Within a class: whether nothing has come that could be its last.
    let mut class: Option<bool> = None;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (quoted, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(quoted));
            rest = after;
            class = class.map(|_| false);
            continue;
        } else if c == '\\' {
            taken += rest[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..taken]);
            class = class.map(|_| false);
        } else if let Some(is_first) = class {
            match c {
                ']' if !is_first => class = None,
                ']' => out.push('\\'),
                '[' => match rest.starts_with("[:").then(|| rest.find(":]")).flatten() {
                    Some(end) => taken = end + 2,
                    None => out.push('\\'),
                },
                '&' | '~' | '-' if rest[taken..].starts_with(c) => out.push('\\'),
                _ => {}
            }
            class = class.map(|_| false);
            out.push_str(&rest[..taken]);
        } else {
            match c {
                '[' => {
                    taken += usize::from(rest[1..].starts_with('^'));
                    class = Some(true);
                }
                '{' if !is_repetition(rest) => out.push('\\'),
                _ => {}
            }
            out.push_str(&rest[..taken]);
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether it begins with `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(text: &str) -> bool {
    let Some((inside, _)) = text[1..].split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match inside.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(inside),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, yes, no) in [
            ("a.*", "abc", "ba"),
            ("a|b", "b", "ab"),
            (r"\Qa.b\E+", "a.bb", "axb"),
            ("a{,2}", "a{,2}", "aa"),
            ("a{2}", "aa", "a{2}"),
            ("[[a]+", "[a", "b"),
            ("[]a]+", "]a", "b"),
            ("[^]a]", "b", "]"),
            ("[[:digit:]x]+", "1x", ":"),
            ("[a&&b]+", "a&b", "c"),
            (r"(?i)T\d\.[\w-]+", "t1.a-b", "t.a"),
            ("(?P<n>x)y", "xy", "x"),
            ("a$", "a", "a$"),
            ("", "", "a"),
        ] {
            let read = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(read.is_match(yes) && !read.is_match(no), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for pattern in ["[", "(a", "a)(", "*", r"\8", "(?=a)", "((a{1000}){1000}){1000}"] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert!(!error.is_empty() && !error.contains('\n'), "{pattern}: {error}");
        }
    }
}
