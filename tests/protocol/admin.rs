//! Administration over the wire: `admin.txt` holds requests and what stock Kafka 4.2 answers to them.
//!
//! Each line with `>` names a question and the versions it is asked in; the line behind it is their answer. What is
//! another in every cluster (names, ids, ports, times, offsets of the metadata log) is masked. With
//! OTTLA_TEST_BOOTSTRAP the same is asked of the broker there, so that the file can be held against stock Kafka;
//! OTTLA_TEST_TRANSCRIPT prints what is answered. Where an error has a message, ours begins with Kafka's and may go
//! on with advice.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ottla::command::client::Connection;
use ottla::wire::batch::BatchBuilder;
use ottla::wire::schema::*;

use crate::target::{PATIENCE, Target, Topic};

const EXPECTED: &str = include_str!("admin.txt");
/// Fields whose numbers and names are other ones in each cluster.
const MASKED: [&str; 10] = [
    "cluster_id: ",
    "port: ",
    "host: ",
    "topic_id: ",
    "replica_directory_id: ",
    "log_end_offset: ",
    "_timestamp: ",
    "high_watermark: ",
    "leader_epoch: ",
    "throttle_time_ms: ",
];

struct Talk<'a> {
    target: &'a Target,
    client: Connection,
    names: BTreeMap<String, &'static str>,
    /// Questions, versions and answers.
    said: Vec<(String, String, String)>,
}

impl Talk<'_> {
    /// Asks in every version.
    fn ask<R: Request + Debug>(&mut self, what: &str, request: &R) {
        for version in R::API.versions() {
            self.ask_in(version, what, request);
        }
    }

    fn ask_in<R: Request + Debug>(&mut self, version: i16, what: &str, request: &R) {
        let answer = match self.client.version_up_to(R::API, version) {
            Ok(spoken) if spoken == version => match self.client.send(request, version) {
                Ok(sent) => self.client.receive(sent, PATIENCE).map(|answer| format!("{answer:?}")),
                Err(fault) => Err(fault),
            },
            _ => Ok("not served".to_owned()),
        };
        let mut answer = answer.unwrap_or_else(|fault| {
            if self.client.is_broken() {
                self.client = self.target.client();
                return "the connection is closed".to_owned();
            }
            format!("not asked: {fault}")
        });
        for (name, mask) in &self.names {
            answer = answer.replace(name.as_str(), mask);
        }
        MASKED.iter().for_each(|field| answer = masked(&answer, field));
        // Here the one voter has no listener, and a directory that is known to the others.
        let listener = "DescribeQuorumListener { name: \"CONTROLLER\", host: _, port: _ }";
        answer = answer.replace(listener, "");
        answer = answer.replace("directory_id: AAAAAAAAAAAAAAAAAAAAAA", "directory_id: _");
        self.said.push((format!("{what}: {}", R::API), version.to_string(), answer));
    }

    /// Stock Kafka's brokers learn of changes after they are answered.
    fn settle(&self) {
        if !self.target.is_own() {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
}

/// Replaces what stands behind the name of a field.
fn masked(text: &str, field: &str) -> String {
    let mut parts = text.split(field);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let value = part.find([',', '}', ')', ']']).unwrap_or(part.len());
        // A value that says "none" says so everywhere.
        let kept = ["-1", "AAAAAAAAAAAAAAAAAAAAAA"].contains(&part[..value].trim_end());
        out += field;
        out += if kept { part[..value].trim_end() } else { "_" };
        out += if part[value..].starts_with('}') { " " } else { "" };
        out += &part[value..];
    }
    out
}

#[test]
fn administration_is_answered_for_as_stock_kafka_does() {
    let target = Target::start();
    let topics = [target.topic("admin-a", 3), target.topic("admin-b", 1)];
    let names = [(topics[0].name.clone(), "$A"), (topics[1].name.clone(), "$B")];
    let client = target.client();
    let mut talk = Talk { target: &target, client, names: names.into_iter().collect(), said: Vec::new() };
    records(&mut talk, &topics[0]);
    epochs(&mut talk, &topics[0]);
    partitions(&mut talk, &topics);
    cluster(&mut talk);
    features(&mut talk);
    placement(&mut talk, &topics[0]);
    security(&mut talk);
    let told = compare(&talk.said);
    assert!(told.is_empty(), "{} answers differ:\n{}", told.len(), told.join("\n"));
    assert!(talk.said.len() > 200, "{} questions", talk.said.len());
}

fn compare(said: &[(String, String, String)]) -> Vec<String> {
    if std::env::var("OTTLA_TEST_TRANSCRIPT").is_ok() {
        for same in said.chunk_by(|one, other| (&one.0, &one.2) == (&other.0, &other.2)) {
            let versions: Vec<&str> = same.iter().map(|(_, version, _)| version.as_str()).collect();
            println!("> {} {}\n{}", same[0].0, versions.join(", "), same[0].2);
        }
    }
    let lines: Vec<&str> = EXPECTED.lines().collect();
    let mut expected = Vec::new();
    for pair in lines.chunks(2) {
        let (question, versions) = pair[0][2..].rsplit_once(": ").unwrap_or_default();
        let (api, versions) = versions.split_once(' ').unwrap_or_default();
        let asked = |version| (format!("{question}: {api}"), version, pair[1]);
        expected.extend(versions.split(", ").map(asked));
    }
    let mut told = Vec::new();
    for (i, (question, version, answer)) in said.iter().enumerate() {
        let known = expected.get(i).filter(|(asked, of, _)| asked == question && of == version);
        let wanted = known.map_or("nothing", |(.., wanted)| *wanted);
        if !is_same(wanted, answer) {
            told.push(format!("> {question} {version}\nexpected {wanted}\nfound    {answer}"));
        }
    }
    assert!(expected.len() <= said.len(), "{} answers are expected", expected.len());
    told
}

/// Two answers are the same, but for advice behind a message.
fn is_same(wanted: &str, found: &str) -> bool {
    let (mut wanted, mut found) = (wanted.split("message: Some(\""), found.split("message: Some(\""));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(wanted), Some(found)) => {
                let (Some(one), Some(other)) = (wanted.split_once("\")"), found.split_once("\")")) else {
                    return false;
                };
                if !other.0.starts_with(one.0) || other.1 != one.1 {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

fn produce(talk: &mut Talk<'_>, topic: &Topic, count: usize) {
    for _ in 0..count {
        let mut batch = BatchBuilder::new();
        batch.append(1_700_000_000_000, Some(b"k"), Some(b"v"), &[]);
        let data = PartitionProduceData { index: 0, records: Some(batch.build().unwrap().into()) };
        let topic_data = vec![TopicProduceData {
            name: topic.name.clone(),
            topic_id: topic.id,
            partition_data: vec![data],
        }];
        let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topic_data };
        let answer = talk.client.call(&request).unwrap();
        assert!(answer.responses[0].partition_responses[0].error_code.is_none(), "{answer:?}");
    }
}

fn records(talk: &mut Talk<'_>, topic: &Topic) {
    produce(talk, topic, 10);
    let delete = |parts: &[(&str, i32, i64)]| DeleteRecordsRequest {
        topics: parts
            .iter()
            .map(|(name, partition_index, offset)| DeleteRecordsTopic {
                name: (*name).to_owned(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: *partition_index,
                    offset: *offset,
                }],
            })
            .collect(),
        timeout_ms: 30_000,
    };
    let name = topic.name.as_str();
    let list = |timestamp| ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: name.to_owned(),
            partitions: vec![ListOffsetsPartition { timestamp, ..Default::default() }],
        }],
        ..Default::default()
    };
    talk.ask("nothing", &delete(&[]));
    talk.ask("behind the end", &delete(&[(name, 0, 11)]));
    talk.ask("before the beginning", &delete(&[(name, 0, -2)]));
    talk.ask("at the beginning", &delete(&[(name, 0, 0)]));
    talk.ask("a few", &delete(&[(name, 0, 4)]));
    talk.ask("fewer than before", &delete(&[(name, 0, 2)]));
    talk.ask("what is not there", &delete(&[(name, 7, 0)]));
    talk.ask("what never was", &delete(&[(name, -1, 0)]));
    talk.ask("of no topic", &delete(&[("no-such-topic", 0, 0)]));
    talk.ask("with timeout 0", &DeleteRecordsRequest { timeout_ms: 0, ..delete(&[(name, 0, 5)]) });
    talk.ask_in(7, "earliest", &list(-2));
    talk.ask_in(7, "by time", &list(1_600_000_000_000));
    let part = |fetch_offset| FetchRequest {
        replica_id: -1,
        max_wait_ms: 10,
        min_bytes: 0,
        max_bytes: 1000,
        topics: vec![FetchTopic {
            topic: name.to_owned(),
            topic_id: topic.id,
            partitions: vec![FetchPartition {
                fetch_offset,
                partition_max_bytes: 1000,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    talk.ask_in(12, "below the start", &part(4));
    talk.ask("all", &delete(&[(name, 0, -1)]));
    talk.ask_in(7, "earliest of nothing", &list(-2));
    talk.ask_in(7, "by time of nothing", &list(1_600_000_000_000));
    talk.ask_in(12, "at the end", &part(10));
    for (policy, what) in [("compact", "compacted"), ("compact,delete", "both"), ("", "neither")] {
        policy_is(talk, name, policy);
        talk.ask(what, &delete(&[(name, 0, -1)]));
    }
    policy_is(talk, name, "delete");
}

fn policy_is(talk: &mut Talk<'_>, name: &str, policy: &str) {
    let value = Some(policy.to_owned());
    let config = IncrementalAlterableConfig { name: "cleanup.policy".into(), config_operation: 0, value };
    let resource = IncrementalAlterConfigsResource {
        resource_type: 2,
        resource_name: name.to_owned(),
        configs: vec![config],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    talk.ask_in(1, &format!("the policy is '{policy}'"), &request);
    talk.settle();
}

fn epochs(talk: &mut Talk<'_>, topic: &Topic) {
    let request = |name: &str, partition, current_leader_epoch, leader_epoch| OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: name.to_owned(),
            partitions: vec![OffsetForLeaderPartition { partition, current_leader_epoch, leader_epoch }],
        }],
    };
    for epoch in [-2, -1, 0, 1, i32::MAX] {
        talk.ask(&format!("epoch {epoch}"), &request(&topic.name, 0, -1, epoch));
        talk.ask(&format!("epoch {epoch} of nothing"), &request(&topic.name, 1, -1, epoch));
    }
    for current in [-2, i32::MAX] {
        talk.ask(&format!("by epoch {current}"), &request(&topic.name, 0, current, 0));
    }
    talk.ask("no partition", &request(&topic.name, 9, -1, 0));
    talk.ask("no topic", &request("no-such-topic", 0, -1, 0));
    talk.ask("nothing", &OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![] });
}

fn partitions(talk: &mut Talk<'_>, topics: &[Topic; 2]) {
    let [a, b] = topics;
    let request = |names: &[&str], limit, cursor: Option<(&str, i32)>| DescribeTopicPartitionsRequest {
        topics: names
            .iter()
            .map(|name| DescribeTopicPartitionsTopicRequest { name: (*name).to_owned() })
            .collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(topic, partition_index)| DescribeTopicPartitionsCursor {
            topic_name: topic.to_owned(),
            partition_index,
        }),
    };
    let (a, b) = (a.name.as_str(), b.name.as_str());
    talk.ask("both", &request(&[b, a], 2000, None));
    talk.ask("twice", &request(&[b, b], 2000, None));
    for limit in [4, 3, 2, 1, 0, -1] {
        talk.ask(&format!("at most {limit}"), &request(&[a, b], limit, None));
    }
    talk.ask("from 1", &request(&[a, b], 2000, Some((a, 1))));
    talk.ask("one from 1", &request(&[a, b], 1, Some((a, 1))));
    talk.ask("from 9", &request(&[a, b], 2000, Some((a, 9))));
    talk.ask("from -1", &request(&[a, b], 2000, Some((a, -1))));
    talk.ask("from the second", &request(&[a, b], 2000, Some((b, 0))));
    talk.ask("the first from the second", &request(&[a], 2000, Some((b, 0))));
    talk.ask("from one that is not there", &request(&[a, b], 2000, Some(("admin-aa", 0))));
    talk.ask("from behind all", &request(&[a, b], 2000, Some(("zzz", 0))));
    talk.ask("unknown", &request(&["no-such-topic", a], 2000, None));
    talk.ask("no name", &request(&["no name", a], 2000, None));
    talk.ask("the metadata", &request(&["__cluster_metadata"], 2000, None));
}

fn cluster(talk: &mut Talk<'_>) {
    for endpoint_type in [1, 2, 3] {
        for include_fenced_brokers in [false, true] {
            let request = DescribeClusterRequest {
                include_cluster_authorized_operations: include_fenced_brokers,
                endpoint_type,
                include_fenced_brokers,
            };
            talk.ask(&format!("endpoints {endpoint_type} {include_fenced_brokers}"), &request);
        }
    }
    let quorum = |parts: &[(&str, i32)]| DescribeQuorumRequest {
        topics: parts
            .iter()
            .map(|(name, partition_index)| DescribeQuorumTopicData {
                topic_name: (*name).to_owned(),
                partitions: vec![DescribeQuorumPartitionData { partition_index: *partition_index }],
            })
            .collect(),
    };
    let metadata = "__cluster_metadata";
    talk.ask("the quorum", &quorum(&[(metadata, 0)]));
    talk.ask("no partition", &quorum(&[(metadata, 1)]));
    talk.ask("no topic", &quorum(&[("no-such-topic", 0)]));
    talk.ask("two", &quorum(&[(metadata, 0), ("no-such-topic", 0)]));
    talk.ask("nothing", &quorum(&[]));
    for broker_id in [99, -1] {
        talk.ask(&format!("broker {broker_id}"), &UnregisterBrokerRequest { broker_id });
    }
    talk.ask("all", &ListGroupsRequest::default());
    let states_filter = vec!["Stable".to_owned()];
    for version in [4, 5] {
        let request = ListGroupsRequest { states_filter: states_filter.clone(), types_filter: vec![] };
        talk.ask_in(version, "stable", &request);
    }
    for version in 5..=5 {
        for (states, types) in [("", "consumer"), ("", "classic"), ("", "nonsense"), ("nonsense", "")] {
            let list = |name: &str| if name.is_empty() { vec![] } else { vec![name.to_owned()] };
            let request = ListGroupsRequest { states_filter: list(states), types_filter: list(types) };
            talk.ask_in(version, &format!("'{states}' '{types}'"), &request);
        }
    }
}

fn features(talk: &mut Talk<'_>) {
    let request = |updates: &[(&str, i16, i8)], validate_only| UpdateFeaturesRequest {
        timeout_ms: 30_000,
        feature_updates: updates
            .iter()
            .map(|(feature, level, kind)| FeatureUpdateKey {
                feature: (*feature).to_owned(),
                max_version_level: *level,
                allow_downgrade: false,
                upgrade_type: *kind,
            })
            .collect(),
        validate_only,
    };
    talk.ask("nothing", &request(&[], false));
    let (metadata, kraft) = ("metadata.version", "kraft.version");
    talk.ask("as it is", &request(&[(metadata, 29, 1)], false));
    for version in [1, 2] {
        let mut dry = |what: &str, updates: &[(&str, i16, i8)]| {
            talk.ask_in(version, &format!("dry: {what}"), &request(updates, true));
        };
        dry("as it is", &[(metadata, 29, 1)]);
        dry("higher than there is", &[(metadata, 99, 1)]);
        dry("lower as an upgrade", &[(metadata, 28, 1)]);
        dry("much lower", &[(metadata, 7, 2)]);
        dry("lower than there is", &[(metadata, 6, 3)]);
        dry("gone", &[(metadata, 0, 3)]);
        dry("below nothing", &[(metadata, -1, 3)]);
        dry("an unknown feature", &[("no.such.feature", 1, 1)]);
        dry("an unknown feature gone", &[("no.such.feature", 0, 2)]);
        dry("in no known way", &[(metadata, 29, 0)]);
        dry("in no known way either", &[(metadata, 29, 4)]);
        dry("twice", &[(metadata, 29, 1), (metadata, 29, 1)]);
        dry("one good, one bad", &[(metadata, 29, 1), ("no.such.feature", 1, 1)]);
        dry("the quorum's higher", &[(kraft, 9, 1)]);
    }
}

fn placement(talk: &mut Talk<'_>, topic: &Topic) {
    let name = topic.name.as_str();
    let elect = |election_type, parts: &[(&str, i32)]| ElectLeadersRequest {
        election_type,
        topic_partitions: Some(
            parts
                .iter()
                .map(|(topic, partition)| ElectLeadersTopicPartitions {
                    topic: (*topic).to_owned(),
                    partitions: vec![*partition],
                })
                .collect(),
        ),
        timeout_ms: 30_000,
    };
    talk.ask("the preferred", &elect(0, &[(name, 0)]));
    talk.ask("of no partition", &elect(0, &[(name, 9)]));
    talk.ask("of no topic", &elect(0, &[("no-such-topic", 0)]));
    talk.ask("of nothing", &elect(0, &[]));
    for version in [1, 2] {
        talk.ask_in(version, "an unclean one", &elect(1, &[(name, 0)]));
        talk.ask_in(version, "no such kind", &elect(2, &[(name, 0)]));
    }
    let alter = |name: &str, partition_index, replicas: Option<&[i32]>| AlterPartitionReassignmentsRequest {
        timeout_ms: 30_000,
        allow_replication_factor_change: true,
        topics: vec![ReassignableTopic {
            name: name.to_owned(),
            partitions: vec![ReassignablePartition {
                partition_index,
                replicas: replicas.map(<[i32]>::to_vec),
            }],
        }],
    };
    talk.ask("to where it is", &alter(name, 0, Some(&[1])));
    talk.ask("to an unknown broker", &alter(name, 0, Some(&[2])));
    talk.ask("to one more", &alter(name, 0, Some(&[1, 2])));
    talk.ask("to the same twice", &alter(name, 0, Some(&[1, 1])));
    talk.ask("to nobody", &alter(name, 0, Some(&[])));
    talk.ask("to a negative", &alter(name, 0, Some(&[-1])));
    talk.ask("not at all", &alter(name, 0, None));
    talk.ask("no partition", &alter(name, 9, Some(&[1])));
    talk.ask("no partition, not at all", &alter(name, 9, None));
    talk.ask("no topic", &alter("no-such-topic", 0, Some(&[1])));
    talk.ask("nothing", &AlterPartitionReassignmentsRequest { topics: vec![], ..alter(name, 0, None) });
    for replicas in [&[1][..], &[1, 2]] {
        let fixed = AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: false,
            ..alter(name, 0, Some(replicas))
        };
        talk.ask_in(1, &format!("as many, to {replicas:?}"), &fixed);
    }
    let list = |parts: Option<&[(&str, i32)]>| ListPartitionReassignmentsRequest {
        timeout_ms: 30_000,
        topics: parts.map(|parts| {
            parts
                .iter()
                .map(|(name, partition)| ListPartitionReassignmentsTopics {
                    name: (*name).to_owned(),
                    partition_indexes: vec![*partition],
                })
                .collect()
        }),
    };
    talk.ask("all", &list(None));
    talk.ask("one", &list(Some(&[(name, 0)])));
    talk.ask("no partition", &list(Some(&[(name, 9)])));
    talk.ask("no topic", &list(Some(&[("no-such-topic", 0)])));
}

fn security(talk: &mut Talk<'_>) {
    let any = DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    talk.ask("all", &any);
    let creation = AclCreation {
        resource_type: 2,
        resource_name: "t".into(),
        resource_pattern_type: 3,
        principal: "User:a".into(),
        host: "*".into(),
        operation: 3,
        permission_type: 3,
    };
    talk.ask("one", &CreateAclsRequest { creations: vec![creation.clone()] });
    talk.ask("two", &CreateAclsRequest { creations: vec![creation.clone(), creation] });
    talk.ask("none", &CreateAclsRequest { creations: vec![] });
    let filter = DeleteAclsFilter {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    talk.ask("all", &DeleteAclsRequest { filters: vec![filter] });
    talk.ask("none", &DeleteAclsRequest { filters: vec![] });
    let quotas = |parts: &[(&str, i8, Option<&str>)], strict| DescribeClientQuotasRequest {
        components: parts
            .iter()
            .map(|(entity_type, match_type, name)| DescribeClientQuotasComponentData {
                entity_type: (*entity_type).to_owned(),
                match_type: *match_type,
                r#match: name.map(str::to_owned),
            })
            .collect(),
        strict,
    };
    talk.ask("all", &quotas(&[], false));
    talk.ask("strictly all", &quotas(&[], true));
    talk.ask("a user's", &quotas(&[("user", 0, Some("a"))], false));
    talk.ask("any user's", &quotas(&[("user", 2, None)], true));
    talk.ask("the default user's", &quotas(&[("user", 1, None)], true));
    talk.ask("of both", &quotas(&[("user", 2, None), ("client-id", 1, None)], true));
    talk.ask("an address's", &quotas(&[("ip", 0, Some("127.0.0.1"))], true));
    talk.ask("an address's and a user's", &quotas(&[("ip", 2, None), ("user", 2, None)], true));
    talk.ask("nobody's", &quotas(&[("nobody", 0, Some("a"))], false));
    talk.ask("the empty one's", &quotas(&[("", 0, Some("a"))], false));
    talk.ask("the same twice", &quotas(&[("user", 0, Some("a")), ("user", 0, Some("b"))], false));
    talk.ask("in no known way", &quotas(&[("user", 3, None)], false));
    talk.ask("exactly nobody", &quotas(&[("user", 0, None)], false));
    talk.ask("the default by name", &quotas(&[("user", 1, Some("a"))], false));
    let users = |names: Option<&[&str]>| DescribeUserScramCredentialsRequest {
        users: names.map(|names| {
            names
                .iter()
                .map(|name| DescribeUserScramCredentialsUserName { name: (*name).to_owned() })
                .collect()
        }),
    };
    talk.ask("all", &users(None));
    talk.ask("none", &users(Some(&[])));
    talk.ask("one", &users(Some(&["a"])));
    talk.ask("twice", &users(Some(&["a", "a"])));
    talk.ask("the empty one", &users(Some(&[""])));
    talk.ask("all", &DescribeDelegationTokenRequest::default());
    talk.ask("one", &CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() });
    talk.ask("one", &RenewDelegationTokenRequest::default());
    talk.ask("one", &ExpireDelegationTokenRequest::default());
}
