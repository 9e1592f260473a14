//! `ottla transaction`: list, describe and abort transactions, and find those that hang.

mod abort;
mod hanging;

use std::io::Write;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::client::{Client, Fault, Said};
use super::failure::{Failure, Result};
use super::output::{Table, json_line, stdout};
use super::units::{now_ms, seconds};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DescribeTransactionsRequest, DescribeTransactionsTransactionState, ListTransactionsRequest,
};

/// What `ottla transaction` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla transaction list --state Ongoing
  ottla transaction describe payments-1        its producer, since when it is open, and what it holds
  ottla transaction hanging                    open in a partition, and unknown to its coordinator
  ottla transaction abort payments-1           ends what is open, and fences the producer

What ends a transaction shows first what it is, and asks; --yes does it, --dry-run only shows.")]
pub struct TransactionArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TransactionCommand,
}

/// The subcommands of `ottla transaction`.
#[derive(Clone, Debug, Subcommand)]
pub enum TransactionCommand {
    /// List the transactional ids there are
    List(ListArgs),
    /// Show transactional ids: producer, state, timeout, and the partitions of what is open
    Describe(DescribeArgs),
    /// Find transactions that are open in a partition although their coordinator knows of none: readers of committed
    /// records wait for them for ever
    Hanging(hanging::HangingArgs),
    /// Abort an open transaction
    Abort(abort::AbortArgs),
}

/// What `ottla transaction list` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla transaction list
  ottla transaction list --state ongoing --longer-than 60s
  ottla transaction list --id-pattern 'payments-.*' --output json | jq -r .producer_id")]
pub struct ListArgs {
    /// Only ids in this state; may be given several times
    #[arg(long, value_name = "STATE", ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(STATES))]
    pub state: Vec<String>,

    /// Only those of this producer id; may be given several times
    #[arg(long, value_name = "ID")]
    pub producer_id: Vec<i64>,

    /// Only transactions that began so many seconds ago or more
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub longer_than: Option<Duration>,

    /// Only ids that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX")]
    pub id_pattern: Option<String>,
}

/// What `ottla transaction describe` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla transaction describe payments-1
  ottla transaction describe payments-1 payments-2 --output json | jq '{id, state, partitions}'")]
pub struct DescribeArgs {
    /// The transactional ids
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
}

const STATES: [&str; 8] = [
    "CompleteAbort",
    "CompleteCommit",
    "Dead",
    "Empty",
    "Ongoing",
    "PrepareAbort",
    "PrepareCommit",
    "PrepareEpochFence",
];

/// Runs one of the subcommands.
pub fn run(args: &TransactionArgs, global: &Global) -> Result<()> {
    match &args.command {
        TransactionCommand::List(args) => list(args, global),
        TransactionCommand::Describe(args) => describe(args, global),
        TransactionCommand::Hanging(args) => hanging::run(args, global),
        TransactionCommand::Abort(args) => abort::run(args, global),
    }
}

#[derive(Serialize)]
struct Listed {
    id: String,
    producer_id: i64,
    state: String,
}

fn list(args: &ListArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let millis = |longer: Duration| i64::try_from(longer.as_millis()).unwrap_or(i64::MAX);
    let request = ListTransactionsRequest {
        state_filters: args.state.iter().map(|state| as_kafka_writes_it(state)).collect(),
        producer_id_filters: args.producer_id.clone(),
        duration_filter: args.longer_than.map_or(-1, millis),
        transactional_id_pattern: args.id_pattern.clone(),
    };
    let (listed, unknown) = client.list_transactions(&request)?;
    if !unknown.is_empty() {
        global.style().note(format!("the cluster knows no state {}", unknown.join(", ")));
    }
    let mut out = stdout();
    let mut table = Table::new(&["ID", ">PRODUCER ID", "STATE"]);
    let none = listed.is_empty();
    for one in listed {
        let one =
            Listed { id: one.transactional_id, producer_id: one.producer_id, state: one.transaction_state };
        match global.style().json() {
            true => json_line(&mut out, &one)?,
            false => table.row([one.id, one.producer_id.to_string(), one.state]),
        }
    }
    if !global.style().json() {
        match none {
            true => global.style().note("there are no such transactional ids"),
            false => table.write(&mut out, 0)?,
        }
    }
    Ok(out.flush()?)
}

/// The state of this name: brokers know it in one spelling.
fn as_kafka_writes_it(name: &str) -> String {
    let known = STATES.into_iter().find(|state| state.eq_ignore_ascii_case(name));
    known.unwrap_or(name).to_owned()
}

/// A transactional id.
#[derive(Clone, Debug, Serialize)]
struct Described {
    id: String,
    coordinator: i32,
    state: String,
    producer_id: i64,
    producer_epoch: i16,
    timeout_ms: i32,
    /// When the open transaction began, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_ms: Option<i64>,
    partitions: Vec<String>,
}

/// What is known of transactional ids, in the order in which they were named.
fn look(client: &mut Client, ids: &[String]) -> Result<Said<Described>, Fault> {
    let mut found = client.transactions(ids, |connection, ids| {
        let answer = connection.call(&DescribeTransactionsRequest { transactional_ids: ids.to_vec() })?;
        let said = answer.transaction_states.into_iter().map(|state| {
            let doing = format!("asking for transactional id {}", state.transactional_id);
            let told = match state.error_code {
                ErrorCode::NONE => Ok(state.clone()),
                code => Err(Fault::refused(doing, code, None)),
            };
            (state.transactional_id, told)
        });
        Ok(said.collect())
    })?;
    let mut all = Vec::new();
    for id in ids {
        if let Some(answered) = found.remove(id) {
            let coordinator = answered.coordinator;
            all.push((id.clone(), answered.result.map(|state| described(state, coordinator))));
        }
    }
    Ok(all)
}

fn described(state: DescribeTransactionsTransactionState, coordinator: i32) -> Described {
    let parts = |topic: &crate::wire::schema::DescribeTransactionsTopicData| {
        topic.partitions.iter().map(|p| format!("{}-{p}", topic.topic)).collect::<Vec<_>>()
    };
    Described {
        id: state.transactional_id,
        coordinator,
        state: state.transaction_state,
        producer_id: state.producer_id,
        producer_epoch: state.producer_epoch,
        timeout_ms: state.transaction_timeout_ms,
        started_ms: Some(state.transaction_start_time_ms).filter(|started| *started >= 0),
        partitions: state.topics.iter().flat_map(parts).collect(),
    }
}

fn describe(args: &DescribeArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let mut out = stdout();
    let (mut faults, mut all) = (Vec::new(), Vec::new());
    for (_, found) in look(&mut client, &args.ids)? {
        match found {
            Ok(one) => all.push(one),
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    write(&mut out, &all, global)?;
    out.flush()?;
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(faults.join("\n"))
            .advice("'ottla transaction list' shows the transactional ids there are.")),
    }
}

fn write(out: &mut impl Write, all: &[Described], global: &Global) -> Result<()> {
    for (n, one) in all.iter().enumerate() {
        if global.style().json() {
            json_line(out, one)?;
            continue;
        }
        if n > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}: {}", one.id, one.state)?;
        writeln!(out, "  producer     id {}, epoch {}", one.producer_id, one.producer_epoch)?;
        writeln!(out, "  timeout      {} ms", one.timeout_ms)?;
        writeln!(out, "  coordinator  broker {}", one.coordinator)?;
        if let Some(started) = one.started_ms {
            let age = Duration::from_millis(now_ms().saturating_sub(started).max(0) as u64);
            writeln!(out, "  began        {:.1} s ago", age.as_secs_f64())?;
        }
        if !one.partitions.is_empty() {
            writeln!(out, "  partitions   {}", one.partitions.join(", "))?;
        }
    }
    Ok(())
}
