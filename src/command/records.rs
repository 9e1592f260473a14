//! `ottla records`: delete the oldest records of a topic.

use std::collections::BTreeMap;
use std::io::Write;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::client::{Client, Fault, LATEST};
use super::failure::{Failure, Result};
use super::offsets::chosen;
use super::output::{Table, confirm, json_line, stdout};
use crate::wire::schema::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};

/// What `ottla records` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla records delete orders --before 1000 -p 3
  ottla records delete orders --before @1767225600000 --yes")]
pub struct RecordsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: RecordsCommand,
}

/// The subcommands of `ottla records`.
#[derive(Clone, Debug, Subcommand)]
pub enum RecordsCommand {
    /// Delete the records before an offset or a time, for good
    Delete(DeleteArgs),
}

/// What `ottla records delete` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla records delete orders --before 1000 -p 3         partition 3 begins at offset 1000 from then on
  ottla records delete orders --before @1767225600000    what is older than that time, in all partitions
  ottla records delete orders --before end --yes         all there is now")]
pub struct DeleteArgs {
    /// The topic's name
    #[arg(value_name = "TOPIC")]
    pub name: String,

    /// The first record that stays: its offset, @MS for the first of that time or later, or 'end' for none
    #[arg(long, value_name = "OFFSET|@MS|end")]
    pub before: Before,

    /// Only this partition; may be given several times
    #[arg(short, long, value_name = "N")]
    pub partition: Vec<i32>,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Up to where records are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// This offset stays.
    Offset(i64),
    /// What is of this time or later stays, in milliseconds since 1970.
    Time(i64),
    /// Nothing stays.
    End,
}

impl FromStr for Before {
    type Err = String;

    fn from_str(text: &str) -> Result<Before, String> {
        let number = |digits: &str| digits.parse().ok().filter(|n| *n >= 0);
        let parsed = match (text, text.strip_prefix('@')) {
            ("end", _) => Some(Before::End),
            (_, Some(time)) => number(time).map(Before::Time),
            _ => number(text).map(Before::Offset),
        };
        parsed.ok_or_else(|| format!("'{text}' is not an offset, @MS or end"))
    }
}

/// Runs one of the subcommands.
pub fn run(args: &RecordsArgs, global: &Global) -> Result<()> {
    match &args.command {
        RecordsCommand::Delete(args) => delete(args, global),
    }
}

#[derive(Serialize)]
struct Deleted<'a> {
    topic: &'a str,
    partition: i32,
    begin_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

fn delete(args: &DeleteArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let topic = client.topic(&args.name, false)?;
    let partitions = chosen(&topic, &args.partition)?;
    if !args.yes {
        let what = match args.before {
            Before::Offset(offset) => format!("the records before offset {offset}"),
            Before::Time(time) => format!("the records from before {time} ms"),
            Before::End => "all records".to_owned(),
        };
        let question = format!("Delete {what} of {} partitions of {}?", partitions.len(), args.name);
        confirm(&question, "deleting records needs a yes; nothing was deleted")?;
    }
    let before: BTreeMap<i32, i64> = match args.before {
        Before::Offset(offset) => partitions.iter().map(|partition| (*partition, offset)).collect(),
        Before::End => partitions.iter().map(|partition| (*partition, LATEST)).collect(),
        Before::Time(time) => {
            // Where nothing is that late, nothing stays of what is there now.
            let ends = client.list_offsets(&args.name, &partitions, |_| LATEST)?;
            let found = client.list_offsets(&args.name, &partitions, |_| time)?;
            let stays = |(partition, at): (i32, i64)| match at {
                0.. => (partition, at),
                _ => (partition, ends[&partition].offset),
            };
            found.into_iter().map(|(partition, found)| stays((partition, found.offset))).collect()
        }
    };
    tell(global, &args.name, ask(&mut client, &args.name, &before)?)
}

/// Asks each leader. Gives where each partition begins now, or why it does not.
fn ask(
    client: &mut Client,
    name: &str,
    before: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, Result<i64, Fault>>> {
    let mut done: BTreeMap<i32, Result<i64, Fault>> = BTreeMap::new();
    let timeout_ms = client.timeout().as_millis().try_into().unwrap_or(i32::MAX);
    client.retry(|client| {
        let open: Vec<i32> = before.keys().copied().filter(|number| !done.contains_key(number)).collect();
        let topic = client.metadata(Some(&[name]), false)?.into_iter().next().map(Into::into);
        let Some(topic): Option<super::client::Topic> = topic else { return Ok(()) };
        let mut again = None;
        for (leader, numbers) in topic.by_leader(&open)? {
            let partitions = numbers
                .iter()
                .map(|number| DeleteRecordsPartition { partition_index: *number, offset: before[number] });
            let topics = vec![DeleteRecordsTopic { name: name.to_owned(), partitions: partitions.collect() }];
            let answer = client.broker(leader)?.call(&DeleteRecordsRequest { topics, timeout_ms })?;
            for part in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
                let number = part.partition_index;
                let fault = part.error_code.is_error().then(|| {
                    Fault::refused(format!("deleting records of {name}-{number}"), part.error_code, None)
                });
                match fault {
                    Some(fault) if fault.is_retriable() => again = Some(fault),
                    Some(fault) => drop(done.insert(number, Err(fault))),
                    None => drop(done.insert(number, Ok(part.low_watermark))),
                }
            }
        }
        again.map_or(Ok(()), Err)
    })?;
    Ok(done)
}

fn tell(global: &Global, topic: &str, done: BTreeMap<i32, Result<i64, Fault>>) -> Result<()> {
    let mut out = stdout();
    let mut table = Table::new(&["TOPIC", ">PARTITION", ">BEGIN"]);
    let mut faults = Vec::new();
    for (partition, result) in done {
        let begin_offset = result.as_ref().ok().copied();
        if global.style().json() {
            let error = result.as_ref().err().and_then(Fault::code).map(|code| code.name());
            json_line(&mut out, &Deleted { topic, partition, begin_offset, error })?;
        } else if let Some(begin) = begin_offset {
            table.row([topic.to_owned(), partition.to_string(), begin.to_string()]);
        }
        faults.extend(result.err().map(|fault| fault.to_string()));
    }
    if !global.style().json() {
        table.write(&mut out, 0)?;
    }
    out.flush()?;
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(faults.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_stop_is_an_offset_a_time_or_the_end() {
        assert_eq!("17".parse(), Ok(Before::Offset(17)));
        assert_eq!("@17".parse(), Ok(Before::Time(17)));
        assert_eq!("end".parse(), Ok(Before::End));
        for bad in ["", "-1", "@", "@-1", "beginning", "1.5"] {
            assert!(bad.parse::<Before>().is_err(), "{bad}");
        }
    }
}
