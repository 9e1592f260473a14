//! `ottla group delete` and `ottla group delete-offsets`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::look::{self, Offsets};
use super::reset::{has_members, who};
use super::spec::Topics;
use crate::command::Global;
use crate::command::client::{Client, Fault};
use crate::command::failure::{Failure, Result};
use crate::command::output::{Table, confirm, json_line, stdout};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    DeleteGroupsRequest, OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

/// What became of something, and with which error.
type Outcome = (&'static str, Option<&'static str>);

/// What `ottla group delete` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla group delete billing                shows what it is, and asks
  ottla group delete billing audit --yes

A group that has members is not deleted: stop its consumers first.")]
pub struct DeleteArgs {
    /// The groups' names
    #[arg(required = true, value_name = "GROUP")]
    pub names: Vec<String>,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What `ottla group delete-offsets` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla group delete-offsets billing --topic orders       of all partitions of orders
  ottla group delete-offsets billing --topic orders:0,3 --topic users --yes

Offsets of a topic that a member of the group subscribes to are not deleted.")]
pub struct DeleteOffsetsArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    pub name: String,

    /// A topic, or partitions of it; may be given several times
    #[arg(short, long, required = true, value_name = "TOPIC[:P,...]")]
    pub topic: Vec<Topics>,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Serialize)]
struct Deleted<'a> {
    group: &'a str,
    state: &'a str,
    committed_offsets: usize,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// Deletes groups.
pub fn run(args: &DeleteArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let mut groups = Vec::new();
    for (_, found) in look::groups(&mut client, &args.names)? {
        let group = found.map_err(|fault| {
            Failure::from(fault).advice("'ottla group list' shows the groups there are; nothing was deleted.")
        })?;
        if !group.members.is_empty() {
            return Err(has_members(&group.group, &who(&group)));
        }
        groups.push(group);
    }
    let names: Vec<String> = groups.iter().map(|group| group.group.clone()).collect();
    let offsets = look::offsets(&mut client, &names)?;
    let count = |name: &str| offsets.get(name).map_or(0, Offsets::len);
    let tell = |result: &dyn Fn(&str) -> Outcome| -> Result<()> {
        let mut out = stdout();
        let mut table = Table::new(&["GROUP", "STATE", ">COMMITTED OFFSETS"]);
        for group in &groups {
            let committed_offsets = count(&group.group);
            if global.style().json() {
                let (result, error) = result(&group.group);
                let (group, state) = (group.group.as_str(), group.state.as_str());
                json_line(&mut out, &Deleted { group, state, committed_offsets, result, error })?;
            } else {
                table.row([group.group.clone(), group.state.clone(), committed_offsets.to_string()]);
            }
        }
        if !global.style().json() {
            table.write(&mut out, 0)?;
        }
        Ok(out.flush()?)
    };
    let question = format!("Delete {} and all they have committed?", names.join(", "));
    if !agreed(global, args.dry_run, args.yes, &question, |result| tell(&|_| (result, None)))? {
        return Ok(());
    }
    let done = client.groups(&names, |connection, names| {
        let answer = connection.call(&DeleteGroupsRequest { groups_names: names.to_vec() })?;
        let said = answer.results.into_iter().map(|result| {
            let doing = format!("deleting group {}", result.group_id);
            let deleted = match result.error_code {
                ErrorCode::NONE => Ok(()),
                code => Err(Fault::refused(doing, code, None)),
            };
            (result.group_id, deleted)
        });
        Ok(said.collect())
    })?;
    let faults: BTreeMap<String, Fault> =
        done.into_iter().filter_map(|(name, said)| Some((name, said.result.err()?))).collect();
    if global.style().json() {
        tell(&|name| result_of(faults.get(name)))?;
    }
    finish(global, faults.into_values(), format!("{} groups were deleted", names.len()))
}

#[derive(Serialize)]
struct DeletedOffset<'a> {
    topic: &'a str,
    partition: i32,
    committed_offset: i64,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// Deletes committed offsets of a group.
pub fn offsets(args: &DeleteOffsetsArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let names = [args.name.clone()];
    let committed = look::offsets(&mut client, &names)?.remove(&args.name).unwrap_or_default();
    let chosen = chosen(args, &committed)?;
    let tell = |result: &dyn Fn(&(String, i32)) -> Outcome| -> Result<()> {
        let mut out = stdout();
        let mut table = Table::new(&["TOPIC", ">PARTITION", ">COMMITTED"]);
        for (at, committed) in &chosen {
            let (topic, partition, committed_offset) = (at.0.as_str(), at.1, committed.offset);
            if global.style().json() {
                let (result, error) = result(at);
                json_line(&mut out, &DeletedOffset { topic, partition, committed_offset, result, error })?;
            } else {
                table.row([topic.to_owned(), partition.to_string(), committed_offset.to_string()]);
            }
        }
        if !global.style().json() {
            table.write(&mut out, 0)?;
        }
        Ok(out.flush()?)
    };
    let question = format!("Delete {} committed offsets of group {}?", chosen.len(), args.name);
    if !agreed(global, args.dry_run, args.yes, &question, |result| tell(&|_| (result, None)))? {
        return Ok(());
    }
    let faults = delete_offsets(&mut client, &args.name, &chosen)?;
    if global.style().json() {
        tell(&|at| result_of(faults.get(at)))?;
    }
    if faults.values().any(|fault| fault.code() == Some(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC)) {
        let texts: Vec<String> = faults.values().map(Fault::to_string).collect();
        return Err(Failure::new(texts.join("\n")).advice(
            "Stop the consumers that subscribe to the topic first; 'ottla group describe' names them.",
        ));
    }
    finish(global, faults.into_values(), format!("{} committed offsets were deleted", chosen.len()))
}

/// Those of the group's committed offsets that are meant.
fn chosen(args: &DeleteOffsetsArgs, committed: &Offsets) -> Result<Offsets> {
    let mut chosen = Offsets::new();
    for topics in &args.topic {
        let here = |(at, _): &(&(String, i32), _)| {
            at.0 == topics.name && (topics.partitions.is_empty() || topics.partitions.contains(&at.1))
        };
        let found: Vec<_> = committed.iter().filter(here).collect();
        let has = |number: &i32| found.iter().any(|(at, _)| at.1 == *number);
        let missing = match topics.partitions.iter().find(|number| !has(number)) {
            Some(number) => Some(format!("{}-{number}", topics.name)),
            None => found.is_empty().then(|| format!("topic {}", topics.name)),
        };
        if let Some(missing) = missing {
            let what =
                format!("group {} has committed no offset of {missing}; nothing was deleted", args.name);
            return Err(Failure::new(what)
                .advice(format!("'ottla group describe {}' shows what it has committed.", args.name)));
        }
        chosen.extend(found.into_iter().map(|(at, committed)| (at.clone(), committed.clone())));
    }
    Ok(chosen)
}

fn delete_offsets(
    client: &mut Client,
    group: &str,
    offsets: &Offsets,
) -> Result<BTreeMap<(String, i32), Fault>> {
    let mut topics: BTreeMap<String, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
    for (topic, partition_index) in offsets.keys().cloned() {
        topics.entry(topic).or_default().push(OffsetDeleteRequestPartition { partition_index });
    }
    let topic = |(name, partitions)| OffsetDeleteRequestTopic { name, partitions };
    let request =
        OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.into_iter().map(topic).collect() };
    let faults = client.group(group, |connection| {
        let answer = connection.call(&request)?;
        if answer.error_code.is_error() {
            let doing = format!("deleting committed offsets of group {group}");
            return Err(Fault::refused(doing, answer.error_code, None));
        }
        let mut faults = BTreeMap::new();
        for topic in answer.topics {
            for part in topic.partitions.iter().filter(|part| part.error_code.is_error()) {
                let doing =
                    format!("deleting the committed offset of {}-{}", topic.name, part.partition_index);
                // A topic that is gone does not come back by waiting.
                let fault = Fault::refused(doing, part.error_code, None).for_good();
                faults.insert((topic.name.clone(), part.partition_index), fault);
            }
        }
        Ok(faults)
    })?;
    Ok(faults)
}

/// Shows what is to be deleted and asks, where that is wanted; says whether to go on.
fn agreed(
    global: &Global,
    dry_run: bool,
    yes: bool,
    question: &str,
    show: impl Fn(&'static str) -> Result<()>,
) -> Result<bool> {
    if dry_run {
        show("dry run")?;
        global.style().note("a dry run: nothing was deleted");
        return Ok(false);
    }
    // A program is told once, with what came of it.
    if !yes || !global.style().json() {
        show("proposed")?;
    }
    if !yes {
        confirm(question, "deleting needs a yes; nothing was deleted")?;
    }
    Ok(true)
}

fn result_of(fault: Option<&Fault>) -> Outcome {
    match fault {
        None => ("deleted", None),
        Some(fault) => ("failed", fault.code().map(ErrorCode::name)),
    }
}

fn finish(global: &Global, faults: impl Iterator<Item = Fault>, done: String) -> Result<()> {
    let texts: Vec<String> = faults.map(|fault| fault.to_string()).collect();
    match texts.is_empty() {
        true => {
            global.style().note(done);
            Ok(())
        }
        false => Err(Failure::new(texts.join("\n"))),
    }
}
