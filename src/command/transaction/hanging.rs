//! `ottla transaction hanging`: what is open in partitions, and unknown to coordinators.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::look;
use crate::command::Global;
use crate::command::client::{Client, Fault};
use crate::command::failure::Result;
use crate::command::output::{Table, json_line, stdout};
use crate::command::units::{now_ms, seconds};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{DescribeProducersRequest, DescribeProducersTopicRequest, ListTransactionsRequest};

/// Kafka's default of `transaction.max.timeout.ms`, after which no transaction is open that a coordinator knows.
const LONGEST: &str = "900";
/// Partitions that are asked about in one request.
const AT_ONCE: usize = 500;

/// What `ottla transaction hanging` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla transaction hanging
  ottla transaction hanging --topic orders --longer-than 60s

A transaction hangs that is open in a partition, although no coordinator will ever end it. What it finds is ended with
'ottla transaction abort --partition TOPIC:P --start OFFSET'.")]
pub struct HangingArgs {
    /// Only in this topic; may be given several times
    #[arg(short, long, value_name = "TOPIC")]
    pub topic: Vec<String>,

    /// Only what has seen no record for so many seconds; by default longer than a transaction may take
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = LONGEST)]
    pub longer_than: Duration,
}

/// A transaction that is open in a partition.
#[derive(Clone, Debug, Serialize)]
pub struct Open {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its producer.
    pub producer_id: i64,
    /// The epoch of its producer.
    pub producer_epoch: i16,
    /// Where it begins.
    pub start_offset: i64,
    /// The epoch of the coordinator that has ended the producer's last transaction here, -1 for none.
    pub coordinator_epoch: i32,
    /// When its last record came, in milliseconds since 1970.
    pub last_timestamp: i64,
}

/// A partition as it is written on a command line: `orders:3`.
pub fn partition(text: &str) -> Result<(String, i32), String> {
    let parts = text.rsplit_once(':').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
    match parts {
        Some((topic, number)) if !topic.is_empty() && number >= 0 => Ok((topic.to_owned(), number)),
        _ => Err(format!("'{text}' is no partition, for example orders:3")),
    }
}

/// Finds transactions that hang.
pub fn run(args: &HangingArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let names: Vec<&str> = args.topic.iter().map(String::as_str).collect();
    let topics = client.metadata((!names.is_empty()).then_some(names.as_slice()), false)?;
    let mut found = Vec::new();
    for topic in topics {
        let name = topic.name.clone().unwrap_or_default();
        if topic.error_code.is_error() {
            return Err(Fault::refused(format!("asking for topic {name}"), topic.error_code, None).into());
        }
        let partitions: Vec<i32> =
            topic.partitions.iter().map(|partition| partition.partition_index).collect();
        found.extend(open(&mut client, &name, &partitions)?);
    }
    let oldest = now_ms().saturating_sub(i64::try_from(args.longer_than.as_millis()).unwrap_or(i64::MAX));
    found.retain(|open| open.last_timestamp <= oldest);
    let hanging = unknown_to_coordinators(&mut client, found)?;
    if hanging.is_empty() && !global.style().json() {
        global.style().note("no transaction hangs");
    }
    let mut out = stdout();
    write(&mut out, &hanging, global)?;
    Ok(out.flush()?)
}

/// The transactions that are open in partitions of a topic.
pub fn open(client: &mut Client, topic: &str, partitions: &[i32]) -> Result<Vec<Open>> {
    let mut found = Vec::new();
    for (leader, partitions) in client.topic(topic, false)?.by_leader(partitions)? {
        for partitions in partitions.chunks(AT_ONCE) {
            let asked = DescribeProducersTopicRequest {
                name: topic.to_owned(),
                partition_indexes: partitions.to_vec(),
            };
            let answer = client.broker(leader)?.call(&DescribeProducersRequest { topics: vec![asked] })?;
            for part in answer.topics.into_iter().flat_map(|topic| topic.partitions) {
                if part.error_code.is_error() {
                    let doing = format!("asking for the producers of {topic}-{}", part.partition_index);
                    return Err(Fault::refused(doing, part.error_code, part.error_message).into());
                }
                let open = part.active_producers.into_iter().filter(|p| p.current_txn_start_offset >= 0);
                found.extend(open.map(|producer| Open {
                    topic: topic.to_owned(),
                    partition: part.partition_index,
                    producer_id: producer.producer_id,
                    producer_epoch: i16::try_from(producer.producer_epoch).unwrap_or(i16::MAX),
                    start_offset: producer.current_txn_start_offset,
                    coordinator_epoch: producer.coordinator_epoch,
                    last_timestamp: producer.last_timestamp,
                }));
            }
        }
    }
    Ok(found)
}

/// Those that are part of no transaction that its coordinator has open.
fn unknown_to_coordinators(client: &mut Client, found: Vec<Open>) -> Result<Vec<Open>> {
    let mut producers: Vec<i64> = found.iter().map(|open| open.producer_id).collect();
    producers.sort_unstable();
    producers.dedup();
    if producers.is_empty() {
        return Ok(found);
    }
    let request = ListTransactionsRequest {
        producer_id_filters: producers,
        duration_filter: -1,
        ..ListTransactionsRequest::default()
    };
    let (listed, _) = client.list_transactions(&request)?;
    let ids: Vec<String> = listed.into_iter().map(|listed| listed.transactional_id).collect();
    let mut known: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (_, described) in look(client, &ids)? {
        match described {
            Ok(described) => known.entry(described.producer_id).or_default().extend(described.partitions),
            // It was forgotten meanwhile.
            Err(fault) if fault.code() == Some(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    let is_known = |open: &Open| {
        let place = format!("{}-{}", open.topic, open.partition);
        known.get(&open.producer_id).is_some_and(|partitions| partitions.contains(&place))
    };
    Ok(found.into_iter().filter(|open| !is_known(open)).collect())
}

/// Writes them.
pub fn write(out: &mut impl Write, all: &[Open], global: &Global) -> Result<()> {
    let mut table = Table::new(&["TOPIC", ">PARTITION", ">START", ">PRODUCER ID", ">EPOCH", ">LAST RECORD"]);
    for open in all {
        if global.style().json() {
            json_line(out, open)?;
            continue;
        }
        let age = Duration::from_millis(now_ms().saturating_sub(open.last_timestamp).max(0) as u64);
        table.row([
            open.topic.clone(),
            open.partition.to_string(),
            open.start_offset.to_string(),
            open.producer_id.to_string(),
            open.producer_epoch.to_string(),
            format!("{:.0} s ago", age.as_secs_f64()),
        ]);
    }
    if !global.style().json() && !all.is_empty() {
        table.write(out, 0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_its_topic() {
        assert_eq!(partition("a:b:3"), Ok(("a:b".to_owned(), 3)));
        for bad in ["orders", "orders:", ":3", "orders:-1", "orders:x"] {
            assert!(partition(bad).is_err(), "{bad}");
        }
    }
}
