//! `ottla config`: show and change the settings of topics, brokers, the cluster, groups and client metrics.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::client::{Client, Fault};
use super::failure::{Failure, Result};
use super::output::{Table, json_line, stdout};
use crate::config::settings::Type;
use crate::controller::image::resource;
use crate::wire::schema::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};

/// What `ottla config` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla config describe --topic orders                 what is set for a topic, and where it comes from
  ottla config describe --topic orders --all           its defaults too
  ottla config set --topic orders retention.ms=86400000
  ottla config set --cluster message.max.bytes=2097152     for all brokers, until it is deleted
  ottla config delete --topic orders retention.ms      back to the broker's value
  ottla config set --broker-logger 1 ottla.broker.connection=DEBUG     what broker 1 logs, until it ends

A topic's setting goes before a broker's. Of a broker's, the strongest comes first: set at run time for this broker,
set at run time for the cluster, its file, the default. What is set at run time holds at once and stays.")]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// The subcommands of `ottla config`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show settings, their values and where these come from
    Describe(DescribeArgs),
    /// Change settings while the brokers run
    Set(SetArgs),
    /// Take settings back, so that what lies below them holds again
    Delete(DeleteArgs),
}

/// Whose settings.
#[derive(Args, Clone, Debug)]
#[group(id = "whose", required = true, multiple = true)]
pub struct Whose {
    /// A topic; may be given several times
    #[arg(short, long, value_name = "TOPIC", help_heading = "Whose settings")]
    pub topic: Vec<String>,

    /// A broker, by its node.id; may be given several times
    #[arg(long, value_name = "ID", help_heading = "Whose settings")]
    pub broker: Vec<i32>,

    /// The loggers of a broker, by its node.id: their levels are FATAL, ERROR, WARN, INFO, DEBUG and TRACE; may be
    /// given several times
    #[arg(long, value_name = "ID", help_heading = "Whose settings")]
    pub broker_logger: Vec<i32>,

    /// All brokers at once
    #[arg(long, help_heading = "Whose settings")]
    pub cluster: bool,

    /// A group; may be given several times
    #[arg(short, long, value_name = "GROUP", help_heading = "Whose settings")]
    pub group: Vec<String>,

    /// A subscription to clients' metrics; may be given several times
    #[arg(long, value_name = "NAME", help_heading = "Whose settings")]
    pub client_metrics: Vec<String>,
}

/// What `ottla config describe` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla config describe --topic orders
  ottla config describe --topic orders retention.ms --explain
  ottla config describe --broker 1 --all --output json | jq '.settings[] | select(.read_only | not) | .name'")]
pub struct DescribeArgs {
    /// Only these settings, whatever they are
    #[arg(value_name = "SETTING")]
    pub names: Vec<String>,

    #[command(flatten)]
    pub whose: Whose,

    /// Show settings that have their default value too
    #[arg(short, long)]
    pub all: bool,

    /// Say what each setting is for, and everything that gives it a value
    #[arg(short, long)]
    pub explain: bool,
}

/// What `ottla config set` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla config set --topic orders retention.ms=86400000 segment.bytes=104857600
  ottla config set --topic users cleanup.policy+=compact    add to a list; -= takes away
  ottla config set --broker 1 max.connections=2000
  ottla config set --cluster log.retention.ms=604800000 --validate-only")]
pub struct SetArgs {
    /// SETTING=VALUE, or for lists SETTING+=VALUE and SETTING-=VALUE
    #[arg(required = true, value_name = "SETTING=VALUE", value_parser = change)]
    pub changes: Vec<Change>,

    #[command(flatten)]
    pub whose: Whose,

    /// Only say whether it could be done
    #[arg(long)]
    pub validate_only: bool,
}

/// What `ottla config delete` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla config delete --topic orders retention.ms
  ottla config delete --cluster message.max.bytes log.retention.ms")]
pub struct DeleteArgs {
    /// The settings
    #[arg(required = true, value_name = "SETTING")]
    pub names: Vec<String>,

    #[command(flatten)]
    pub whose: Whose,

    /// Only say whether it could be done
    #[arg(long)]
    pub validate_only: bool,
}

/// What is to become of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub name: String,
    /// IncrementalAlterConfigs' number of what is done: 0 sets, 1 deletes, 2 appends, 3 subtracts.
    pub operation: i8,
    /// To, by or of what.
    pub value: Option<String>,
}

impl Change {
    /// Back to what lies below.
    pub fn delete(name: &str) -> Change {
        Change { name: name.to_owned(), operation: 1, value: None }
    }
}

/// Reads `name=value`, `name+=value` or `name-=value`.
pub fn change(text: &str) -> Result<Change, String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("'{text}' is not SETTING=VALUE; 'delete' takes back"))?;
    let (name, operation) = match (name.strip_suffix('+'), name.strip_suffix('-')) {
        (Some(name), _) => (name, 2),
        (_, Some(name)) => (name, 3),
        _ => (name, 0),
    };
    match name.is_empty() {
        true => Err(format!("'{text}' names no setting")),
        false => Ok(Change { name: name.to_owned(), operation, value: Some(value.to_owned()) }),
    }
}

/// Runs one of the subcommands.
pub fn run(args: &ConfigArgs, global: &Global) -> Result<()> {
    match &args.command {
        ConfigCommand::Describe(args) => describe(args, global),
        ConfigCommand::Set(args) => alter(&args.whose, &args.changes, args.validate_only, global),
        ConfigCommand::Delete(args) => {
            let changes: Vec<Change> = args.names.iter().map(|name| Change::delete(name)).collect();
            alter(&args.whose, &changes, args.validate_only, global)
        }
    }
}

/// Something that has settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// DescribeConfigs' number of what it is.
    pub kind: i8,
    /// Its name.
    pub name: String,
}

impl Resource {
    /// A topic.
    pub fn topic(name: &str) -> Resource {
        Resource { kind: resource::TOPIC, name: name.to_owned() }
    }

    fn kind_name(&self) -> &'static str {
        match self.kind {
            resource::TOPIC => "topic",
            resource::BROKER if self.name.is_empty() => "cluster",
            resource::BROKER => "broker",
            resource::BROKER_LOGGER => "broker logger",
            resource::GROUP => "group",
            _ => "client metrics",
        }
    }

    fn describe(&self) -> String {
        match self.name.is_empty() {
            true => "all brokers".to_owned(),
            false if self.kind == resource::BROKER_LOGGER => format!("the loggers of broker {}", self.name),
            false => format!("{} {}", self.kind_name(), self.name),
        }
    }

    /// The connection that answers for it: a broker's own, as its file is told by nobody else.
    fn ask<T>(
        &self,
        client: &mut Client,
        ask: impl FnOnce(&mut super::client::Connection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self.name.parse::<i32>() {
            Ok(id) if matches!(self.kind, resource::BROKER | resource::BROKER_LOGGER) => {
                client.metadata(Some(&[]), false)?;
                ask(client.broker(id)?)
            }
            _ => ask(client.any()?),
        }
    }
}

impl Whose {
    fn resources(&self) -> Vec<Resource> {
        let of = |kind: i8, names: &[String]| {
            names.iter().map(|name| Resource { kind, name: name.clone() }).collect::<Vec<_>>()
        };
        let numbers = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<String>>();
        let cluster = if self.cluster { vec![String::new()] } else { Vec::new() };
        [
            of(resource::TOPIC, &self.topic),
            of(resource::BROKER, &numbers(&self.broker)),
            of(resource::BROKER_LOGGER, &numbers(&self.broker_logger)),
            of(resource::BROKER, &cluster),
            of(resource::GROUP, &self.group),
            of(resource::CLIENT_METRICS, &self.client_metrics),
        ]
        .concat()
    }
}

#[derive(Serialize)]
struct Outcome<'a> {
    kind: &'static str,
    name: &'a str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

fn alter(whose: &Whose, changes: &[Change], validate_only: bool, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let (mut out, mut failed) = (stdout(), Vec::new());
    for resource in whose.resources() {
        let done = alter_one(&mut client, &resource, changes, validate_only);
        let done_word = if validate_only { "valid" } else { "changed" };
        let (result, error) = match &done {
            Ok(()) => (done_word, None),
            Err(fault) => match fault.code() {
                Some(code) => ("failed", Some(code.name())),
                None => return Err(done.expect_err("it was just looked at").into()),
            },
        };
        if global.style().json() {
            let outcome = Outcome { kind: resource.kind_name(), name: &resource.name, result, error };
            json_line(&mut out, &outcome)?;
        } else if error.is_none() {
            writeln!(out, "{done_word} {}", resource.describe())?;
        }
        failed.extend(done.err());
    }
    out.flush()?;
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0).into()),
        _ => Err(Failure::new(failed.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))),
    }
}

/// Changes the settings of one resource: all of them, or none.
pub fn alter_one(
    client: &mut Client,
    resource: &Resource,
    changes: &[Change],
    validate_only: bool,
) -> Result<(), Fault> {
    let config = |change: &Change| IncrementalAlterableConfig {
        name: change.name.clone(),
        config_operation: change.operation,
        value: change.value.clone(),
    };
    let wanted = IncrementalAlterConfigsResource {
        resource_type: resource.kind,
        resource_name: resource.name.clone(),
        configs: changes.iter().map(config).collect(),
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![wanted], validate_only };
    let answer = resource.ask(client, |connection| connection.call(&request))?;
    match answer.responses.into_iter().find(|result| result.error_code.is_error()) {
        None => Ok(()),
        Some(result) => {
            let doing = format!("changing the settings of {}", resource.describe());
            Err(Fault::refused(doing, result.error_code, result.error_message))
        }
    }
}

#[derive(Serialize)]
struct Described {
    kind: &'static str,
    name: String,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: Option<String>,
    source: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    read_only: bool,
    sensitive: bool,
    /// Everything that gives it a value, the strongest first.
    synonyms: Vec<Synonym>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
}

#[derive(Serialize)]
struct Synonym {
    name: String,
    value: Option<String>,
    source: &'static str,
}

fn describe(args: &DescribeArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let mut out = stdout();
    for (number, resource) in args.whose.resources().into_iter().enumerate() {
        let settings = settings(&mut client, &resource, args)?;
        if let Some(missing) = args.names.iter().find(|name| !settings.iter().any(|s| s.name == **name)) {
            let what = format!("{} has no setting '{missing}'", resource.describe());
            return Err(Failure::new(what).advice("--all lists those that there are."));
        }
        let described = Described { kind: resource.kind_name(), name: resource.name.clone(), settings };
        if global.style().json() {
            json_line(&mut out, &described)?;
            continue;
        }
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", resource.describe())?;
        match described.settings.is_empty() {
            true => {
                out.flush()?;
                global.style().note("nothing is set, and the defaults hold; --all shows them");
            }
            false if args.explain => explain(&mut out, &described.settings)?,
            false => show(&mut out, &described.settings)?,
        }
    }
    Ok(out.flush()?)
}

fn settings(client: &mut Client, resource: &Resource, args: &DescribeArgs) -> Result<Vec<Setting>, Fault> {
    let wanted = DescribeConfigsResource {
        resource_type: resource.kind,
        resource_name: resource.name.clone(),
        configuration_keys: (!args.names.is_empty()).then(|| args.names.clone()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![wanted],
        include_synonyms: true,
        include_documentation: args.explain,
    };
    let answer = resource.ask(client, |connection| connection.call(&request))?;
    let mut settings = Vec::new();
    for result in answer.results {
        if result.error_code.is_error() {
            let doing = format!("asking for the settings of {}", resource.describe());
            return Err(Fault::refused(doing, result.error_code, result.error_message));
        }
        let shown = |row: &DescribeConfigsResourceResult| {
            args.all || !args.names.is_empty() || source(row.config_source) != DEFAULT
        };
        settings.extend(result.configs.into_iter().filter(shown).map(setting));
    }
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(settings)
}

fn setting(row: DescribeConfigsResourceResult) -> Setting {
    let synonym = |s: crate::wire::schema::DescribeConfigsSynonym| Synonym {
        source: source(s.source),
        name: s.name,
        value: s.value,
    };
    Setting {
        name: row.name,
        value: row.value,
        source: source(row.config_source),
        kind: Type::from_code(row.config_type).map_or("unknown", Type::name),
        read_only: row.read_only,
        sensitive: row.is_sensitive,
        synonyms: row.synonyms.into_iter().map(synonym).collect(),
        documentation: row.documentation,
    }
}

/// Where a value comes from, where it comes from nowhere.
pub const DEFAULT: &str = "default";

/// Where a value comes from, by DescribeConfigs' number.
pub fn source(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "broker (dynamic)",
        3 => "cluster (dynamic)",
        4 => "broker's file",
        5 => DEFAULT,
        6 => "broker's logger",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}

fn value(value: &Option<String>, sensitive: bool) -> String {
    match value {
        _ if sensitive => "(hidden)".to_owned(),
        None => "(none)".to_owned(),
        Some(text) => text.clone(),
    }
}

fn show(out: &mut impl Write, settings: &[Setting]) -> io::Result<()> {
    let mut table = Table::new(&["SETTING", "VALUE", "FROM", "CHANGES"]);
    for s in settings {
        let changes = if s.read_only { "with a restart" } else { "at run time" };
        table.row([s.name.clone(), value(&s.value, s.sensitive), s.source.to_owned(), changes.to_owned()]);
    }
    table.write(out, 2)
}

fn explain(out: &mut impl Write, settings: &[Setting]) -> io::Result<()> {
    for s in settings {
        writeln!(out, "  {} = {}  ({}, {})", s.name, value(&s.value, s.sensitive), s.kind, s.source)?;
        if let Some(text) = s.documentation.as_ref().filter(|text| !text.is_empty()) {
            writeln!(out, "      {}", text.replace('\n', "\n      "))?;
        }
        for synonym in &s.synonyms {
            writeln!(
                out,
                "      {}: {} = {}",
                synonym.source,
                synonym.name,
                value(&synonym.value, s.sensitive)
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read() {
        let read = |text| change(text).map(|c| (c.name, c.operation, c.value.unwrap()));
        let made = |name: &str, operation, value: &str| Ok((name.to_owned(), operation, value.to_owned()));
        assert_eq!(read("a.b=c=d"), made("a.b", 0, "c=d"));
        assert_eq!(read("a="), made("a", 0, ""));
        assert_eq!(read("a+=c"), made("a", 2, "c"));
        assert_eq!(read("a-=c"), made("a", 3, "c"));
        assert_eq!(read("a=-1"), made("a", 0, "-1"));
        assert!(read("a").is_err() && read("=b").is_err() && read("+=b").is_err());
    }
}
