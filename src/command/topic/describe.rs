//! `ottla topic describe`: all there is to know about a topic.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::super::Global;
use super::super::client::{Client, EARLIEST, Fault, FoundOffset, LATEST, Topic};
use super::super::config::{DEFAULT, source};
use super::super::failure::Result;
use super::super::output::{Table, json_line, stdout};
use crate::wire::schema::{DescribeConfigsRequest, DescribeConfigsResource};

/// What `ottla topic describe` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla topic describe orders
  ottla topic describe orders --all-configs
  ottla topic describe orders --output json | jq '.partitions[].end_offset'")]
pub struct DescribeArgs {
    /// The topics' names
    #[arg(required = true, value_name = "TOPIC")]
    pub names: Vec<String>,

    /// Show settings that have their default value too
    #[arg(short, long)]
    pub all_configs: bool,
}

#[derive(Serialize)]
struct Described {
    topic: String,
    topic_id: String,
    internal: bool,
    replication_factor: usize,
    partitions: Vec<DescribedPartition>,
    configs: Vec<Setting>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
    begin_offset: Option<i64>,
    end_offset: Option<i64>,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    value: Option<String>,
    source: &'static str,
}

/// Describes the topics.
pub fn run(args: &DescribeArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let mut out = stdout();
    for (number, name) in args.names.iter().enumerate() {
        let described = describe(&mut client, name, args.all_configs)?;
        if global.style().json() {
            json_line(&mut out, &described)?;
        } else {
            if number > 0 {
                writeln!(out)?;
            }
            show(&mut out, &described)?;
        }
    }
    Ok(out.flush()?)
}

fn describe(client: &mut Client, name: &str, all_configs: bool) -> Result<Described> {
    let topic: Topic = client.topic_as_it_is(name)?;
    // A partition without a leader has no offsets to show, and must not hide the others.
    let led: Vec<i32> = topic.partitions.iter().filter(|p| p.leader.is_some()).map(|p| p.index).collect();
    let begin = client.list_offsets(name, &led, |_| EARLIEST)?;
    let end = client.list_offsets(name, &led, |_| LATEST)?;
    let offset = |of: &BTreeMap<i32, FoundOffset>, p: i32| of.get(&p).map(|f| f.offset);
    let configs = settings(client, name, all_configs)?;
    Ok(Described {
        topic: topic.name.clone(),
        topic_id: topic.id.to_string(),
        internal: topic.internal,
        replication_factor: topic.partitions.first().map_or(0, |p| p.replicas.len()),
        partitions: topic
            .partitions
            .into_iter()
            .map(|p| DescribedPartition {
                partition: p.index,
                leader: p.leader,
                leader_epoch: p.leader_epoch,
                begin_offset: offset(&begin, p.index),
                end_offset: offset(&end, p.index),
                replicas: p.replicas,
                isr: p.isr,
                offline: p.offline,
            })
            .collect(),
        configs,
    })
}

/// DescribeConfigs' number for a topic.
const RESOURCE_TOPIC: i8 = 2;

fn settings(client: &mut Client, name: &str, all: bool) -> Result<Vec<Setting>> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: name.to_string(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    let answer = client.any()?.call(&request)?;
    let mut settings = Vec::new();
    for result in answer.results {
        if result.error_code.is_error() {
            let doing = format!("asking for the settings of topic {name}");
            return Err(Fault::refused(doing, result.error_code, result.error_message).into());
        }
        for config in result.configs {
            let source = source(config.config_source);
            if all || source != DEFAULT {
                settings.push(Setting { name: config.name, value: config.value, source });
            }
        }
    }
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(settings)
}

fn show(out: &mut impl Write, topic: &Described) -> io::Result<()> {
    writeln!(
        out,
        "{}  id {}  {} partitions  {} replicas each{}",
        topic.topic,
        topic.topic_id,
        topic.partitions.len(),
        topic.replication_factor,
        if topic.internal { "  internal" } else { "" }
    )?;
    let ids = |list: &[i32]| match list {
        [] => "-".to_string(),
        list => list.iter().map(i32::to_string).collect::<Vec<_>>().join(","),
    };
    let number = |n: Option<i64>| n.map_or("-".to_string(), |n| n.to_string());
    let mut table =
        Table::new(&[">PARTITION", ">LEADER", ">EPOCH", "REPLICAS", "ISR", "OFFLINE", ">BEGIN", ">END"]);
    for p in &topic.partitions {
        table.row([
            p.partition.to_string(),
            number(p.leader.map(i64::from)),
            p.leader_epoch.to_string(),
            ids(&p.replicas),
            ids(&p.isr),
            ids(&p.offline),
            number(p.begin_offset),
            number(p.end_offset),
        ]);
    }
    table.write(out, 2)?;
    if !topic.configs.is_empty() {
        let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
        for s in &topic.configs {
            table.row([s.name.clone(), s.value.clone().unwrap_or_default(), s.source.to_string()]);
        }
        table.write(out, 2)?;
    }
    Ok(())
}
