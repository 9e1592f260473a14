//! The command line: one file or folder per subcommand, and what they share.
//!
//! Commands other than `serve` are clients of a broker, Ottla or any other that speaks Kafka's protocol. They run
//! on plain blocking sockets, files and threads: nothing here is on a core's path, and nothing here decides what
//! is durable.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a command is a client, not the broker: it may block, and reads the machine's own clock"
)]

pub mod bench;
pub mod client;
pub mod cluster;
pub mod completion;
pub mod config;
pub mod consume;
pub mod dump;
pub mod failure;
pub mod format;
pub mod group;
pub mod import;
pub mod logdirs;
pub mod offsets;
pub mod output;
pub mod produce;
pub mod records;
pub mod serve;
pub mod topic;
pub mod transaction;
pub mod units;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use failure::Result;
use output::{Format, Style};

/// A Kafka-compatible message broker, and the tools to work with one.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "\
First steps:
  ottla serve                                  run a broker on 127.0.0.1:9092
  ottla topic create orders --partitions 6     make a topic
  echo 'k1:hello' | ottla produce -t orders -K:     write a record with a key
  ottla consume -t orders -e                   read all there is, then end

Every command explains itself: ottla COMMAND --help. Exit codes: 0 done, 1 failed, 2 not understood.")]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Arguments that every command understands.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Where the cluster is: one or more brokers, HOST:PORT, separated by commas
    #[arg(
        short = 'b',
        long,
        global = true,
        help_heading = "For every command",
        env = "OTTLA_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    #[arg(value_name = "HOST:PORT,...")]
    pub bootstrap_server: String,

    /// How results are written
    #[arg(long, global = true, help_heading = "For every command", value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,

    /// Leave out notes and progress on stderr; errors are still told
    #[arg(short, long, global = true, help_heading = "For every command")]
    pub quiet: bool,

    /// How long one request may take
    #[arg(
        long,
        global = true,
        help_heading = "For every command",
        value_name = "MS",
        default_value_t = 30_000,
        hide_short_help = true
    )]
    pub request_timeout_ms: u64,
}

impl Global {
    /// How this command's output is written.
    pub fn style(&self) -> Style {
        Style { format: self.output, quiet: self.quiet }
    }

    /// How long one request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker
    Serve(serve::ServeArgs),
    /// Make, list, describe, alter and delete topics
    Topic(topic::TopicArgs),
    /// Show and change the settings of topics, brokers and the cluster
    Config(config::ConfigArgs),
    /// Show where partitions begin and end, or which record a time leads to
    Offsets(offsets::OffsetsArgs),
    /// List, describe, reset and delete consumer groups
    Group(group::GroupArgs),
    /// List, describe and abort transactions, and find those that hang
    Transaction(transaction::TransactionArgs),
    /// Delete the oldest records of a topic
    Records(records::RecordsArgs),
    /// Show the cluster: its id, brokers, controller, features and quorum
    Cluster(cluster::ClusterArgs),
    /// Show what lies in which log directory, and move it to another
    #[command(name = "logdirs")]
    LogDirs(logdirs::LogDirsArgs),
    /// Write records from standard input or files to a topic
    Produce(produce::ProduceArgs),
    /// Read a topic's records
    Consume(consume::ConsumeArgs),
    /// Show the files of a log directory, and whether they are whole
    Dump(dump::DumpArgs),
    /// Adopt the folders of a stopped Kafka
    Import(import::ImportArgs),
    /// Measure a broker: throughput, latency and CPU time
    Bench(bench::BenchArgs),
    /// Print a script that completes ottla's commands in a shell
    Completion(completion::CompletionArgs),
}

/// Runs the command that the line asks for, and tells how it went.
pub fn run(cli: Cli) -> ExitCode {
    let result = call(cli);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_quiet() {
                let _ = writeln!(std::io::stderr(), "ottla: {failure}");
            }
            ExitCode::from(failure.code())
        }
    }
}

fn call(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(&args, &cli.global),
        Command::Topic(args) => topic::run(&args, &cli.global),
        Command::Config(args) => config::run(&args, &cli.global),
        Command::Offsets(args) => offsets::run(&args, &cli.global),
        Command::Group(args) => group::run(&args, &cli.global),
        Command::Transaction(args) => transaction::run(&args, &cli.global),
        Command::Records(args) => records::run(&args, &cli.global),
        Command::Cluster(args) => cluster::run(&args, &cli.global),
        Command::LogDirs(args) => logdirs::run(&args, &cli.global),
        Command::Produce(args) => produce::run(&args, &cli.global),
        Command::Consume(args) => consume::run(&args, &cli.global),
        Command::Dump(args) => dump::run(&args, cli.global.style()),
        Command::Import(args) => import::run(&args, &cli.global),
        Command::Bench(args) => bench::run(&args, &cli.global),
        Command::Completion(args) => completion::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
