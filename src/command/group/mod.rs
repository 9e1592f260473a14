//! `ottla group`: list, describe, reset and delete consumer groups.

mod delete;
mod describe;
mod look;
mod reset;
mod spec;

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::client::Client;
use super::failure::Result;
use super::output::{Table, json_line, stdout};
use crate::wire::schema::ListGroupsRequest;

/// What `ottla group` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla group list --state Stable
  ottla group describe billing                 its members, what they are assigned, and how far they have come
  ottla group reset billing --topic orders --to earliest
  ottla group delete-offsets billing --topic orders:3
  ottla group delete billing

What changes a group shows first what would become of it, and asks; --yes does it, --dry-run only shows.")]
pub struct GroupArgs {
    /// What to do
    #[command(subcommand)]
    pub command: GroupCommand,
}

/// The subcommands of `ottla group`.
#[derive(Clone, Debug, Subcommand)]
pub enum GroupCommand {
    /// List the groups there are
    List(ListArgs),
    /// Show groups: state, members, assignments, committed offsets and lag
    Describe(describe::DescribeArgs),
    /// Let a group go on from other offsets
    Reset(reset::ResetArgs),
    /// Delete groups and all they have committed
    Delete(delete::DeleteArgs),
    /// Delete what a group has committed for some partitions
    DeleteOffsets(delete::DeleteOffsetsArgs),
}

/// What `ottla group list` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla group list
  ottla group list --state empty --state dead
  ottla group list --type consumer --output json | jq -r .group")]
pub struct ListArgs {
    /// Only groups in this state; may be given several times
    #[arg(long, value_name = "STATE", ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(STATES))]
    pub state: Vec<String>,

    /// Only groups of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(TYPES))]
    pub types: Vec<String>,
}

const STATES: [&str; 8] = [
    "Assigning",
    "CompletingRebalance",
    "Dead",
    "Empty",
    "NotReady",
    "PreparingRebalance",
    "Reconciling",
    "Stable",
];
const TYPES: [&str; 4] = ["classic", "consumer", "share", "streams"];

/// Runs one of the subcommands.
pub fn run(args: &GroupArgs, global: &Global) -> Result<()> {
    match &args.command {
        GroupCommand::List(args) => list(args, global),
        GroupCommand::Describe(args) => describe::run(args, global),
        GroupCommand::Reset(args) => reset::run(args, global),
        GroupCommand::Delete(args) => delete::run(args, global),
        GroupCommand::DeleteOffsets(args) => delete::offsets(args, global),
    }
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    #[serde(rename = "type")]
    group_type: String,
    protocol_type: String,
}

fn list(args: &ListArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let request = ListGroupsRequest { states_filter: args.state.clone(), types_filter: args.types.clone() };
    let groups = client.list_groups(&request)?;
    let mut out = stdout();
    let mut table = Table::new(&["GROUP", "STATE", "TYPE", "PROTOCOL"]);
    let none = groups.is_empty();
    for group in groups {
        let listed = Listed {
            group: group.group_id,
            state: group.group_state,
            group_type: group.group_type,
            protocol_type: group.protocol_type,
        };
        if global.style().json() {
            json_line(&mut out, &listed)?;
        } else {
            // Offsets may be committed for a group that nobody ever joined: it has no protocol.
            let shown = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            table.row([listed.group, listed.state, listed.group_type, listed.protocol_type].map(shown));
        }
    }
    if !global.style().json() {
        match none {
            true => global.style().note("there are no such groups"),
            false => table.write(&mut out, 0)?,
        }
    }
    Ok(out.flush()?)
}
