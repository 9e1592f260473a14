//! `ottla group describe`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::look::{self, Group, Member, Offsets};
use crate::command::Global;
use crate::command::client::Client;
use crate::command::failure::{Failure, Result};
use crate::command::output::{Table, json_line, stdout};

/// What `ottla group describe` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla group describe billing
  ottla group describe billing audit --output json | jq '{group, total_lag}'")]
pub struct DescribeArgs {
    /// The groups' names
    #[arg(required = true, value_name = "GROUP")]
    pub names: Vec<String>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    group: Group,
    /// Of the partitions whose lag is known.
    total_lag: i64,
    partitions: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    topic: String,
    partition: i32,
    committed_offset: Option<i64>,
    committed_leader_epoch: Option<i32>,
    metadata: Option<String>,
    end_offset: Option<i64>,
    lag: Option<i64>,
    /// The member that has it.
    member_id: Option<String>,
    client_id: Option<String>,
    host: Option<String>,
}

/// Shows groups.
pub fn run(args: &DescribeArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let mut found = look::groups(&mut client, &args.names)?;
    let there: Vec<String> = found.iter().filter(|(_, g)| g.is_ok()).map(|(name, _)| name.clone()).collect();
    let mut offsets = look::offsets(&mut client, &there)?;
    let mut out = stdout();
    let mut faults = Vec::new();
    let mut shown_before = false;
    // In the order they were asked for; a name that was given twice is shown once.
    for name in &args.names {
        let group = match found.remove(name) {
            None => continue,
            Some(Err(fault)) => {
                faults.push(fault.to_string());
                continue;
            }
            Some(Ok(group)) => group,
        };
        let shown = shown(&mut client, group, &offsets.remove(name).unwrap_or_default())?;
        if global.style().json() {
            json_line(&mut out, &shown)?;
            continue;
        }
        if shown_before {
            writeln!(out)?;
        }
        shown_before = true;
        write_text(&mut out, &shown)?;
    }
    out.flush()?;
    match faults.is_empty() {
        true => Ok(()),
        false => {
            Err(Failure::new(faults.join("\n")).advice("'ottla group list' shows the groups there are."))
        }
    }
}

fn shown(client: &mut Client, group: Group, offsets: &Offsets) -> Result<Shown> {
    let mut owners: BTreeMap<(String, i32), &Member> = BTreeMap::new();
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            owners.extend(partitions.iter().map(|partition| ((topic.clone(), *partition), member)));
        }
    }
    let all: BTreeSet<(String, i32)> = offsets.keys().chain(owners.keys()).cloned().collect();
    let ends = look::ends(client, &all)?;
    let part = |at: &(String, i32)| {
        let (committed, end, owner) = (offsets.get(at), ends.get(at).copied(), owners.get(at));
        Part {
            topic: at.0.clone(),
            partition: at.1,
            committed_offset: committed.map(|c| c.offset),
            committed_leader_epoch: committed.map(|c| c.leader_epoch).filter(|epoch| *epoch >= 0),
            metadata: committed.map(|c| c.metadata.clone()),
            end_offset: end,
            // A commit may lie behind the end: of a topic that was made anew.
            lag: committed.zip(end).map(|(committed, end)| (end - committed.offset).max(0)),
            member_id: owner.map(|member| member.member_id.clone()),
            client_id: owner.map(|member| member.client_id.clone()),
            host: owner.map(|member| member.host.clone()),
        }
    };
    let partitions: Vec<Part> = all.iter().map(part).collect();
    let total_lag = partitions.iter().filter_map(|part| part.lag).sum();
    Ok(Shown { group, total_lag, partitions })
}

fn write_text(out: &mut impl Write, shown: &Shown) -> Result<()> {
    let group = &shown.group;
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let address = group.coordinator_address.as_deref().map_or(String::new(), |at| format!(" ({at})"));
    writeln!(out, "{}", group.group)?;
    writeln!(out, "  state        {}", group.state)?;
    writeln!(out, "  type         {}", group.group_type)?;
    writeln!(out, "  protocol     {}", or_dash(&group.protocol_type))?;
    writeln!(out, "  assignor     {}", or_dash(&group.assignor))?;
    writeln!(out, "  coordinator  {}{address}", group.coordinator)?;
    if let Some((epoch, assigned)) = group.group_epoch.zip(group.assignment_epoch) {
        writeln!(out, "  epoch        {epoch}, of the assignment {assigned}")?;
    }
    writeln!(out, "  members      {}", group.members.len())?;
    writeln!(out, "  total lag    {}", shown.total_lag)?;
    if !group.members.is_empty() {
        let mut table = Table::new(&["MEMBER", "CLIENT", "HOST", "ASSIGNED"]);
        for member in &group.members {
            let name = match &member.instance_id {
                Some(instance) => format!("{} ({instance})", member.member_id),
                None => member.member_id.clone(),
            };
            table.row([name, or_dash(&member.client_id), member.host.clone(), ranges(&member.assignment)]);
        }
        writeln!(out)?;
        table.write(out, 2)?;
    }
    if !shown.partitions.is_empty() {
        let mut table = Table::new(&["TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", "OWNER"]);
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
        for part in &shown.partitions {
            table.row([
                part.topic.clone(),
                part.partition.to_string(),
                number(part.committed_offset),
                number(part.end_offset),
                number(part.lag),
                part.member_id.clone().unwrap_or("-".to_owned()),
            ]);
        }
        writeln!(out)?;
        table.write(out, 2)?;
    }
    Ok(())
}

/// Partitions by topic, runs of them drawn together: `orders:0-3,7 users:1`.
fn ranges(assignment: &BTreeMap<String, Vec<i32>>) -> String {
    let mut texts = Vec::new();
    for (topic, partitions) in assignment.iter().filter(|(_, partitions)| !partitions.is_empty()) {
        let mut runs: Vec<(i32, i32)> = Vec::new();
        for partition in partitions {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *partition => *last = *partition,
                _ => runs.push((*partition, *partition)),
            }
        }
        let run = |(first, last): &(i32, i32)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        texts.push(format!("{topic}:{}", runs.iter().map(run).collect::<Vec<_>>().join(",")));
    }
    match texts.is_empty() {
        true => "-".to_owned(),
        false => texts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_partitions_are_drawn_together() {
        let of = |topics: &[(&str, &[i32])]| {
            ranges(
                &topics.iter().map(|(topic, partitions)| (topic.to_string(), partitions.to_vec())).collect(),
            )
        };
        assert_eq!(of(&[]), "-");
        assert_eq!(of(&[("a", &[0, 1, 2, 5, 7, 8]), ("b", &[3]), ("c", &[])]), "a:0-2,5,7-8 b:3");
    }
}
