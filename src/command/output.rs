//! Where a command's results go: text for a person, JSON for a program, progress for a terminal.

use std::io::{self, BufRead, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::failure::{Failure, Result};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person to read.
    #[default]
    Text,
    /// For a program to read: one JSON value per line.
    Json,
}

/// What every command may be told about its output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Text or JSON.
    pub format: Format,
    /// Whether notes and progress on stderr are left out.
    pub quiet: bool,
}

impl Style {
    /// Whether results are JSON.
    pub fn json(self) -> bool {
        self.format == Format::Json
    }

    /// Tells a person something beside the results.
    pub fn note(self, message: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("% {message}");
        }
    }
}

/// Standard output, buffered.
pub fn stdout() -> BufWriter<io::Stdout> {
    BufWriter::with_capacity(64 << 10, io::stdout())
}

/// Whether standard output is a pipe whose reader has gone. A command that waits for more to write asks this now
/// and then, else `ottla consume | head` would wait for ever.
pub fn reader_is_gone() -> bool {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // SAFETY: one descriptor is told, and it outlives the call, which does not wait.
    let ready = unsafe { libc::poll(&mut stdout, 1, 0) };
    ready == 1 && stdout.revents & libc::POLLERR != 0
}

/// Asks a person; where there is none to ask, or he does not say yes, nothing is done, and `refusal` says so.
pub fn confirm(question: &str, refusal: &str) -> Result<()> {
    let refused = || Failure::usage(refusal);
    if !io::stdin().is_terminal() {
        return Err(refused().advice("In a script, give --yes."));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(refused()),
    }
}

/// Writes one value as a line of JSON.
pub fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; a heading that starts with `>` makes its column flush right.
    pub fn new(headings: &[&str]) -> Table {
        Table {
            right: headings.iter().map(|h| h.starts_with('>')).collect(),
            rows: vec![headings.iter().map(|h| h.trim_start_matches('>').to_string()).collect()],
        }
    }

    /// Adds a row; it has a cell for each heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().collect();
        assert_eq!(row.len(), self.right.len(), "a row has a cell for each heading");
        self.rows.push(row);
    }

    /// Writes the table, indented by `indent` spaces.
    pub fn write(&self, out: &mut impl Write, indent: usize) -> io::Result<()> {
        let mut widths = vec![0; self.right.len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (column, cell) in row.iter().enumerate() {
                let gap = " ".repeat(widths[column] - cell.chars().count());
                if column > 0 {
                    line.push_str("  ");
                }
                if self.right[column] {
                    line.push_str(&gap);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&gap);
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// How often a progress line is drawn again.
const REDRAW: Duration = Duration::from_millis(200);

/// A progress line on stderr. Shown only on a terminal, only unless quiet, and gone when the work is done.
#[derive(Debug)]
pub struct Progress {
    total: Option<u64>,
    unit: Unit,
    started: Instant,
    drawn: Option<Instant>,
    shown: bool,
    beside: String,
}

/// What a progress line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as kB, MB and GB.
    Bytes,
    /// Records.
    Records,
}

impl Progress {
    /// A line that counts up to `total`, where it is known.
    pub fn new(style: Style, unit: Unit, total: Option<u64>) -> Progress {
        Progress {
            total,
            unit,
            started: Instant::now(),
            drawn: None,
            shown: !style.quiet && io::stderr().is_terminal(),
            beside: String::new(),
        }
    }

    /// Tells how far the work has come. Cheap enough for each step.
    pub fn at(&mut self, done: u64) {
        if !self.shown {
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.drawn.unwrap_or(self.started)) < REDRAW {
            return;
        }
        self.drawn = Some(now);
        let line = self.line(done, now.duration_since(self.started));
        // A terminal that cannot be written to has nobody to tell about it.
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// What stands beside the count from now on.
    pub fn beside(&mut self, text: String) {
        self.beside = text;
    }

    /// Takes the line away.
    pub fn finish(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, done: u64, passed: Duration) -> String {
        let rate = (done as f64 / passed.as_secs_f64().max(1e-9)) as u64;
        let (done_text, rate_text) = match self.unit {
            Unit::Bytes => (human_bytes(done), human_bytes(rate)),
            Unit::Records => (format!("{done} records"), format!("{rate}")),
        };
        let Some(total) = self.total.filter(|t| *t > 0) else {
            return format!("{done_text}  {}{rate_text}/s", self.beside_text());
        };
        const WIDTH: usize = 30;
        let part = (done as f64 / total as f64).min(1.0);
        let full = (part * WIDTH as f64) as usize;
        let left = match rate {
            0 => String::new(),
            _ => format!("  {} s left", total.saturating_sub(done) / rate),
        };
        format!(
            "[{}{}] {:3.0} %  {done_text}  {}{rate_text}/s{left}",
            "#".repeat(full),
            ".".repeat(WIDTH - full),
            part * 100.0,
            self.beside_text()
        )
    }

    fn beside_text(&self) -> String {
        if self.beside.is_empty() { String::new() } else { format!("{}  ", self.beside) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Bytes as a person reads them; kB, MB and GB are powers of 1000.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Milliseconds since 1970 as a person reads them, in UTC.
pub fn human_time(ms: i64) -> String {
    let days = ms.div_euclid(86_400_000);
    let in_day = ms.rem_euclid(86_400_000);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        in_day / 3_600_000,
        in_day / 60_000 % 60,
        in_day / 1000 % 60,
        in_day % 1000
    )
}

/// The year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day comes last; 400 of them have 146,097 days.
    let from_march = days + 719_468;
    let era = from_march.div_euclid(146_097);
    let day_of_era = from_march.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(&["topic", ">partitions"]);
        table.row(["orders".into(), "16".into()]);
        table.row(["a-longer-name".into(), "1".into()]);
        let mut out = Vec::new();
        table.write(&mut out, 1).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            " topic          partitions\n orders                 16\n a-longer-name           1\n"
        );
    }

    #[test]
    fn bytes_are_powers_of_a_thousand() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1000), "1.0 kB");
        assert_eq!(human_bytes(999_999), "1.0 MB");
        assert_eq!(human_bytes(1_500_000_000), "1.5 GB");
    }

    #[test]
    fn times_follow_the_calendar() {
        assert_eq!(human_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(human_time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(human_time(1_735_689_599_999), "2024-12-31T23:59:59.999Z");
        assert_eq!(human_time(-1), "1969-12-31T23:59:59.999Z");
    }
}
