//! How a command fails: what happened, where, and what to do next.

use std::fmt;
use std::io;

/// The exit code of a command that was used well but could not do its work.
pub const FAILED: u8 = 1;
/// The exit code of a command that was not understood.
pub const USAGE: u8 = 2;

/// Why a command ends without having done all of its work.
#[derive(Debug)]
pub struct Failure {
    what: String,
    advice: Option<String>,
    code: u8,
    quiet: bool,
}

/// What a command returns.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that says what happened, and where.
    pub fn new(what: impl fmt::Display) -> Failure {
        Failure { what: what.to_string(), advice: None, code: FAILED, quiet: false }
    }

    /// The arguments do not make sense together or cannot be read.
    pub fn usage(what: impl fmt::Display) -> Failure {
        Failure { code: USAGE, ..Failure::new(what) }
    }

    /// A failure whose account the command has already written: the exit code alone is left to tell.
    pub fn already_told() -> Failure {
        Failure { quiet: true, ..Failure::new("") }
    }

    /// Adds what to do next.
    pub fn advice(mut self, advice: impl fmt::Display) -> Failure {
        self.advice = Some(advice.to_string());
        self
    }

    /// Puts where or during what it happened in front.
    pub fn context(mut self, place: impl fmt::Display) -> Failure {
        self.what = format!("{place}: {}", self.what);
        self
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Whether there is nothing left to say.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

/// Output that nobody reads any more (`ottla consume | head`) ends a command without a word.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure { code: 0, quiet: true, ..Failure::new("") }
        } else {
            Failure::new(error)
        }
    }
}

/// Adds a place to the error of an operation.
pub trait At<T> {
    /// Says in front of the error where it happened.
    fn at(self, place: impl fmt::Display) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, place: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Failure::new(format!("{place}: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_what_to_do() {
        let failure =
            Failure::new("connection refused").context("127.0.0.1:9092").advice("Is a broker running there?");
        assert_eq!(failure.to_string(), "127.0.0.1:9092: connection refused\n  Is a broker running there?");
        assert_eq!(failure.code(), FAILED);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_quiet());
        assert_eq!(failure.code(), 0);
    }
}
