//! The APIs over the wire: both cores of a broker, with a controller that commits at once.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SERVED;
use crate::broker::core::Settings;
use crate::broker::testing::*;
use crate::reactor::sim::Options;
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;
use crate::wire::uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

fn named(names: &[&str], allow_auto_topic_creation: bool) -> MetadataRequest {
    let topics =
        names.iter().map(|name| MetadataRequestTopic { name: Some(name.to_string()), ..Default::default() });
    MetadataRequest { topics: Some(topics.collect()), allow_auto_topic_creation, ..Default::default() }
}

fn errors(response: &MetadataResponse) -> Vec<ErrorCode> {
    response.topics.iter().map(|topic| topic.error_code).collect()
}

fn new_topic(name: &str, partitions: i32) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: name.to_string(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

#[test]
fn what_is_told_is_what_is_served() {
    let broker = TestBroker::calm(&[]);
    broker.client(SECOND, async |mut client| {
        for version in [0, 3, 4] {
            let request = ApiVersionsRequest {
                client_software_name: "a".to_string(),
                client_software_version: "1".to_string(),
            };
            let response = client.ask(&request, version).await;
            let told: Vec<i16> = response.api_keys.iter().map(|range| range.api_key).collect();
            assert_eq!(told, SERVED.iter().map(|api| api.number()).collect::<Vec<_>>());
            let features: Vec<_> =
                response.supported_features.iter().map(|f| (f.name.as_str(), f.min_version)).collect();
            match version {
                0 => assert_eq!(features, []),
                3 => {
                    assert!(!features.is_empty() && features.iter().all(|(_, min)| *min > 0), "{features:?}")
                }
                _ => assert!(features.contains(&("kraft.version", 0)), "{features:?}"),
            }
        }
    });
}

#[test]
fn metadata_of_all_of_some_and_of_none() {
    let broker = TestBroker::calm(&[("b", 3), ("a", 1)]);
    broker.client(SECOND, async |mut client| {
        let names = |response: &MetadataResponse| {
            response.topics.iter().map(|t| t.name.clone().unwrap()).collect::<Vec<_>>()
        };
        let all = client.ask(&MetadataRequest { topics: None, ..named(&[], false) }, 9).await;
        assert_eq!(
            (names(&all), all.cluster_id.as_deref()),
            (vec!["a".to_string(), "b".to_string()], Some("cluster"))
        );
        assert_eq!((all.brokers.len(), all.controller_id), (1, 1));
        let part = &all.topics[1].partitions[2];
        assert_eq!((part.partition_index, part.leader_id, part.leader_epoch), (2, 1, 4));
        assert_eq!((part.replica_nodes.as_slice(), part.isr_nodes.as_slice()), (&[1][..], &[1][..]));
        assert_eq!(names(&client.ask(&named(&[], true), 0).await).len(), 2, "in version 0, none is all");
        assert_eq!(names(&client.ask(&named(&[], true), 1).await).len(), 0);
        assert_eq!(names(&client.ask(&named(&["b"], false), 4).await), ["b"]);

        let mut request = named(&[], false);
        let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None };
        request.topics = Some(vec![by_id(topic_id("b")), by_id(Uuid([9; 16]))]);
        let response = client.ask(&request, 12).await;
        assert_eq!(errors(&response), [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_ID]);
        assert_eq!(
            (response.topics[0].name.as_deref(), response.topics[1].name.as_deref()),
            (Some("b"), None)
        );
        let response = client.ask(&request, 10).await;
        assert_eq!(errors(&response), [ErrorCode::INVALID_REQUEST; 2], "as Kafka has it");
    });
}

#[test]
fn what_may_be_done_is_told_to_who_asks() {
    let broker = TestBroker::calm(&[("a", 1)]);
    broker.client(SECOND, async |mut client| {
        let mut request = named(&["a"], false);
        let response = client.ask(&request, 8).await;
        assert_eq!(
            (response.cluster_authorized_operations, response.topics[0].topic_authorized_operations),
            (i32::MIN, i32::MIN)
        );
        request.include_cluster_authorized_operations = true;
        request.include_topic_authorized_operations = true;
        let response = client.ask(&request, 8).await;
        let bits = |bits: &[i32]| bits.iter().map(|bit| 1 << bit).sum::<i32>();
        // Create, alter, describe, cluster action, describe and alter configs, idempotent write; for topics read,
        // write, create, delete, alter, describe, describe and alter configs.
        assert_eq!(response.cluster_authorized_operations, bits(&[5, 7, 8, 9, 10, 11, 12]));
        assert_eq!(response.topics[0].topic_authorized_operations, bits(&[3, 4, 5, 6, 7, 8, 10, 11]));
    });
}

#[test]
fn topics_are_created_on_demand_where_both_allow_it() {
    let invalid = [ErrorCode::NONE, ErrorCode::INVALID_TOPIC_EXCEPTION, ErrorCode::INVALID_TOPIC_EXCEPTION];
    let broker = TestBroker::calm(&[]);
    broker.client(SECOND, async move |mut client| {
        let response = client.ask(&named(&["new"], false), 4).await;
        assert_eq!(errors(&response), [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
        let response = client.ask(&named(&["new", "", "a b"], true), 4).await;
        assert_eq!(errors(&response), invalid);
        assert_eq!((response.topics[0].partitions.len(), response.topics[0].partitions[0].leader_id), (1, 1));
        // At once, on any core.
        let response = client.ask(&produce("new", 1, &[(0, batch(10))]), 9).await;
        assert!(response.responses[0].partition_responses[0].error_code.is_none());
        let again = client.ask(&named(&["new", "new"], true), 12).await;
        assert_eq!(again.topics.len(), 1, "each is told of once");
    });
    let settings = Settings { auto_create_topics: false, ..Settings::default() };
    let broker = TestBroker::start(1, Options::calm(), settings, &[]);
    broker.client(SECOND, async |mut client| {
        let response = client.ask(&named(&["new"], true), 4).await;
        assert_eq!(errors(&response), [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    });
}

#[test]
fn topics_come_grow_and_go() {
    let broker = TestBroker::calm(&[]);
    let address = broker.world.address(broker.node, PORT);
    broker.client(60 * SECOND, async move |mut client| {
        let mut other = TestClient::connect(client.reactor.clone(), address).await;
        for version in ApiKey::CreateTopics.versions() {
            let created = client.ask(&new_topic(&format!("t{version}"), 3), version).await;
            assert!(created.topics[0].error_code.is_none(), "{:?}", created.topics[0].error_message);
            assert!(version < 5 || created.topics[0].configs.as_ref().unwrap().len() > 20);
            let seen = other.ask(&named(&[&format!("t{version}")], false), 12).await;
            assert_eq!(seen.topics[0].partitions.len(), 3, "the other core goes by it at once");
        }
        let again = client.ask(&new_topic("t2", 3), 7).await;
        assert_eq!(again.topics[0].error_code, ErrorCode::TOPIC_ALREADY_EXISTS);
        let checked = client.ask(&CreateTopicsRequest { validate_only: true, ..new_topic("v", 1) }, 7).await;
        assert!(checked.topics[0].error_code.is_none());
        assert_eq!(
            errors(&client.ask(&named(&["v"], false), 9).await),
            [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]
        );

        for version in ApiKey::CreatePartitions.versions() {
            let topic = CreatePartitionsTopic {
                name: "t2".to_string(),
                count: 4 + i32::from(version),
                assignments: None,
            };
            let request =
                CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1000, validate_only: false };
            assert!(client.ask(&request, version).await.results[0].error_code.is_none());
            let seen = other.ask(&named(&["t2"], false), 12).await;
            assert_eq!(seen.topics[0].partitions.len(), 4 + version as usize);
        }
        for version in ApiKey::DeleteTopics.versions() {
            let name = format!("t{}", version + 1);
            let topics = vec![DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO }];
            let topic_names = vec![name.clone()];
            let request = DeleteTopicsRequest { timeout_ms: 1000, ..Default::default() };
            let request = match version {
                6.. => DeleteTopicsRequest { topics, ..request },
                _ => DeleteTopicsRequest { topic_names, ..request },
            };
            assert!(client.ask(&request, version).await.responses[0].error_code.is_none());
            assert_eq!(
                errors(&other.ask(&named(&[&name], false), 9).await),
                [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]
            );
        }
    });
}

#[test]
fn the_controller_may_take_too_long() {
    let broker = TestBroker::calm(&[]);
    broker.client(SECOND, async |mut client| {
        let hurried = CreateTopicsRequest { timeout_ms: 0, ..new_topic("t", 1) };
        assert_eq!(client.ask(&hurried, 7).await.topics[0].error_code, ErrorCode::REQUEST_TIMED_OUT);
        client.reactor.sleep(SECOND / 10).await;
        assert_eq!(errors(&client.ask(&named(&["t"], false), 9).await), [ErrorCode::NONE]);
    });
}

#[test]
fn every_producer_id_is_given_once() {
    let broker = TestBroker::calm(&[]);
    let address = broker.world.address(broker.node, PORT);
    broker.client(60 * SECOND, async move |client| {
        let reactor = client.reactor.clone();
        let mut clients = vec![client];
        for _ in 0..9 {
            clients.push(TestClient::connect(reactor.clone(), address).await);
        }
        let request = InitProducerIdRequest { transaction_timeout_ms: 1000, ..Default::default() };
        let mut ids = BTreeSet::new();
        for _ in 0..250 {
            for client in &mut clients {
                client.send(&request, 4).await;
            }
            for client in &mut clients {
                let (_, response) = client.receive::<InitProducerIdResponse>(4).await;
                assert_eq!((response.error_code, response.producer_epoch), (ErrorCode::NONE, 0));
                assert!(ids.insert(response.producer_id), "{} was given twice", response.producer_id);
            }
        }
        assert!(*ids.last().unwrap() < 4_000, "few are wasted");
        let with =
            |id: &str| InitProducerIdRequest { transactional_id: Some(id.to_string()), ..request.clone() };
        assert_eq!(clients[0].ask(&with(""), 4).await.error_code, ErrorCode::INVALID_REQUEST);
        // Nobody has asked who coordinates transactions, so nobody does.
        assert_eq!(clients[0].ask(&with("t"), 4).await.error_code, ErrorCode::NOT_COORDINATOR);
    });
}

#[test]
fn settings_are_described() {
    let broker = TestBroker::calm(&[]);
    broker.client(SECOND, async |mut client| {
        let mut create = new_topic("t", 1);
        let config = |name: &str, value: &str| CreatableTopicConfig {
            name: name.to_string(),
            value: Some(value.to_string()),
        };
        create.topics[0].configs = vec![config("retention.ms", "1234"), config("segment.bytes", "1048576")];
        assert!(client.ask(&create, 7).await.topics[0].error_code.is_none());
        let resource = |resource_type, name: &str| DescribeConfigsResource {
            resource_type,
            resource_name: name.to_string(),
            configuration_keys: None,
        };
        let resources = vec![
            resource(2, "t"),
            resource(2, "nobody"),
            resource(2, "a b"),
            resource(4, "1"),
            resource(4, ""),
            resource(4, "7"),
            resource(4, "x"),
            resource(77, "x"),
        ];
        let mut request = DescribeConfigsRequest { resources, ..Default::default() };
        for version in ApiKey::DescribeConfigs.versions() {
            let results = client.ask(&request, version).await.results;
            let errors: Vec<_> = results.iter().map(|result| result.error_code).collect();
            let (none, invalid) = (ErrorCode::NONE, ErrorCode::INVALID_REQUEST);
            assert_eq!(
                errors,
                [
                    none,
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    ErrorCode::INVALID_TOPIC_EXCEPTION,
                    none,
                    none,
                    invalid,
                    invalid,
                    invalid
                ]
            );
            let find = |name: &str| results[0].configs.iter().find(|config| config.name == name).unwrap();
            assert_eq!(
                (find("retention.ms").value.as_deref(), find("retention.ms").config_source),
                (Some("1234"), 1)
            );
            assert_eq!(find("cleanup.policy").config_source, 5);
            assert!(find("retention.ms").synonyms.is_empty() && find("retention.ms").documentation.is_none());
            assert!(results[3].configs.len() > 100 && results[4].configs.is_empty());
        }
        request.resources.truncate(1);
        request.resources[0].configuration_keys = Some(vec!["segment.bytes".to_string()]);
        (request.include_synonyms, request.include_documentation) = (true, true);
        let results = client.ask(&request, 4).await.results;
        let [config] = results[0].configs.as_slice() else { panic!("one was asked for") };
        let synonyms: Vec<_> = config.synonyms.iter().map(|s| (s.name.as_str(), s.source)).collect();
        assert_eq!(synonyms, [("segment.bytes", 1), ("log.segment.bytes", 5)]);
        assert!(config.documentation.is_some() && config.config_type == 3);
    });
}

#[test]
fn more_settings_than_fit_into_an_answer_end_the_connection() {
    let broker = TestBroker::calm(&[]);
    broker.client(60 * SECOND, async |mut client| {
        let resource = DescribeConfigsResource {
            resource_type: 4,
            resource_name: "1".to_string(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource; 2_000],
            include_synonyms: true,
            include_documentation: true,
        };
        client.send(&request, 4).await;
        assert!(client.is_ended().await);
    });
}

#[test]
fn the_cluster_is_described() {
    let broker = TestBroker::calm(&[]);
    broker.client(SECOND, async |mut client| {
        let request = |endpoint_type| DescribeClusterRequest { endpoint_type, ..Default::default() };
        let response = client.ask(&request(1), 2).await;
        assert_eq!((response.cluster_id.as_str(), response.brokers[0].host.as_str()), ("cluster", "here"));
        assert_eq!(client.ask(&request(2), 1).await.error_code, ErrorCode::MISMATCHED_ENDPOINT_TYPE);
        assert_eq!(client.ask(&request(9), 1).await.error_code, ErrorCode::UNSUPPORTED_ENDPOINT_TYPE);
    });
}

#[test]
fn groups_and_transactions_have_a_coordinator_and_others_none() {
    let broker = TestBroker::calm(&[]);
    broker.client(SECOND, async |mut client| {
        for version in ApiKey::FindCoordinator.versions() {
            for key_type in 0..[1, 2, 2, 2, 2, 2, 3][version as usize] {
                let mut request = FindCoordinatorRequest { key: "g".into(), key_type, ..Default::default() };
                if version >= 4 {
                    (request.key, request.coordinator_keys) = (String::new(), vec!["g".into(), "h".into()]);
                }
                let response = client.ask(&request, version).await;
                let found: Vec<_> = match version {
                    4.. => response.coordinators.iter().map(|c| (c.error_code, c.node_id, c.port)).collect(),
                    _ => vec![(response.error_code, response.node_id, response.port)],
                };
                assert_eq!(found.len(), if version >= 4 { 2 } else { 1 });
                let expected = match key_type {
                    0 | 1 => (ErrorCode::NONE, 1, i32::from(PORT)),
                    _ => (ErrorCode::INVALID_REQUEST, -1, -1),
                };
                assert!(found.iter().all(|found| *found == expected), "{version} {key_type}: {found:?}");
            }
        }
        let request = FindCoordinatorRequest { key_type: 3, ..Default::default() };
        assert_eq!(client.ask(&request, 3).await.error_code, ErrorCode::INVALID_REQUEST);

        let wanted = MetadataRequestTopic { name: Some("__consumer_offsets".into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![wanted]), ..Default::default() };
        let topic = client.ask(&request, 12).await.topics.remove(0);
        assert_eq!(
            (topic.error_code, topic.is_internal, topic.partitions.len()),
            (ErrorCode::NONE, true, 50)
        );
        // Nobody writes there but the coordinators.
        let mut request = produce("t", -1, &[(0, batch(10))]);
        request.topic_data[0].name = "__consumer_offsets".into();
        let refused = client.ask(&request, 9).await;
        let error = refused.responses[0].partition_responses[0].error_code;
        assert_eq!(error, ErrorCode::INVALID_TOPIC_EXCEPTION);
    });
}

#[test]
fn each_partition_of_a_produce_is_answered_by_itself() {
    let broker = TestBroker::calm(&[("t", 3)]);
    broker.client(SECOND, async |mut client| {
        let mut broken = batch(10).to_vec();
        *broken.last_mut().unwrap() ^= 1;
        let parts = [(2, batch(10)), (0, broken.into()), (9, batch(10)), (1, batch(10))];
        let mut request = produce("t", -1, &parts);
        request.topic_data.extend(produce("nobody", -1, &[(0, batch(10))]).topic_data);
        for (version, unknown) in
            [(12, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), (13, ErrorCode::UNKNOWN_TOPIC_ID)]
        {
            let response = client.ask(&request, version).await;
            let parts = response.responses.iter().flat_map(|topic| &topic.partition_responses);
            let found: Vec<_> = parts.map(|part| (part.index, part.error_code)).collect();
            let (none, corrupt) = (ErrorCode::NONE, ErrorCode::CORRUPT_MESSAGE);
            assert_eq!(
                found,
                [
                    (2, none),
                    (0, corrupt),
                    (9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                    (1, none),
                    (0, unknown)
                ]
            );
        }
        let response = client.ask(&produce("t", 7, &[(0, batch(10))]), 9).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::INVALID_REQUIRED_ACKS);
    });
}

#[test]
fn offsets_are_listed_by_shard_and_told_in_order() {
    let broker = TestBroker::calm(&[("t", 4)]);
    broker.client(SECOND, async |mut client| {
        for partition in 0..4 {
            for _ in 0..=partition {
                client.ask(&produce("t", 1, &[(partition, batch(10))]), 9).await;
            }
        }
        let ask = |partition_index, timestamp| ListOffsetsPartition {
            partition_index,
            timestamp,
            ..Default::default()
        };
        let partitions = vec![ask(3, -1), ask(0, -1), ask(2, -2), ask(1, -1), ask(8, -1)];
        let topics = vec![ListOffsetsTopic { name: "t".to_string(), partitions }];
        let mut request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let response = client.ask(&request, 7).await;
        let found: Vec<_> =
            response.topics[0].partitions.iter().map(|p| (p.partition_index, p.offset)).collect();
        assert_eq!(found, [(3, 4), (0, 1), (2, 0), (1, 2), (8, -1)]);
        assert_eq!(response.topics[0].partitions[4].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        request.topics[0].partitions = vec![ask(0, -1), ask(0, -2), ask(1, -3)];
        let errors = client.ask(&request, 6).await.topics[0]
            .partitions
            .iter()
            .map(|p| p.error_code)
            .collect::<Vec<_>>();
        assert_eq!(
            errors,
            [ErrorCode::INVALID_REQUEST, ErrorCode::INVALID_REQUEST, ErrorCode::UNSUPPORTED_VERSION]
        );
    });
}

#[test]
fn who_waits_for_the_others_of_a_group_takes_no_memory_from_them() {
    const MEMBERS: usize = 60;
    let broker = TestBroker::calm(&[("__consumer_offsets", 1), ("t", 1)]);
    let (address, control) = (broker.world.address(broker.node, PORT), broker.control.clone());
    broker.client(60 * SECOND, async move |mut client| {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: vec![7; 64 << 10].into() };
        let join = JoinGroupRequest {
            group_id: "g".into(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let mut members = Vec::new();
        for _ in 0..MEMBERS {
            let mut member = TestClient::connect(client.reactor.clone(), address).await;
            member.send(&join, 9).await;
            members.push(member);
        }
        while control.lock().unwrap().joining < MEMBERS {
            client.reactor.sleep(SECOND / 10).await;
        }
        // What asks now finds memory, on either core.
        let topics = client.ask(&named(&["t"], false), 9).await;
        assert_eq!(errors(&topics), [ErrorCode::NONE]);
        client.ask(&LeaveGroupRequest { group_id: "g".into(), ..Default::default() }, 2).await;
        for member in &mut members {
            let (_, answer) = member.receive::<JoinGroupResponse>(9).await;
            assert_eq!(answer.error_code, ErrorCode::NOT_COORDINATOR);
        }
    });
}
