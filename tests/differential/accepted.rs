//! The list of accepted differences.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::pair::Found;

/// How many there may be.
const MOST: usize = 20;

/// One line of the list: `API | field | ours | stock Kafka's | what is asked | reason`; `*` stands for anything.
struct Line {
    parts: Vec<&'static str>,
}

pub struct Accepted {
    lines: Vec<Line>,
    /// How often each line was met, and by what.
    met: RefCell<BTreeMap<usize, BTreeMap<String, u64>>>,
}

impl Accepted {
    pub fn read() -> Accepted {
        let lines =
            include_str!("accepted.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines = lines.map(|line| Line { parts: line.split('|').map(str::trim).collect() });
        let lines: Vec<Line> = lines.collect();
        assert!(
            lines.iter().all(|line| line.parts.len() == 6 && !line.parts[5].is_empty()),
            "a line has six parts"
        );
        assert!(lines.len() <= MOST, "{} differences are too many", lines.len());
        Accepted { lines, met: RefCell::default() }
    }

    /// Whether each place in which the answers differ is in the list.
    pub fn covers(&self, found: &Found) -> bool {
        let line = |d: &crate::value::Difference| {
            self.lines.iter().position(|line| {
                let said = [found.asked.api.name(), d.path.as_str(), d.ours.as_str(), d.stock.as_str()];
                let asked = line.parts[4].split('/').map(str::trim);
                let why = line.parts[4] == "*" || asked.into_iter().any(|why| found.asked.why.contains(&why));
                why && line.parts.iter().zip(said).all(|(wanted, said)| fits(wanted, said))
            })
        };
        // Where the whole is refused, or stock Kafka fails at one partition, there is nothing else to compare.
        let whole = found.differences.iter().find(|d| d.path == ".error_code" || d.path.is_empty());
        let all: Vec<&crate::value::Difference> =
            whole.map_or(found.differences.iter().collect(), |d| vec![d]);
        let stumbled = all.iter().find(|d| d.stock == "UNKNOWN_SERVER_ERROR").map(|d| d.path.as_str());
        let part = stumbled.and_then(|path| path.strip_suffix("error_code")).unwrap_or("nowhere");
        let told = all.iter().filter(|d| d.path.ends_with("error_code") || !d.path.starts_with(part));
        let lines: Option<Vec<(usize, String)>> = told
            .map(|d| {
                Some((
                    line(d)?,
                    format!("{} {} {} {}", found.asked.api, d.path, short(&d.ours), short(&d.stock)),
                ))
            })
            .collect();
        let Some(lines) = lines else { return false };
        let mut met = self.met.borrow_mut();
        for (line, what) in lines {
            *met.entry(line).or_default().entry(what).or_default() += 1;
        }
        true
    }

    pub fn tell(&self) {
        for (at, line) in self.lines.iter().enumerate() {
            let met = self.met.borrow().get(&at).cloned().unwrap_or_default();
            println!("{:>6} times: {}", met.values().sum::<u64>(), line.parts.join(" | "));
            if std::env::var("OTTLA_DETAILS").is_ok() {
                met.iter().for_each(|(what, times)| println!("        {times:>6}: {what}"));
            }
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// One of several texts, separated by slashes; with a star at its end, the beginning of one.
fn fits(wanted: &str, said: &str) -> bool {
    wanted.split('/').map(str::trim).any(|wanted| match wanted.strip_suffix('*') {
        Some(begin) => said.starts_with(begin),
        None => wanted.strip_prefix('*').map_or(wanted == said, |end| said.ends_with(end)),
    })
}
