//! `ottla logdirs`: what lies in which log directory, and moving it to another.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::client::{Client, Fault};
use super::cluster::broker_ids;
use super::failure::{Failure, Result};
use super::offsets::chosen;
use super::output::{Progress, Table, Unit, human_bytes, json_line, stdout};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest, DescribableLogDirTopic,
    DescribeLogDirsRequest, DescribeLogDirsResult,
};

/// How often it is looked how far a move has come.
const LOOK: Duration = Duration::from_millis(200);

/// What `ottla logdirs` understands.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  ottla logdirs                                     each broker's log directories, their room and what they hold
  ottla logdirs --partitions                        partition by partition, the largest first
  ottla logdirs move orders -p 3 --to /disk2/data   partition 3 of orders goes to another disk of its broker")]
pub struct LogDirsArgs {
    /// What to do; shows the directories where nothing is said
    #[command(subcommand)]
    pub command: Option<LogDirsCommand>,

    /// Only this broker; may be given several times
    #[arg(long, value_name = "ID")]
    pub broker: Vec<i32>,

    /// Show every partition with its size
    #[arg(long)]
    pub partitions: bool,
}

/// The subcommands of `ottla logdirs`.
#[derive(Clone, Debug, Subcommand)]
pub enum LogDirsCommand {
    /// Move replicas to another log directory of their broker, while they serve
    Move(MoveArgs),
}

/// What `ottla logdirs move` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla logdirs move orders --to /disk2/data            all partitions of orders that the broker holds
  ottla logdirs move orders -p 3 -p 4 --to /disk2/data --no-wait")]
pub struct MoveArgs {
    /// The topic's name
    #[arg(value_name = "TOPIC")]
    pub name: String,

    /// The log directory to move to, as the broker names it
    #[arg(long, value_name = "DIR")]
    pub to: String,

    /// Only this partition; may be given several times
    #[arg(short, long, value_name = "N")]
    pub partition: Vec<i32>,

    /// The broker whose replicas are moved; needed where there are several
    #[arg(long, value_name = "ID")]
    pub broker: Option<i32>,

    /// Do not wait until they lie there
    #[arg(long)]
    pub no_wait: bool,
}

/// Runs the command.
pub fn run(args: &LogDirsArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    // Each broker is asked for itself: this tells where they are.
    client.metadata(Some(&[]), false)?;
    match &args.command {
        Some(LogDirsCommand::Move(moved)) => relocate(&mut client, moved, global),
        None => show(&mut client, args, global),
    }
}

#[derive(Serialize)]
struct Told {
    broker: i32,
    log_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    partitions: usize,
    bytes: i64,
    usable_bytes: Option<i64>,
    total_bytes: Option<i64>,
}

#[derive(Serialize)]
struct Replica {
    broker: i32,
    log_dir: String,
    topic: String,
    partition: i32,
    bytes: i64,
    /// For one that is being copied there: by how many offsets it lags.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<i64>,
}

fn show(client: &mut Client, args: &LogDirsArgs, global: &Global) -> Result<()> {
    let mut brokers = broker_ids(client)?;
    if let Some(unknown) = args.broker.iter().find(|id| !brokers.contains(id)) {
        return Err(Failure::usage(format!("there is no broker {unknown}")));
    }
    brokers.retain(|id| args.broker.is_empty() || args.broker.contains(id));
    let (mut dirs, mut replicas) = (Vec::new(), Vec::new());
    for broker in brokers {
        for found in describe(client, broker, None)? {
            dirs.push(told(broker, &found));
            replicas.extend(parts(broker, &found));
        }
    }
    replicas.sort_by_key(|replica| std::cmp::Reverse(replica.bytes));
    let mut out = stdout();
    match (global.style().json(), args.partitions) {
        (true, false) => dirs.iter().try_for_each(|dir| json_line(&mut out, dir))?,
        (true, true) => replicas.iter().try_for_each(|replica| json_line(&mut out, replica))?,
        (false, false) => table_of_dirs(&dirs).write(&mut out, 0)?,
        (false, true) => table_of_replicas(&replicas).write(&mut out, 0)?,
    }
    Ok(out.flush()?)
}

fn describe(
    client: &mut Client,
    broker: i32,
    topics: Option<Vec<DescribableLogDirTopic>>,
) -> Result<Vec<DescribeLogDirsResult>> {
    let answer = client.broker(broker)?.call(&DescribeLogDirsRequest { topics })?;
    if answer.error_code.is_error() {
        return Err(Fault::refused("describing the log directories", answer.error_code, None).into());
    }
    Ok(answer.results)
}

fn told(broker: i32, found: &DescribeLogDirsResult) -> Told {
    let parts = || found.topics.iter().flat_map(|topic| &topic.partitions);
    let known = |bytes: i64| (bytes >= 0).then_some(bytes);
    Told {
        broker,
        log_dir: found.log_dir.clone(),
        error: found.error_code.is_error().then(|| found.error_code.name()),
        partitions: parts().filter(|part| !part.is_future_key).count(),
        bytes: parts().map(|part| part.partition_size).sum(),
        usable_bytes: known(found.usable_bytes),
        total_bytes: known(found.total_bytes),
    }
}

fn parts(broker: i32, found: &DescribeLogDirsResult) -> Vec<Replica> {
    let all = found.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part)));
    let replica = |(topic, part): (&crate::wire::schema::DescribeLogDirsTopic, &_)| {
        let part: &crate::wire::schema::DescribeLogDirsPartition = part;
        Replica {
            broker,
            log_dir: found.log_dir.clone(),
            topic: topic.name.clone(),
            partition: part.partition_index,
            bytes: part.partition_size,
            lag: part.is_future_key.then_some(part.offset_lag),
        }
    };
    all.map(replica).collect()
}

fn size(bytes: i64) -> String {
    human_bytes(u64::try_from(bytes).unwrap_or(0))
}

fn table_of_dirs(dirs: &[Told]) -> Table {
    let mut table =
        Table::new(&[">BROKER", "LOG DIRECTORY", "STATE", ">PARTITIONS", ">SIZE", ">FREE", ">OF"]);
    for dir in dirs {
        let known = |bytes: Option<i64>| bytes.map_or("-".to_owned(), size);
        table.row([
            dir.broker.to_string(),
            dir.log_dir.clone(),
            dir.error.map_or("serves", |_| "offline").to_owned(),
            dir.partitions.to_string(),
            size(dir.bytes),
            known(dir.usable_bytes),
            known(dir.total_bytes),
        ]);
    }
    table
}

fn table_of_replicas(replicas: &[Replica]) -> Table {
    let mut table = Table::new(&["TOPIC", ">PARTITION", ">SIZE", ">BROKER", "LOG DIRECTORY", "STATE"]);
    for replica in replicas {
        table.row([
            replica.topic.clone(),
            replica.partition.to_string(),
            size(replica.bytes),
            replica.broker.to_string(),
            replica.log_dir.clone(),
            replica.lag.map_or("there".to_owned(), |lag| format!("on its way, {lag} offsets to go")),
        ]);
    }
    table
}

fn relocate(client: &mut Client, args: &MoveArgs, global: &Global) -> Result<()> {
    let topic = client.topic_as_it_is(&args.name)?;
    let partitions = chosen(&topic, &args.partition)?;
    let broker = match (args.broker, &broker_ids(client)?[..]) {
        (Some(id), _) => id,
        (None, [only]) => *only,
        (None, _) => {
            return Err(Failure::usage(
                "there are several brokers: say with --broker whose replicas to move",
            ));
        }
    };
    let topic = AlterReplicaLogDirTopic { name: args.name.clone(), partitions: partitions.clone() };
    let dir = AlterReplicaLogDir { path: args.to.clone(), topics: vec![topic] };
    let answer = client.broker(broker)?.call(&AlterReplicaLogDirsRequest { dirs: vec![dir] })?;
    for result in answer.results.iter().flat_map(|topic| &topic.partitions) {
        if result.error_code == ErrorCode::LOG_DIR_NOT_FOUND {
            let what = format!("broker {broker} has no log directory {}", args.to);
            return Err(Failure::new(what).advice("'ottla logdirs' names those that it has"));
        }
        if result.error_code.is_error() {
            let what = format!("moving partition {} of {}", result.partition_index, args.name);
            return Err(Fault::refused(&what, result.error_code, None).into());
        }
    }
    if args.no_wait {
        global.style().note(format!(
            "{} replicas are being moved; 'ottla logdirs --partitions' shows them",
            partitions.len()
        ));
        return Ok(());
    }
    wait(client, args, broker, &partitions, global)
}

/// Shows how the replicas are copied, until all lie where they were to go.
fn wait(
    client: &mut Client,
    args: &MoveArgs,
    broker: i32,
    partitions: &[i32],
    global: &Global,
) -> Result<()> {
    let mut progress: Option<Progress> = None;
    loop {
        let topic = DescribableLogDirTopic { topic: args.name.clone(), partitions: partitions.to_vec() };
        let found = describe(client, broker, Some(vec![topic]))?;
        let all: Vec<Replica> = found.iter().flat_map(|found| parts(broker, found)).collect();
        // One that changes its folder's name just now is nowhere for a moment.
        let mut sizes: BTreeMap<i32, (i64, i64, bool)> = BTreeMap::new();
        for replica in &all {
            let (total, copied, moves) = sizes.entry(replica.partition).or_default();
            let there = replica.log_dir == args.to;
            *total = (*total).max(replica.bytes);
            *copied += if there { replica.bytes } else { 0 };
            *moves |= replica.lag.is_some();
        }
        let total: i64 = sizes.values().map(|(total, ..)| total).sum();
        let copied: i64 = sizes.values().map(|(_, copied, _)| copied).sum();
        let bar = progress
            .get_or_insert_with(|| Progress::new(global.style(), Unit::Bytes, Some(total.max(0) as u64)));
        bar.at(copied.min(total).max(0) as u64);
        let lies_there =
            |n: &i32| all.iter().any(|r| r.partition == *n && r.log_dir == args.to && r.lag.is_none());
        if partitions.iter().all(lies_there) {
            bar.finish();
            global.style().note(format!(
                "{} replicas of {} lie in {} now",
                partitions.len(),
                args.name,
                args.to
            ));
            return Ok(());
        }
        let stays = |n: &i32| !lies_there(n) && sizes.get(n).is_some_and(|(_, _, moves)| !moves);
        if let Some(stays) = partitions.iter().find(|n| stays(n)) {
            bar.finish();
            let what = format!("partition {stays} of {} stays where it is", args.name);
            return Err(
                Failure::new(what).advice("the broker's log says why; most likely the disk has no room")
            );
        }
        thread::sleep(LOOK);
    }
}
