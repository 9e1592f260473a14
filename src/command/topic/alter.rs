//! `ottla topic alter`: more partitions, other settings.

use clap::Args;

use super::super::Global;
use super::super::client::{Client, Fault};
use super::super::config::{Change, Resource, alter_one, change};
use super::super::failure::{Failure, Result};
use super::{Outcome, tell};
use crate::wire::error::ErrorCode;
use crate::wire::schema::{CreatePartitionsRequest, CreatePartitionsTopic};

/// What `ottla topic alter` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla topic alter orders --partitions 12
  ottla topic alter orders -c retention.ms=86400000 -c cleanup.policy+=compact
  ottla topic alter orders --delete-config retention.ms

Partitions can be added, not taken away. Records with a key may go to another partition than those before them with
the same key, once there are more.")]
pub struct AlterArgs {
    /// The topics' names
    #[arg(required = true, value_name = "TOPIC")]
    pub names: Vec<String>,

    /// How many partitions there are to be in all
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: Option<i32>,

    /// A setting, by Kafka's name; += and -= add to a list and take away; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = change)]
    pub config: Vec<Change>,

    /// A setting that goes back to the broker's value; may be given several times
    #[arg(long, value_name = "KEY")]
    pub delete_config: Vec<String>,

    /// Only say whether it could be done
    #[arg(long)]
    pub validate_only: bool,
}

/// Alters the topics.
pub fn run(args: &AlterArgs, global: &Global) -> Result<()> {
    let deleted = args.delete_config.iter().map(|name| Change::delete(name));
    let changes: Vec<Change> = args.config.iter().cloned().chain(deleted).collect();
    if args.partitions.is_none() && changes.is_empty() {
        return Err(Failure::usage("nothing is to be altered").advice("Give --partitions or --config."));
    }
    let mut client = Client::connect(global)?;
    let (mut outcomes, mut faults) = (Vec::new(), Vec::new());
    for name in &args.names {
        let done = alter(&mut client, name, args.partitions, &changes, args.validate_only);
        let result = if args.validate_only { "valid" } else { "altered" };
        let mut outcome = Outcome { topic: name, topic_id: None, partitions: None, result, error: None };
        match done {
            Ok(()) => outcome.partitions = args.partitions,
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

/// Settings first: they are refused more often, and then nothing has been done yet.
fn alter(
    client: &mut Client,
    name: &str,
    partitions: Option<i32>,
    changes: &[Change],
    validate_only: bool,
) -> Result<(), Fault> {
    if !changes.is_empty() {
        alter_one(client, &Resource::topic(name), changes, validate_only)?;
    }
    let Some(count) = partitions else { return Ok(()) };
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: name.to_owned(), count, assignments: None }],
        timeout_ms: client.timeout().as_millis().try_into().unwrap_or(i32::MAX),
        validate_only,
    };
    let answer = client.call_controller(&request)?;
    let result = answer.results.into_iter().next();
    let (code, message) =
        result.map_or((ErrorCode::UNKNOWN_SERVER_ERROR, None), |r| (r.error_code, r.error_message));
    match code {
        ErrorCode::NONE => Ok(()),
        code => Err(Fault::refused(format!("adding partitions to topic {name}"), code, message)),
    }
}
