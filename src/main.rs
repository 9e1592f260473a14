//! Reads the command line and calls one command.

use std::process::ExitCode;

use clap::Parser;
use ottla::command::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
