//! `ottla serve`: from arguments and files to a running node, and the account of it.

mod account;
mod args;
mod setup;

use std::sync::{Arc, Mutex};

pub use args::{Cores, ServeArgs, TopicPartition};
use tracing_subscriber::EnvFilter;

use super::Global;
use super::failure::{Failure, Result};
use crate::broker::node::{self, Event};
use crate::reactor::real;

/// Names the log lines that are wanted, in the way of Rust's tracing: `debug`, `ottla::broker=trace`.
const LOG_FILTER: &str = "OTTLA_LOG";

/// Runs a broker until it is asked to stop.
pub fn run(args: &ServeArgs, global: &Global) -> Result<()> {
    let host = real::check().map_err(Failure::new)?;
    let setup = setup::read(args, &host)?;
    start_logging(global.quiet);
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

/// Log lines go to stderr.
fn start_logging(quiet: bool) {
    let default = if quiet { "error" } else { "info" };
    let filter = EnvFilter::try_from_env(LOG_FILTER).unwrap_or_else(|_| EnvFilter::new(default));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Where stderr cannot be written, the reason cannot be written there either.
        .log_internal_errors(false)
        .with_ansi(is_terminal)
        .with_target(false)
        .init();
}
