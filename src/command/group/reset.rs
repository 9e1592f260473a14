//! `ottla group reset`: a group goes on from other offsets.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::look::{self, Group, Offsets};
use super::spec::{To, Topics};
use crate::command::Global;
use crate::command::client::{Client, EARLIEST, Fault, LATEST};
use crate::command::failure::{Failure, Result};
use crate::command::offsets::chosen;
use crate::command::output::{Table, confirm, json_line, stdout};
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};

/// OffsetCommit goes by topic ids from the version after this.
const BY_NAME: i16 = 9;

/// What `ottla group reset` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla group reset billing --topic orders --to earliest          shows what would change, and asks
  ottla group reset billing --topic orders:0,3 --to -100 --yes    a hundred records back, in two partitions
  ottla group reset billing --all-topics --to @1767225600000 --dry-run

The group must have no members while it is reset: stop its consumers first.")]
pub struct ResetArgs {
    /// The group's name
    #[arg(value_name = "GROUP")]
    pub name: String,

    /// A topic, or partitions of it; may be given several times
    #[arg(short, long, value_name = "TOPIC[:P,...]", required_unless_present = "all_topics")]
    pub topic: Vec<Topics>,

    /// All partitions that the group has committed offsets of
    #[arg(long, conflicts_with = "topic")]
    pub all_topics: bool,

    /// Where the group goes on: earliest, latest, an offset, @MS (the first record of that time or later), current,
    /// +N or -N (so many on from where it is, or back). What lies outside of the log is moved to its end
    #[arg(long, allow_hyphen_values = true, value_name = "WHERE")]
    pub to: To,

    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// How one partition's offset changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    topic: String,
    partition: i32,
    old: Option<i64>,
    new: i64,
    /// The end of the log that it was moved to, as what was asked for lies outside.
    moved_to: Option<&'static str>,
}

#[derive(Serialize)]
struct Told<'a> {
    topic: &'a str,
    partition: i32,
    old_offset: Option<i64>,
    new_offset: i64,
    change: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<&'static str>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// What a partition's log holds, and what was found in it by time.
#[derive(Clone, Copy, Debug, Default)]
struct Log {
    begin: i64,
    end: i64,
    /// None where no record is that late.
    at_time: Option<i64>,
}

/// Resets a group.
pub fn run(args: &ResetArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    refuse_members(&mut client, args, global)?;
    let names = [args.name.clone()];
    let offsets = look::offsets(&mut client, &names)?.remove(&args.name).unwrap_or_default();
    let logs = logs(&mut client, args, &offsets)?;
    let changes = plan(args.to, &logs, &offsets)?;
    for change in changes.iter().filter(|change| change.moved_to.is_some()) {
        global.style().note(format!(
            "{}-{}: what was asked for lies outside of the log, which {}s at offset {}; taken instead",
            change.topic,
            change.partition,
            change.moved_to.unwrap_or_default(),
            change.new
        ));
    }
    let told_before = args.dry_run || !args.yes || !global.style().json();
    if told_before {
        let result = if args.dry_run { "dry run" } else { "proposed" };
        tell(global, &changes, |_| (result, None))?;
    }
    if args.dry_run {
        global.style().note("a dry run: nothing was changed");
        return Ok(());
    }
    if !args.yes {
        let question = format!("Reset {} offsets of group {}?", changes.len(), args.name);
        confirm(&question, "resetting a group needs a yes; nothing was changed")?;
    }
    let faults = commit(&mut client, &args.name, &changes)?;
    if global.style().json() {
        tell(global, &changes, |change| match faults.get(&(change.topic.clone(), change.partition)) {
            None => ("reset", None),
            Some(fault) => ("failed", fault.code().map(ErrorCode::name)),
        })?;
    }
    if faults.values().any(|fault| fault.code() == Some(ErrorCode::UNKNOWN_MEMBER_ID)) {
        return Err(has_members(&args.name, "somebody joined it just now"));
    }
    let texts: Vec<String> = faults.values().map(Fault::to_string).collect();
    match texts.is_empty() {
        true => {
            global.style().note(format!("{} offsets of group {} were reset", changes.len(), args.name));
            Ok(())
        }
        false => Err(Failure::new(texts.join("\n"))),
    }
}

/// A failure of what needs a group without members.
pub fn has_members(name: &str, why: &str) -> Failure {
    Failure::new(format!("group {name} has members: {why}; nothing was changed")).advice(format!(
        "Stop its consumers first, or wait until their sessions end; 'ottla group describe {name}' shows who is in it."
    ))
}

/// How many members there are, and one of them by name.
pub fn who(group: &Group) -> String {
    let first = group.members.first().map_or("", |member| member.client_id.as_str());
    format!("{}, one of them of client '{first}'", group.members.len())
}

fn refuse_members(client: &mut Client, args: &ResetArgs, global: &Global) -> Result<()> {
    let found = look::groups(client, std::slice::from_ref(&args.name))?.remove(&args.name);
    match found.expect("the group was asked about") {
        Ok(group) if group.members.is_empty() => Ok(()),
        Ok(group) => Err(has_members(&args.name, &who(&group))),
        Err(fault) if fault.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => {
            global.style().note(format!("group {} is new: there was none of this name", args.name));
            Ok(())
        }
        Err(fault) => Err(fault.into()),
    }
}

/// The logs of the partitions that are meant.
fn logs(client: &mut Client, args: &ResetArgs, offsets: &Offsets) -> Result<BTreeMap<(String, i32), Log>> {
    let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for topics in &args.topic {
        let topic = client.topic(&topics.name, false)?;
        wanted.entry(topics.name.clone()).or_default().extend(chosen(&topic, &topics.partitions)?);
    }
    if args.all_topics {
        for (topic, partition) in offsets.keys() {
            wanted.entry(topic.clone()).or_default().push(*partition);
        }
        if wanted.is_empty() {
            return Err(Failure::new(format!("group {} has committed no offsets", args.name))
                .advice("Name what to reset with --topic."));
        }
    }
    let mut logs = BTreeMap::new();
    for (topic, partitions) in wanted {
        let begins = client.list_offsets(&topic, &partitions, |_| EARLIEST)?;
        let ends = client.list_offsets(&topic, &partitions, |_| LATEST)?;
        let times = match args.to {
            To::Time(time) => client.list_offsets(&topic, &partitions, |_| time)?,
            _ => BTreeMap::new(),
        };
        for (partition, begin) in begins {
            let at_time = times.get(&partition).map(|found| found.offset).filter(|offset| *offset >= 0);
            let log = Log { begin: begin.offset, end: ends[&partition].offset, at_time };
            logs.insert((topic.clone(), partition), log);
        }
    }
    Ok(logs)
}

/// What becomes of each partition.
fn plan(to: To, logs: &BTreeMap<(String, i32), Log>, offsets: &Offsets) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut unknown = Vec::new();
    for ((topic, partition), log) in logs {
        let old = offsets.get(&(topic.clone(), *partition)).map(|committed| committed.offset);
        let wanted = match (to, old) {
            (To::Earliest, _) => log.begin,
            (To::Latest, _) | (To::Current, None) => log.end,
            (To::Offset(offset), _) => offset,
            (To::Time(_), _) => log.at_time.unwrap_or(log.end),
            (To::Current, Some(old)) => old,
            (To::By(by), Some(old)) => old.saturating_add(by),
            (To::By(_), None) => {
                unknown.push(format!("{topic}-{partition}"));
                continue;
            }
        };
        // A log of a broker that answers between the two questions may have been cut past its former end.
        let new = wanted.min(log.end).max(log.begin);
        let moved_to = match wanted.cmp(&new) {
            std::cmp::Ordering::Less => Some("begin"),
            std::cmp::Ordering::Greater => Some("end"),
            std::cmp::Ordering::Equal => None,
        };
        changes.push(Change { topic: topic.clone(), partition: *partition, old, new, moved_to });
    }
    match unknown.is_empty() {
        true => Ok(changes),
        false => Err(Failure::new(format!(
            "the group has committed nothing for {}: there is no offset to go on or back from",
            unknown.join(", ")
        ))
        .advice("Name an offset, a time, earliest or latest, or leave these partitions out.")),
    }
}

fn tell(
    global: &Global,
    changes: &[Change],
    result: impl Fn(&Change) -> (&'static str, Option<&'static str>),
) -> Result<()> {
    let mut out = stdout();
    let mut table = Table::new(&["TOPIC", ">PARTITION", ">OLD", ">NEW", ">CHANGE"]);
    for change in changes {
        let by = change.old.map(|old| change.new - old);
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
        if global.style().json() {
            let (result, error) = result(change);
            let told = Told {
                topic: &change.topic,
                partition: change.partition,
                old_offset: change.old,
                new_offset: change.new,
                change: by,
                moved_to: change.moved_to,
                result,
                error,
            };
            json_line(&mut out, &told)?;
        } else {
            table.row([
                change.topic.clone(),
                change.partition.to_string(),
                number(change.old),
                change.new.to_string(),
                by.map_or("-".to_owned(), |by| if by > 0 { format!("+{by}") } else { by.to_string() }),
            ]);
        }
    }
    if !global.style().json() {
        table.write(&mut out, 0)?;
    }
    Ok(out.flush()?)
}

/// Commits the new offsets. Gives those that the coordinator did not take.
fn commit(client: &mut Client, group: &str, changes: &[Change]) -> Result<BTreeMap<(String, i32), Fault>> {
    let mut topics: BTreeMap<String, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for change in changes {
        topics.entry(change.topic.clone()).or_default().push(OffsetCommitRequestPartition {
            partition_index: change.partition,
            committed_offset: change.new,
            committed_leader_epoch: -1,
            committed_metadata: Some(String::new()),
        });
    }
    let topic = |(name, partitions)| OffsetCommitRequestTopic {
        name,
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        topics: topics.into_iter().map(topic).collect(),
        ..OffsetCommitRequest::default()
    };
    let faults = client.group(group, |connection| {
        let version = connection.version_up_to(ApiKey::OffsetCommit, BY_NAME)?;
        let sent = connection.send(&request, version)?;
        let answer = connection.receive(sent, std::time::Duration::ZERO)?;
        let mut faults = BTreeMap::new();
        for topic in answer.topics {
            for part in topic.partitions.iter().filter(|part| part.error_code.is_error()) {
                let doing = format!("committing an offset of {}-{}", topic.name, part.partition_index);
                let fault = Fault::refused(doing, part.error_code, None);
                if fault.is_retriable() {
                    return Err(fault);
                }
                faults.insert((topic.name.clone(), part.partition_index), fault);
            }
        }
        Ok(faults)
    })?;
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::group::look::Committed;

    #[test]
    fn what_lies_outside_of_the_log_is_moved_to_its_ends() {
        let at = ("t".to_owned(), 0);
        let logs = BTreeMap::from([(at.clone(), Log { begin: 5, end: 20, at_time: Some(9) })]);
        let committed = |offset: i64| {
            let committed = Committed { offset, leader_epoch: -1, metadata: String::new() };
            Offsets::from([(at.clone(), committed)])
        };
        for (to, old, new, moved_to) in [
            (To::Earliest, 7, 5, None),
            (To::Latest, 7, 20, None),
            (To::Offset(5), 7, 5, None),
            (To::Offset(20), 7, 20, None),
            (To::Offset(4), 7, 5, Some("begin")),
            (To::Offset(21), 7, 20, Some("end")),
            (To::Time(1), 7, 9, None),
            (To::Current, 7, 7, None),
            (To::Current, 3, 5, Some("begin")),
            (To::By(3), 7, 10, None),
            (To::By(-2), 7, 5, None),
            (To::By(-3), 7, 5, Some("begin")),
            (To::By(i64::MAX), 7, 20, Some("end")),
        ] {
            let planned = plan(to, &logs, &committed(old)).unwrap();
            assert_eq!((planned[0].new, planned[0].moved_to), (new, moved_to), "{to:?}");
        }
        assert_eq!(plan(To::Current, &logs, &Offsets::new()).unwrap()[0].new, 20);
        assert!(plan(To::By(1), &logs, &Offsets::new()).is_err());
        let empty = BTreeMap::from([(at.clone(), Log { begin: 5, end: 5, at_time: None })]);
        assert_eq!(plan(To::Time(1), &empty, &committed(7)).unwrap()[0].new, 5);
    }
}
