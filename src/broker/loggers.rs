//! Loggers: what of the broker's log is wanted, room by room, and changed while it runs.
//!
//! A logger is named as the room that writes, with dots: `ottla.broker.cleaner`. One without a level of its own has
//! that of the room around it, and at last that of `root`. As in Kafka, levels are those of one process: they are
//! gone when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

use crate::controller::Refusal;
use crate::wire::error::ErrorCode;
use crate::wire::schema::IncrementalAlterableConfig;

/// The logger that all others come from.
pub const ROOT: &str = "root";

/// The rooms that write to the log, and those around them.
const ROOMS: &[&str] = &[
    "ottla",
    "ottla.broker",
    "ottla.broker.api",
    "ottla.broker.api.create_topics",
    "ottla.broker.boot",
    "ottla.broker.cleaner",
    "ottla.broker.connection",
    "ottla.broker.controller",
    "ottla.broker.coordinator",
    "ottla.broker.coordinator.seat",
    "ottla.broker.delete_records",
    "ottla.broker.dirs",
    "ottla.broker.lifecycle",
    "ottla.broker.list_offsets",
    "ottla.broker.listener",
    "ottla.broker.log_dir",
    "ottla.broker.loggers",
    "ottla.broker.node",
    "ottla.broker.node.head",
    "ottla.broker.open",
    "ottla.broker.producer_ids",
    "ottla.broker.producer_state",
    "ottla.broker.producers",
    "ottla.broker.read_cache",
    "ottla.broker.relocate",
    "ottla.broker.replica",
    "ottla.broker.segment_read",
    "ottla.broker.upkeep",
    "ottla.command.serve.account",
    "ottla.reactor",
    "ottla.reactor.real.lock",
];

/// How much a logger tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing: a broker that dies says why when it ends, whatever the levels.
    Fatal,
    /// What went wrong.
    Error,
    /// And what may go wrong.
    Warn,
    /// And what an operator may like to know.
    Info,
    /// And what helps to find out why.
    Debug,
    /// And everything else.
    Trace,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; 6] =
        [Level::Fatal, Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        }
    }

    /// The level of this name, which is in capitals.
    pub fn named(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The level of each logger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    root: Level,
    set: BTreeMap<String, Level>,
    known: BTreeSet<String>,
}

impl Levels {
    /// The levels with which a process starts: those of some loggers, and of all others. A name that is no room of
    /// Ottla's, as that of a library, is a logger from then on.
    pub fn new(root: Level, some: impl IntoIterator<Item = (String, Level)>) -> Levels {
        let set: BTreeMap<String, Level> = some.into_iter().collect();
        let known = ROOMS.iter().map(|room| (*room).to_owned()).chain(set.keys().cloned()).collect();
        Levels { root, set, known }
    }

    /// Each logger but the root with the level that holds for it, sorted by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, Level)> {
        self.known.iter().map(move |logger| (logger.as_str(), self.of(logger)))
    }

    /// The level of the root.
    pub fn root(&self) -> Level {
        self.root
    }

    fn of(&self, logger: &str) -> Level {
        let mut name = logger;
        loop {
            match (self.set.get(name), name.rsplit_once('.')) {
                (Some(level), _) => return *level,
                (None, Some((around, _))) => name = around,
                (None, None) => return self.root,
            }
        }
    }

    /// These levels after changes: all of them, or why there are none.
    pub fn changed(&self, changes: &[IncrementalAlterableConfig]) -> Result<Levels, Refusal> {
        let mut after = self.clone();
        for change in changes {
            after.change(change)?;
        }
        Ok(after)
    }

    fn change(&mut self, change: &IncrementalAlterableConfig) -> Result<(), Refusal> {
        let logger = &change.name;
        match change.config_operation {
            0 => {
                self.check(logger)?;
                let text = change.value.as_deref().unwrap_or_default();
                let level = Level::named(text).ok_or_else(|| unsupported(logger, text))?;
                match logger == ROOT {
                    true => self.root = level,
                    false => drop(self.set.insert(logger.clone(), level)),
                }
            }
            1 => {
                self.check(logger)?;
                if logger == ROOT {
                    let what = format!("Removing the log level of the {ROOT} logger is not allowed");
                    return Err(Refusal::new(ErrorCode::INVALID_REQUEST, what));
                }
                self.set.remove(logger);
            }
            other => {
                let verb = match other {
                    2 => "APPEND operation".to_owned(),
                    3 => "SUBTRACT operation".to_owned(),
                    _ => format!("Unknown operation type {other}"),
                };
                let what = format!("{verb} is not allowed for the BROKER_LOGGER resource");
                return Err(Refusal::new(ErrorCode::INVALID_REQUEST, what));
            }
        }
        Ok(())
    }

    fn check(&self, logger: &str) -> Result<(), Refusal> {
        if logger == ROOT || self.known.contains(logger) {
            return Ok(());
        }
        let meant = crate::config::nearest::did_you_mean(logger, self.known.iter().map(String::as_str));
        let what = format!("Logger {logger} does not exist!{meant}");
        Err(Refusal::new(ErrorCode::INVALID_CONFIG, what))
    }
}

fn unsupported(logger: &str, level: &str) -> Refusal {
    let mut names = Level::ALL.map(Level::name);
    names.sort_unstable();
    let what = format!(
        "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are {}",
        names.join(", ")
    );
    Refusal::new(ErrorCode::INVALID_CONFIG, what)
}

/// Has a process log by these levels from now on.
pub type Apply = Box<dyn Fn(&Levels) + Send + Sync>;

/// The loggers of a process, for all of its cores. They are looked at and changed by requests for them alone: what is
/// written to the log goes by what was applied.
pub struct Loggers {
    levels: Mutex<Levels>,
    apply: Apply,
}

impl Loggers {
    /// Loggers with these levels, which are in force.
    pub fn new(levels: Levels, apply: Apply) -> Loggers {
        Loggers { levels: Mutex::new(levels), apply }
    }

    /// The levels.
    pub fn levels(&self) -> Levels {
        self.levels.lock().expect("nobody panics while holding it").clone()
    }

    /// Makes changes hold at once: all of them, or none.
    pub fn change(&self, changes: &[IncrementalAlterableConfig]) -> Result<(), Refusal> {
        {
            let mut levels = self.levels.lock().expect("nobody panics while holding it");
            *levels = levels.changed(changes)?;
            (self.apply)(&levels);
        }
        for change in changes {
            match &change.value {
                Some(level) => tracing::warn!("the log level of {} is {level} from now on", change.name),
                None => tracing::warn!("the log level of {} is that of the room around it", change.name),
            }
        }
        Ok(())
    }
}

impl Default for Loggers {
    /// Loggers of a process that writes no log, or that others decide for.
    fn default() -> Self {
        Loggers::new(Levels::new(Level::Info, []), Box::new(|_| {}))
    }
}

impl fmt::Debug for Loggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.levels.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn change(name: &str, config_operation: i8, value: Option<&str>) -> IncrementalAlterableConfig {
        IncrementalAlterableConfig {
            name: name.to_owned(),
            config_operation,
            value: value.map(str::to_owned),
        }
    }

    fn set(name: &str, level: &str) -> IncrementalAlterableConfig {
        change(name, 0, Some(level))
    }

    fn level(levels: &Levels, logger: &str) -> &'static str {
        levels.all().find(|(name, _)| *name == logger).map_or("none", |(_, level)| level.name())
    }

    #[test]
    fn a_logger_without_a_level_has_that_of_the_room_around_it() {
        let levels = Levels::new(Level::Warn, [("rustls".to_owned(), Level::Error)]);
        let broker = levels.changed(&[set("ottla.broker", "DEBUG")]).unwrap();
        assert_eq!(level(&broker, "ottla.broker.cleaner"), "DEBUG");
        assert_eq!(level(&broker, "ottla.broker.node.head"), "DEBUG");
        assert_eq!([level(&broker, "ottla"), level(&broker, "ottla.reactor")], ["WARN", "WARN"]);
        assert_eq!(level(&broker, "rustls"), "ERROR");
        let one = broker.changed(&[set("ottla.broker.cleaner", "FATAL"), set(ROOT, "TRACE")]).unwrap();
        assert_eq!(level(&one, "ottla.broker.cleaner"), "FATAL");
        assert_eq!(level(&one, "ottla.broker.open"), "DEBUG");
        assert_eq!((one.root(), level(&one, "ottla.reactor")), (Level::Trace, "TRACE"));
        let gone =
            one.changed(&[change("ottla.broker", 1, None), change("ottla.broker.cleaner", 1, None)]).unwrap();
        assert_eq!(level(&gone, "ottla.broker.cleaner"), "TRACE");
    }

    #[test]
    fn what_is_wrong_is_refused_and_changes_nothing() {
        let applied = Arc::new(Mutex::new(0));
        let seen = applied.clone();
        let apply = move |_: &Levels| *seen.lock().unwrap() += 1;
        let loggers = Loggers::new(Levels::new(Level::Info, []), Box::new(apply));
        let good = set("ottla.broker", "DEBUG");
        for bad in [
            set("ottla.brokers", "DEBUG"),
            set("", "DEBUG"),
            set(ROOT, "debug"),
            set(ROOT, "OFF"),
            change(ROOT, 1, None),
            change(ROOT, 2, Some("INFO")),
            change(ROOT, 7, Some("INFO")),
        ] {
            let before = loggers.levels();
            let what = format!("{bad:?}");
            assert!(loggers.change(&[good.clone(), bad]).is_err(), "{what}");
            assert_eq!(loggers.levels(), before, "{what}");
        }
        assert_eq!(*applied.lock().unwrap(), 0);
        loggers.change(&[good]).unwrap();
        assert_eq!(*applied.lock().unwrap(), 1);
    }

    /// Every file that writes to the log has its logger, and no other room has one.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "looks at the sources")]
    fn the_rooms_are_those_that_write() {
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut folders, mut writers) = (vec![sources.clone()], BTreeSet::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap_or_default();
                let words = ["error", "warn", "info", "debug", "trace"].map(|w| format!("tracing::{w}!("));
                if words.iter().any(|word| text.contains(word)) {
                    let file = path.strip_prefix(&sources).unwrap().with_extension("");
                    let parts = file.iter().filter(|part| *part != "mod").map(|part| part.to_str().unwrap());
                    let logger: Vec<&str> = std::iter::once("ottla").chain(parts).collect();
                    writers.insert(logger.join("."));
                }
            }
        }
        for logger in &writers {
            assert!(ROOMS.contains(&logger.as_str()), "{logger} writes to the log, and is no logger");
        }
        for room in ROOMS {
            let within = |writer: &String| {
                writer.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            assert!(writers.iter().any(within), "nothing of {room} writes to the log");
        }
        assert!(ROOMS.is_sorted());
    }
}
