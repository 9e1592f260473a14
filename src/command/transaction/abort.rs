//! `ottla transaction abort`.

use std::io::Write;

use clap::Args;

use super::hanging::{self, Open};
use super::{Described, look};
use crate::command::Global;
use crate::command::client::{Client, Fault};
use crate::command::failure::{Failure, Result};
use crate::command::output::{confirm, stdout};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    InitProducerIdRequest, WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};

/// How long the transaction might take that nobody begins with the epoch that fences.
const TIMEOUT_MS: i32 = 1;

/// What `ottla transaction abort` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla transaction abort payments-1                       of its producer, who is fenced by it
  ottla transaction abort --partition orders:3 --start 1200    one that 'ottla transaction hanging' has found

Who was fenced gets an error with his next request, and has to begin anew.")]
pub struct AbortArgs {
    /// The transactional id
    #[arg(value_name = "ID", required_unless_present = "partition")]
    pub id: Option<String>,

    /// The partition in which a transaction hangs
    #[arg(long, value_name = "TOPIC:P", requires = "start", conflicts_with = "id", value_parser = hanging::partition)]
    pub partition: Option<(String, i32)>,

    /// The offset at which it begins there
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    pub start: Option<i64>,

    /// Show what would be aborted, and abort nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Aborts a transaction.
pub fn run(args: &AbortArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    match (&args.id, &args.partition, args.start) {
        (Some(id), ..) => of_id(&mut client, id, args, global),
        (None, Some((topic, partition)), Some(start)) => {
            of_partition(&mut client, (topic, *partition), start, args, global)
        }
        _ => Err(Failure::usage("name a transactional id, or a partition and where it hangs there")),
    }
}

/// Whether to go on, when what it is about was shown.
fn agreed(args: &AbortArgs, global: &Global, question: &str) -> Result<bool> {
    if args.dry_run {
        global.style().note("a dry run: nothing was aborted");
        return Ok(false);
    }
    if !args.yes {
        confirm(question, "aborting needs a yes; nothing was aborted")?;
    }
    Ok(true)
}

fn of_id(client: &mut Client, id: &str, args: &AbortArgs, global: &Global) -> Result<()> {
    let (_, found) = look(client, &[id.to_owned()])?.remove(0);
    let found: Described = found.map_err(|fault| {
        Failure::from(fault)
            .advice("'ottla transaction list' shows the transactional ids there are; nothing was aborted.")
    })?;
    let mut out = stdout();
    super::write(&mut out, std::slice::from_ref(&found), global)?;
    out.flush()?;
    if !agreed(args, global, &format!("Abort what is open of {id}, and fence its producer?"))? {
        return Ok(());
    }
    let request = InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        producer_id: -1,
        producer_epoch: -1,
    };
    let done = client.transactions(&[id.to_owned()], |connection, _| {
        let answer = connection.call(&request)?;
        let doing = format!("fencing the producer of {id}");
        let said = match answer.error_code {
            ErrorCode::NONE => Ok(answer.producer_epoch),
            code => Err(Fault::refused(doing, code, None)),
        };
        Ok(vec![(id.to_owned(), said)])
    })?;
    let answered = done.into_values().next().expect("it was asked about");
    let epoch = answered.result?;
    global.style().note(format!("nothing of {id} is open any more; the next epoch is {epoch}"));
    Ok(())
}

fn of_partition(
    client: &mut Client,
    (topic, partition): (&str, i32),
    start: i64,
    args: &AbortArgs,
    global: &Global,
) -> Result<()> {
    let open = hanging::open(client, topic, &[partition])?;
    let found = open.into_iter().find(|open| open.start_offset == start);
    let found = found.ok_or_else(|| {
        Failure::new(format!("no transaction is open in {topic}-{partition} that begins at offset {start}"))
            .advice("'ottla transaction hanging' shows those that hang; nothing was aborted.")
    })?;
    let mut out = stdout();
    hanging::write(&mut out, std::slice::from_ref(&found), global)?;
    out.flush()?;
    if !agreed(args, global, &format!("Abort it in {topic}-{partition}?"))? {
        return Ok(());
    }
    let request = WriteTxnMarkersRequest { markers: vec![marker(&found)] };
    let leader = client.topic(topic, false)?.by_leader(&[partition])?.into_keys().next();
    let leader = leader.expect("the partition has a leader");
    let answer = client.broker(leader)?.call(&request)?;
    let mut told = answer.markers.iter().flat_map(|m| &m.topics).flat_map(|t| &t.partitions);
    match told.next().map(|part| part.error_code) {
        Some(ErrorCode::NONE) => {
            global.style().note(format!("it is aborted in {topic}-{partition}"));
            Ok(())
        }
        code => {
            let code = code.unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR);
            Err(Fault::refused(format!("aborting in {topic}-{partition}"), code, None).into())
        }
    }
}

/// The marker that ends it as its producer would have, had its coordinator aborted it.
fn marker(open: &Open) -> WritableTxnMarker {
    let topic = WritableTxnMarkerTopic { name: open.topic.clone(), partition_indexes: vec![open.partition] };
    WritableTxnMarker {
        producer_id: open.producer_id,
        producer_epoch: open.producer_epoch,
        transaction_result: false,
        topics: vec![topic],
        // Of one that nobody has ended yet, none is known.
        coordinator_epoch: open.coordinator_epoch.max(0),
        transaction_version: 0,
    }
}
