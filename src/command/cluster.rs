//! `ottla cluster`: who the cluster is.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::client::{Client, Fault};
use super::failure::Result;
use super::output::{Table, json_line, stdout};
use crate::wire::api::ApiKey;
use crate::wire::schema::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeQuorumPartitionData, DescribeQuorumRequest,
    DescribeQuorumTopicData,
};

/// What `ottla cluster` understands.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ottla cluster
  ottla cluster --output json | jq -r .cluster_id")]
pub struct ClusterArgs {}

#[derive(Serialize)]
struct Cluster {
    cluster_id: String,
    controller: Option<i32>,
    brokers: Vec<Broker>,
    features: BTreeMap<String, Feature>,
    /// None where the brokers do not tell.
    quorum: Option<Quorum>,
}

#[derive(Serialize)]
struct Broker {
    id: i32,
    host: String,
    port: i32,
    rack: Option<String>,
    fenced: bool,
}

#[derive(Serialize)]
struct Feature {
    /// None where it is supported and not in force.
    level: Option<i16>,
    min: i16,
    max: i16,
}

#[derive(Serialize)]
struct Quorum {
    leader: i32,
    leader_epoch: i32,
    high_watermark: i64,
    voters: Vec<Member>,
    observers: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    id: i32,
    end_offset: i64,
}

/// Shows the cluster.
pub fn run(_: &ClusterArgs, global: &Global) -> Result<()> {
    let mut client = Client::connect(global)?;
    let cluster = Cluster { features: features(&mut client)?, ..look(&mut client)? };
    let mut out = stdout();
    if global.style().json() {
        json_line(&mut out, &cluster)?;
    } else {
        show(&mut out, &cluster)?;
    }
    Ok(out.flush()?)
}

/// The ids of the cluster's brokers, in order.
pub fn broker_ids(client: &mut Client) -> Result<Vec<i32>> {
    Ok(look(client)?.brokers.iter().map(|broker| broker.id).collect())
}

fn look(client: &mut Client) -> Result<Cluster> {
    let connection = client.any()?;
    let include_fenced_brokers = connection.version(ApiKey::DescribeCluster)? >= 2;
    let request = DescribeClusterRequest { include_fenced_brokers, ..Default::default() };
    let answer = connection.call(&request)?;
    if answer.error_code.is_error() {
        return Err(Fault::refused("describing the cluster", answer.error_code, answer.error_message).into());
    }
    let mut brokers: Vec<Broker> = answer
        .brokers
        .into_iter()
        .map(|b| Broker { id: b.broker_id, host: b.host, port: b.port, rack: b.rack, fenced: b.is_fenced })
        .collect();
    brokers.sort_by_key(|broker| broker.id);
    Ok(Cluster {
        cluster_id: answer.cluster_id,
        controller: (answer.controller_id >= 0).then_some(answer.controller_id),
        brokers,
        features: BTreeMap::new(),
        quorum: quorum(client)?,
    })
}

fn quorum(client: &mut Client) -> Result<Option<Quorum>> {
    let connection = client.any()?;
    if connection.version(ApiKey::DescribeQuorum).is_err() {
        return Ok(None);
    }
    let topic = DescribeQuorumTopicData {
        topic_name: "__cluster_metadata".to_owned(),
        partitions: vec![DescribeQuorumPartitionData { partition_index: 0 }],
    };
    let answer = connection.call(&DescribeQuorumRequest { topics: vec![topic] })?;
    let part = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
    let error = part.as_ref().map_or(answer.error_code, |part| part.error_code);
    if error.is_error() {
        return Err(Fault::refused("describing the quorum", error, answer.error_message).into());
    }
    let members = |all: Vec<crate::wire::schema::DescribeQuorumReplicaState>| {
        all.into_iter().map(|m| Member { id: m.replica_id, end_offset: m.log_end_offset }).collect()
    };
    Ok(part.map(|part| Quorum {
        leader: part.leader_id,
        leader_epoch: part.leader_epoch,
        high_watermark: part.high_watermark,
        voters: members(part.current_voters),
        observers: members(part.observers),
    }))
}

fn features(client: &mut Client) -> Result<BTreeMap<String, Feature>> {
    let request = ApiVersionsRequest {
        client_software_name: super::client::CLIENT_ID.into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    };
    let answer = client.any()?.call(&request)?;
    let mut features: BTreeMap<String, Feature> = answer
        .supported_features
        .into_iter()
        .map(|f| (f.name, Feature { level: None, min: f.min_version, max: f.max_version }))
        .collect();
    for finalized in answer.finalized_features {
        if let Some(feature) = features.get_mut(&finalized.name) {
            feature.level = Some(finalized.max_version_level);
        }
    }
    Ok(features)
}

fn show(out: &mut impl Write, cluster: &Cluster) -> std::io::Result<()> {
    writeln!(out, "cluster     {}", cluster.cluster_id)?;
    let controller = cluster.controller.map_or("none".to_owned(), |id| format!("broker {id}"));
    writeln!(out, "controller  {controller}")?;
    if let Some(quorum) = &cluster.quorum {
        let ids = |members: &[Member]| {
            let ids: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
            ids.join(", ")
        };
        writeln!(
            out,
            "quorum      leader {} in epoch {}, voters {}; metadata up to offset {}",
            quorum.leader,
            quorum.leader_epoch,
            ids(&quorum.voters),
            quorum.high_watermark
        )?;
        if !quorum.observers.is_empty() {
            writeln!(out, "observers   {}", ids(&quorum.observers))?;
        }
    }
    writeln!(out)?;
    let mut table = Table::new(&[">BROKER", "ADDRESS", "RACK", "STATE"]);
    for broker in &cluster.brokers {
        table.row([
            broker.id.to_string(),
            format!("{}:{}", broker.host, broker.port),
            broker.rack.clone().unwrap_or_else(|| "-".to_owned()),
            if broker.fenced { "fenced" } else { "up" }.to_owned(),
        ]);
    }
    table.write(out, 0)?;
    writeln!(out)?;
    let mut table = Table::new(&["FEATURE", ">LEVEL", ">LOWEST", ">HIGHEST"]);
    for (name, feature) in &cluster.features {
        table.row([
            name.clone(),
            feature.level.map_or("-".to_owned(), |level| level.to_string()),
            feature.min.to_string(),
            feature.max.to_string(),
        ]);
    }
    table.write(out, 0)
}
