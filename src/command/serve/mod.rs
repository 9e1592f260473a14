//! `ottla serve`: from arguments and files to a running node, and the account of it.

mod account;
mod args;
mod setup;

use std::sync::{Arc, Mutex};

pub use args::{Cores, ServeArgs, TopicPartition};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::Global;
use super::failure::{Failure, Result};
use crate::broker::loggers::{Level, Levels, Loggers};
use crate::broker::node::{self, Event};
use crate::reactor::real;

/// Names the log lines that are wanted, in the way of Rust's tracing: `debug`, `ottla::broker=trace`.
const LOG_FILTER: &str = "OTTLA_LOG";

/// Runs a broker until it is asked to stop.
pub fn run(args: &ServeArgs, global: &Global) -> Result<()> {
    let host = real::check().map_err(Failure::new)?;
    let mut setup = setup::read(args, &host)?;
    setup.node.loggers = start_logging(global.quiet);
    let account = account::Account::new(global.style(), &host, &setup);
    account.begin();
    let outcome = Arc::new(Mutex::new(Ok(())));
    let ended = outcome.clone();
    let report = move |event| match event {
        Event::Ended(ref result) => {
            account.tell(&event);
            *ended.lock().expect("nobody panics while holding it") = result.clone();
        }
        event => account.tell(&event),
    };
    let cores = node::cores(setup.node, Box::new(report));
    real::run(cores).map_err(|error| Failure::new(format!("the broker cannot start: {error}")))?;
    let outcome = outcome.lock().expect("nobody panics while holding it").clone();
    outcome.map_err(Failure::new)
}

/// Log lines go to stderr, those that the loggers let through.
fn start_logging(quiet: bool) -> Arc<Loggers> {
    let given = std::env::var(LOG_FILTER).ok().and_then(|text| text.parse::<Targets>().ok());
    let levels = match given {
        Some(targets) => levels(&targets),
        None if quiet => Levels::new(Level::Error, []),
        None => Levels::new(Level::Info, []),
    };
    let (filter, handle) = reload::Layer::new(targets(&levels));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // Where stderr cannot be written, the reason cannot be written there either.
        .log_internal_errors(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let apply = move |levels: &Levels| {
        // It fails where the subscriber is gone, which lives as long as the process.
        let _ = handle.reload(targets(levels));
    };
    Arc::new(Loggers::new(levels, Box::new(apply)))
}

/// The levels that a filter of Rust's tracing names.
fn levels(targets: &Targets) -> Levels {
    let level = |filter: LevelFilter| match filter.into_level() {
        None => Level::Fatal,
        Some(tracing::Level::ERROR) => Level::Error,
        Some(tracing::Level::WARN) => Level::Warn,
        Some(tracing::Level::INFO) => Level::Info,
        Some(tracing::Level::DEBUG) => Level::Debug,
        Some(tracing::Level::TRACE) => Level::Trace,
    };
    let root = targets.default_level().map_or(Level::Error, level);
    Levels::new(root, targets.iter().map(|(target, filter)| (target.replace("::", "."), level(filter))))
}

/// The filter that lets through what the levels say.
fn targets(levels: &Levels) -> Targets {
    let filter = |level: Level| match level {
        Level::Fatal => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let some = levels.all().map(|(logger, level)| (logger.replace('.', "::"), filter(level)));
    Targets::new().with_targets(some).with_default(filter(levels.root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_and_its_levels_say_the_same() {
        let given: Targets = "warn,ottla::broker=debug,rustls=off".parse().unwrap();
        let levels = levels(&given);
        assert_eq!(levels.root(), Level::Warn);
        let both = targets(&levels);
        for (target, level) in [
            ("ottla::broker::cleaner", tracing::Level::DEBUG),
            ("ottla::broker::cleaner", tracing::Level::TRACE),
            ("ottla::reactor::real::lock", tracing::Level::WARN),
            ("ottla::reactor::real::lock", tracing::Level::INFO),
            ("rustls::client", tracing::Level::ERROR),
            ("other", tracing::Level::WARN),
            ("other", tracing::Level::INFO),
        ] {
            let (before, after) = (given.would_enable(target, &level), both.would_enable(target, &level));
            assert_eq!(before, after, "{target} {level}");
        }
        assert_eq!(super::levels(&"ottla=info".parse().unwrap()).root(), Level::Error);
    }
}
