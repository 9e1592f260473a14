//! `ottla topic`: make, list, describe, alter and delete topics.

mod alter;
mod describe;

use std::io::Write;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::client::{Client, Fault, Topic};
use super::failure::{Failure, Result};
use super::output::{Table, confirm, json_line, stdout};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, DeleteTopicState, DeleteTopicsRequest,
};

/// What `ottla topic` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla topic create orders --partitions 6 --config retention.ms=86400000
  ottla topic list
  ottla topic describe orders
  ottla topic alter orders --partitions 12
  ottla topic delete orders --yes")]
pub struct TopicArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TopicCommand,
}

/// The subcommands of `ottla topic`.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicCommand {
    /// Make topics
    Create(CreateArgs),
    /// List the topics there are
    List(ListArgs),
    /// Show topics: partitions, leaders, replicas, offsets and settings
    Describe(describe::DescribeArgs),
    /// Change topics: more partitions, other settings
    Alter(alter::AlterArgs),
    /// Delete topics and all their records
    Delete(DeleteArgs),
}

/// What `ottla topic create` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla topic create orders                                 partitions and replicas as the broker is set
  ottla topic create orders -p 12 -r 3 -c min.insync.replicas=2
  ottla topic create users -c cleanup.policy=compact --if-not-exists")]
pub struct CreateArgs {
    /// The topics' names
    #[arg(required = true, value_name = "TOPIC")]
    pub names: Vec<String>,

    /// How many partitions [default: the broker's num.partitions]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,

    /// How many replicas of each [default: the broker's default.replication.factor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    pub replication_factor: Option<i16>,

    /// A setting of the topic, by Kafka's name; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub config: Vec<(String, String)>,

    /// Leave a topic that exists as it is, and count that as done
    #[arg(long)]
    pub if_not_exists: bool,
}

/// What `ottla topic list` understands.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Show the brokers' own topics too
    #[arg(short, long)]
    pub internal: bool,
}

/// What `ottla topic delete` understands.
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// The topics' names
    #[arg(required = true, value_name = "TOPIC")]
    pub names: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// Count a topic that does not exist as deleted
    #[arg(long)]
    pub if_exists: bool,
}

/// Reads `key=value`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

/// Runs one of the subcommands.
pub fn run(args: &TopicArgs, global: &Global) -> Result<()> {
    match &args.command {
        TopicCommand::Create(args) => create(args, global),
        TopicCommand::List(args) => list(args, global),
        TopicCommand::Describe(args) => describe::run(args, global),
        TopicCommand::Alter(args) => alter::run(args, global),
        TopicCommand::Delete(args) => delete(args, global),
    }
}

#[derive(Serialize)]
struct Outcome<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// Tells what became of each topic, and fails if anything failed.
fn tell(global: &Global, outcomes: &[Outcome<'_>], faults: Vec<Fault>) -> Result<()> {
    let mut out = stdout();
    for outcome in outcomes {
        if global.style().json() {
            json_line(&mut out, outcome)?;
        } else if outcome.error.is_none() {
            writeln!(out, "{} {}", outcome.result, outcome.topic)?;
        }
    }
    out.flush()?;
    let mut faults = faults.into_iter();
    match (faults.next(), faults.next()) {
        (None, _) => Ok(()),
        (Some(one), None) => Err(one.into()),
        (Some(first), Some(second)) => {
            let texts: Vec<String> =
                [first, second].into_iter().chain(faults).map(|f| f.to_string()).collect();
            Err(Failure::new(texts.join("\n")))
        }
    }
}

/// Asks a broker to make a topic. Whether it already exists is the caller's matter.
pub fn create_topic(client: &mut Client, topic: CreatableTopic) -> Result<(String, i32), Fault> {
    let name = topic.name.clone();
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: client.timeout().as_millis().try_into().unwrap_or(i32::MAX),
        validate_only: false,
    };
    let doing = format!("creating topic {name}");
    let answer = client.call_controller(&request)?;
    let result = answer.topics.into_iter().next().ok_or_else(|| {
        Fault::refused(&doing, ErrorCode::UNKNOWN_SERVER_ERROR, Some("the answer names no topic".into()))
    })?;
    match result.error_code {
        ErrorCode::NONE => Ok((result.topic_id.to_string(), result.num_partitions)),
        code => Err(Fault::refused(doing, code, result.error_message)),
    }
}

fn create(args: &CreateArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let (mut outcomes, mut faults) = (Vec::new(), Vec::new());
    for name in &args.names {
        let config = |(key, value): &(String, String)| CreatableTopicConfig {
            name: key.clone(),
            value: Some(value.clone()),
        };
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: args.partitions.unwrap_or(-1),
            replication_factor: args.replication_factor.unwrap_or(-1),
            assignments: Vec::new(),
            configs: args.config.iter().map(config).collect(),
        };
        let mut outcome =
            Outcome { topic: name, topic_id: None, partitions: None, result: "created", error: None };
        match create_topic(&mut client, topic) {
            Ok((id, partitions)) => {
                outcome.topic_id = Some(id);
                outcome.partitions = (partitions >= 0).then_some(partitions);
            }
            Err(f) if args.if_not_exists && f.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                outcome.result = "exists";
            }
            Err(fault) => {
                let Some(code) = fault.code() else { return Err(fault.into()) };
                outcome.result = "failed";
                outcome.error = Some(code.name());
                faults.push(fault);
            }
        }
        outcomes.push(outcome);
    }
    tell(global, &outcomes, faults)
}

#[derive(Serialize)]
struct Listed {
    topic: String,
    topic_id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

fn list(args: &ListArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let found = client.retry(|c| c.metadata(None, false))?;
    let mut topics: Vec<Topic> =
        found.into_iter().map(Topic::from).filter(|t| args.internal || !t.internal).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = stdout();
    let mut table = Table::new(&["TOPIC", ">PARTITIONS", ">REPLICAS", "ID"]);
    for topic in &topics {
        let listed = Listed {
            topic: topic.name.clone(),
            topic_id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            replication_factor: topic.partitions.first().map_or(0, |p| p.replicas.len()),
            internal: topic.internal,
        };
        if global.style().json() {
            json_line(&mut out, &listed)?;
        } else {
            let (partitions, replicas) = (listed.partitions, listed.replication_factor);
            table.row([listed.topic, partitions.to_string(), replicas.to_string(), listed.topic_id]);
        }
    }
    if !global.style().json() {
        match topics.is_empty() {
            true => global.style().note("there are no topics; 'ottla topic create NAME' makes one"),
            false => table.write(&mut out, 0)?,
        }
    }
    Ok(out.flush()?)
}

/// Asks a broker to delete a topic.
pub fn delete_topic(client: &mut Client, name: &str) -> Result<(), Fault> {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: Some(name.to_string()), ..Default::default() }],
        topic_names: vec![name.to_string()],
        timeout_ms: client.timeout().as_millis().try_into().unwrap_or(i32::MAX),
    };
    let answer = client.call_controller(&request)?;
    let result = answer.responses.into_iter().next();
    let (code, message) =
        result.map_or((ErrorCode::UNKNOWN_SERVER_ERROR, None), |r| (r.error_code, r.error_message));
    match code {
        ErrorCode::NONE => Ok(()),
        code => Err(Fault::refused(format!("deleting topic {name}"), code, message)),
    }
}

fn delete(args: &DeleteArgs, global: &Global) -> Result<()> {
    if !args.yes {
        let them = if args.names.len() == 1 { "it" } else { "them" };
        let question = format!("Delete {} and all records in {them}?", args.names.join(", "));
        confirm(&question, "deleting topics needs a yes; nothing was deleted")?;
    }
    let mut client = Client::connect(global)?;
    let (mut outcomes, mut faults) = (Vec::new(), Vec::new());
    for name in &args.names {
        let result = delete_topic(&mut client, name);
        let mut outcome =
            Outcome { topic: name, topic_id: None, partitions: None, result: "deleted", error: None };
        if let Err(fault) = result {
            match fault.code() {
                None => return Err(fault.into()),
                Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) if args.if_exists => outcome.result = "not there",
                Some(code) => {
                    outcome.result = "failed";
                    outcome.error = Some(code.name());
                    faults.push(fault);
                }
            }
        }
        outcomes.push(outcome);
    }
    tell(global, &outcomes, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_may_hold_an_equals_sign() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=b").is_err());
        assert!(key_value("a").is_err());
    }
}
