//! `ottla offsets`: where partitions begin and end, and which record a time leads to.

use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::client::{Client, EARLIEST, LATEST, Topic};
use super::failure::{Failure, Result};
use super::output::{Table, json_line, stdout};

/// What `ottla offsets` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla offsets                                 of all topics
  ottla offsets orders -p 0 -p 3
  ottla offsets orders --time 1767225600000     the first record of that time or later, in each partition
  ottla offsets --output json | jq -s 'map(.records) | add'")]
pub struct OffsetsArgs {
    /// The topics' names [default: all]
    #[arg(value_name = "TOPIC")]
    pub names: Vec<String>,

    /// Only this partition; may be given several times
    #[arg(short, long, value_name = "N")]
    pub partition: Vec<i32>,

    /// Look up the first record of this time or later, in milliseconds since 1970
    #[arg(short, long, value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    pub time: Option<i64>,
}

#[derive(Serialize)]
struct Ends<'a> {
    topic: &'a str,
    partition: i32,
    begin_offset: i64,
    end_offset: i64,
    records: i64,
}

#[derive(Serialize)]
struct Found<'a> {
    topic: &'a str,
    partition: i32,
    /// None where no record is that late.
    offset: Option<i64>,
    timestamp: Option<i64>,
}

/// Shows the offsets.
pub fn run(args: &OffsetsArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let topics = topics(&mut client, &args.names)?;
    let json = global.style().json();
    let mut out = stdout();
    let mut table = match args.time {
        None => Table::new(&["TOPIC", ">PARTITION", ">BEGIN", ">END", ">RECORDS"]),
        Some(_) => Table::new(&["TOPIC", ">PARTITION", ">OFFSET", ">TIMESTAMP"]),
    };
    for topic in &topics {
        let partitions = chosen(topic, &args.partition)?;
        if let Some(time) = args.time {
            let found = client.list_offsets(&topic.name, &partitions, |_| time)?;
            for (partition, at) in found {
                let is_there = at.offset >= 0;
                let (offset, timestamp) = (is_there.then_some(at.offset), is_there.then_some(at.timestamp));
                if json {
                    json_line(&mut out, &Found { topic: &topic.name, partition, offset, timestamp })?;
                } else {
                    let shown = |n: Option<i64>| n.map_or("-".to_owned(), |n| n.to_string());
                    table.row([topic.name.clone(), partition.to_string(), shown(offset), shown(timestamp)]);
                }
            }
            continue;
        }
        let begins = client.list_offsets(&topic.name, &partitions, |_| EARLIEST)?;
        let ends = client.list_offsets(&topic.name, &partitions, |_| LATEST)?;
        for (partition, begin) in begins {
            let (begin_offset, end_offset) = (begin.offset, ends[&partition].offset);
            let records = (end_offset - begin_offset).max(0);
            if json {
                let topic = topic.name.as_str();
                json_line(&mut out, &Ends { topic, partition, begin_offset, end_offset, records })?;
            } else {
                let numbers = [i64::from(partition), begin_offset, end_offset, records];
                table.row(std::iter::once(topic.name.clone()).chain(numbers.map(|n| n.to_string())));
            }
        }
    }
    if !json {
        table.write(&mut out, 0)?;
    }
    Ok(out.flush()?)
}

/// The topics of these names; all but the brokers' own where none is given.
fn topics(client: &mut Client, names: &[String]) -> Result<Vec<Topic>> {
    if !names.is_empty() {
        return names.iter().map(|name| client.topic(name, false)).collect();
    }
    let found = client.retry(|client| client.metadata(None, false))?;
    let mut topics: Vec<Topic> = found.into_iter().map(Topic::from).filter(|t| !t.internal).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// The partitions that were asked for, or all; it is an error if one of them is not there.
pub fn chosen(topic: &Topic, wanted: &[i32]) -> Result<Vec<i32>> {
    let all: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    if wanted.is_empty() {
        return Ok(all);
    }
    match wanted.iter().find(|number| !all.contains(number)) {
        None => Ok(wanted.to_vec()),
        Some(number) => Err(Failure::usage(format!(
            "{} has no partition {number}, only 0 to {}",
            topic.name,
            all.len().saturating_sub(1)
        ))),
    }
}
