use std::time::Duration;

use crate::broker::core::Settings;
use crate::broker::testing::*;
use crate::limits::{ENDINGS_TOLD, FRAME_MAX_OTHER, FRAME_PROOF, QUEUED_BYTES, REQUESTS_IN_FLIGHT};
use crate::reactor::sim::Options;
use crate::wire::api::{ApiKey, request_frame};
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

const SECOND: Duration = Duration::from_secs(1);

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
}

#[test]
fn replies_leave_in_request_order() {
    let broker = TestBroker::calm(&[("t", 4)]);
    broker.control().acknowledge_after.insert(0, Duration::from_millis(50));
    broker.client(SECOND, async |mut client| {
        // The first waits for its shard; those behind it are ready long before.
        let slow = client.send(&produce("t", 1, &[(0, batch(10))]), 9).await;
        let fast = client.send(&produce("t", 1, &[(1, batch(10))]), 9).await;
        let asks = client.send(&versions(), 0).await;
        assert_eq!(client.receive::<ProduceResponse>(9).await.0, slow);
        assert_eq!(client.receive::<ProduceResponse>(9).await.0, fast);
        assert_eq!(client.receive::<ApiVersionsResponse>(0).await.0, asks);
    });
}

#[test]
fn the_next_request_is_ordered_before_the_last_is_answered() {
    let broker = TestBroker::calm(&[("t", 4)]);
    broker.control().acknowledge_after.extend([(0, 10 * SECOND), (1, 10 * SECOND)]);
    let control = broker.control.clone();
    broker.client(SECOND, async move |mut client| {
        for partition in [0, 1, 0, 1, 0] {
            client.send(&produce("t", 1, &[(partition, batch(10))]), 9).await;
        }
        client.reactor.sleep(Duration::from_millis(100)).await;
        assert_eq!(control.lock().unwrap().produced.len(), 5, "none is acknowledged, all are appended");
    });
}

#[test]
fn a_reader_sees_what_it_wrote_on_its_connection() {
    let broker = TestBroker::calm(&[("t", 1)]);
    broker.control().acknowledge_after.insert(0, Duration::from_millis(50));
    broker.client(SECOND, async |mut client| {
        client.send(&produce("t", -1, &[(0, batch(10))]), 9).await;
        client.send(&fetch("t", Duration::ZERO, &[(0, 0)]), 12).await;
        client.receive::<ProduceResponse>(9).await;
        let (_, fetched) = client.receive::<FetchResponse>(12).await;
        assert_eq!(fetched.responses[0].partitions[0].high_watermark, 1);
    });
}

#[test]
fn requests_in_flight_are_bounded() {
    let broker = TestBroker::calm(&[("t", 2)]);
    broker.control().acknowledge_after.extend([(0, 20 * SECOND), (1, 20 * SECOND)]);
    let control = broker.control.clone();
    broker.client(60 * SECOND, async move |mut client| {
        let many = REQUESTS_IN_FLIGHT + 30;
        for i in 0..many {
            client.send(&produce("t", 1, &[(i as i32 % 2, batch(100))]), 9).await;
        }
        client.reactor.sleep(SECOND).await;
        assert_eq!(control.lock().unwrap().produced.len(), REQUESTS_IN_FLIGHT);
        for _ in 0..many {
            client.receive::<ProduceResponse>(9).await;
        }
        assert_eq!(control.lock().unwrap().produced.len(), many, "the others follow");
    });
}

#[test]
fn frames_come_in_pieces_of_any_size() {
    for seed in 0..30 {
        let mut options = Options::drawn(seed);
        options.network.fragment = 1_000_000;
        let broker = TestBroker::start(seed, options, Settings::default(), &[("t", 3)]);
        broker.client(600 * SECOND, async move |mut client| {
            // Small ones, ones that end within what is read ahead, and ones that need a chunk.
            let sizes = [1, 900, 1_023, 1_900, 2_100, 5_000, 17_000, 70_000, 3, 300_000, 10];
            for (i, size) in sizes.iter().enumerate() {
                client.send(&produce("t", 1, &[(i as i32 % 3, batch(*size))]), 9).await;
                client.send(&versions(), 0).await;
            }
            for i in 0..sizes.len() {
                let (id, response) = client.receive::<ProduceResponse>(9).await;
                let part = &response.responses[0].partition_responses[0];
                assert_eq!(
                    (id, part.error_code),
                    (2 * i as i32 + 1, ErrorCode::NONE),
                    "{:?}",
                    part.error_message
                );
                assert_eq!(part.base_offset, i as i64 / 3);
                assert_eq!(client.receive::<ApiVersionsResponse>(0).await.0, 2 * i as i32 + 2);
            }
        });
    }
}

/// What ends a connection, while another one goes on.
#[test]
fn bad_frames_end_the_connection_and_no_other() {
    let broker = TestBroker::calm(&[("t", 1)]);
    let address = broker.world.address(broker.node, PORT);
    let frame = |length: i32, rest: &[u8]| [&length.to_be_bytes(), rest].concat();
    let header = |api: i16, version: i16| {
        [&api.to_be_bytes()[..], &version.to_be_bytes(), b"\0\0\0\x07\xff\xff"].concat()
    };
    let request = |api, version, body: &[u8]| {
        let request = [&header(api, version), body].concat();
        frame(request.len() as i32, &request)
    };
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("negative length", frame(-1, b"")),
        ("longer than allowed", frame(i32::MAX, b"")),
        ("no header", frame(0, b"")),
        ("half a header", frame(5, b"\0\0\0\x03\0")),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec()),
        ("an unknown API", request(999, 0, b"")),
        ("an API that is not served", request(71, 0, b"\0")),
        ("a negative API", request(-3, 0, b"")),
        ("a version too new", request(3, 99, b"")),
        ("a version too old", request(1, 3, b"")),
        ("a negative version", request(3, -1, b"")),
        ("a body cut short", request(3, 1, b"\0\0")),
        ("a hostile count", request(3, 1, b"\x7f\xff\xff\xff")),
        ("a hostile string", request(3, 1, b"\0\0\0\x01\x7f\xff")),
        ("a Produce cut short", request(0, 9, b"\0\0\0\x01")),
        ("a Fetch cut short", request(1, 12, b"\0\0")),
        ("a large frame of another API", frame(FRAME_MAX_OTHER as i32 + 1, &header(3, 1))),
        ("a client name that is not there", frame(10, b"\0\x12\0\0\0\0\0\x01\0\x05")),
    ];
    broker.client(60 * SECOND, async move |mut other| {
        for (what, bytes) in bad {
            let mut client = TestClient::connect(other.reactor.clone(), address).await;
            assert!(client.send_raw(bytes).await);
            assert!(client.is_ended().await, "{what}");
            other.ask(&versions(), 0).await;
        }
    });
}

#[test]
fn what_was_asked_before_a_bad_frame_is_answered() {
    let broker = TestBroker::calm(&[("t", 1)]);
    broker.control().acknowledge_after.insert(0, Duration::from_millis(50));
    broker.client(SECOND, async |mut client| {
        client.send(&produce("t", 1, &[(0, batch(10))]), 9).await;
        client.send_raw(&b"\xff\xff\xff\xff"[..]).await;
        client.receive::<ProduceResponse>(9).await;
        assert!(client.is_ended().await);
    });
}

#[test]
fn random_bytes_are_survived() {
    let broker = TestBroker::calm(&[("t", 2)]);
    let address = broker.world.address(broker.node, PORT);
    let mut rng = broker.world.rng();
    broker.client(3600 * SECOND, async move |mut other| {
        for _ in 0..2_000 {
            let mut client = TestClient::connect(other.reactor.clone(), address).await;
            // A frame whose header is right more often than not, so that the bodies are looked at too.
            let api = *rng.pick(crate::broker::api::SERVED);
            let version = rng.below(1 + *api.versions().end() as u64) as i16;
            let mut body: Vec<u8> =
                (0..rng.below(200)).map(|_| *rng.pick(&[0, 0, 1, 2, 5, 0x7f, 0xff])).collect();
            let mut bytes =
                [&api.number().to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1, 0xff, 0xff]].concat();
            bytes.append(&mut body);
            let frame = [&(bytes.len() as i32).to_be_bytes()[..], &bytes].concat();
            client.send_raw(frame).await;
            // An answer, the end, or (acks=0, or a long wait that it asked for) neither.
            let reactor = client.reactor.clone();
            crate::reactor::sync::either(async { drop(client.receive_raw().await) }, reactor.sleep(SECOND))
                .await;
        }
        other.ask(&versions(), 0).await;
    });
    assert_eq!(broker.control().frames.values().sum::<usize>(), 0);
}

#[test]
fn versions_that_are_not_known_are_told_what_is() {
    let broker = TestBroker::calm(&[]);
    broker.client(SECOND, async |mut client| {
        for version in [5i16, 99, -1, i16::MAX] {
            let mut frame = vec![0, 18];
            frame.extend(version.to_be_bytes());
            frame.extend(b"\0\0\0\x09\0\x01x\0");
            let frame = [&(frame.len() as i32).to_be_bytes()[..], &frame].concat();
            client.send_raw(frame).await;
            let (id, response) = client.receive::<ApiVersionsResponse>(0).await;
            assert_eq!((id, response.error_code), (9, ErrorCode::UNSUPPORTED_VERSION));
            let range = &response.api_keys[0];
            assert_eq!((range.api_key, range.min_version, range.max_version), (18, 0, 4));
        }
        // And the connection goes on.
        assert_eq!(client.ask(&versions(), 0).await.error_code, ErrorCode::NONE);
    });
}

#[test]
fn every_served_version_is_answered() {
    let broker = TestBroker::calm(&[("t", 2)]);
    broker.client(60 * SECOND, async |mut client| {
        for version in ApiKey::Produce.versions() {
            let response = client.ask(&produce("t", 1, &[(0, batch(10)), (1, batch(10))]), version).await;
            let parts = &response.responses[0].partition_responses;
            assert!(parts.iter().all(|p| p.error_code.is_none()), "Produce {version}: {parts:?}");
        }
        for version in ApiKey::Fetch.versions() {
            let response = client.ask(&fetch("t", Duration::ZERO, &[(0, 0), (1, 0)]), version).await;
            let parts = &response.responses[0].partitions;
            assert!(parts.iter().all(|p| p.error_code.is_none()), "Fetch {version}: {parts:?}");
            assert!(parts.iter().all(|p| !p.records.as_ref().unwrap().is_empty()), "Fetch {version}");
        }
        for version in ApiKey::Metadata.versions() {
            let request = MetadataRequest {
                topics: Some(vec![MetadataRequestTopic {
                    name: Some("t".to_string()),
                    ..Default::default()
                }]),
                ..Default::default()
            };
            let response = client.ask(&request, version).await;
            assert_eq!(response.topics[0].partitions.len(), 2, "Metadata {version}");
        }
        for version in ApiKey::ListOffsets.versions() {
            let partitions = (0..2)
                .map(|partition_index| ListOffsetsPartition {
                    partition_index,
                    timestamp: -1,
                    ..Default::default()
                })
                .collect();
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: vec![ListOffsetsTopic { name: "t".to_string(), partitions }],
                ..Default::default()
            };
            let response = client.ask(&request, version).await;
            assert_eq!(response.topics[0].partitions[1].offset, 11, "ListOffsets {version}");
        }
        for version in ApiKey::DescribeCluster.versions() {
            assert_eq!(client.ask(&DescribeClusterRequest::default(), version).await.brokers[0].port, 9092);
        }
        for version in ApiKey::ApiVersions.versions() {
            let request = ApiVersionsRequest {
                client_software_name: "a".to_string(),
                client_software_version: "1".to_string(),
            };
            assert!(client.ask(&request, version).await.error_code.is_none(), "ApiVersions {version}");
        }
    });
}

#[test]
fn produce_without_answer() {
    let broker = TestBroker::calm(&[("t", 1)]);
    broker.client(SECOND, async |mut client| {
        client.send(&produce("t", 0, &[(0, batch(10))]), 9).await;
        let id = client.send(&versions(), 0).await;
        assert_eq!(client.receive::<ApiVersionsResponse>(0).await.0, id, "acks=0 has no answer");
        client.send(&produce("t", 0, &[(0, batch(10)), (5, batch(10))]), 9).await;
        client.send(&versions(), 0).await;
        assert!(client.is_ended().await, "and an error shows as the end of the connection");
    });
}

#[test]
fn who_is_idle_is_let_go() {
    let settings = Settings { connections_max_idle: 10 * SECOND, ..Settings::default() };
    let broker = TestBroker::start(1, Options::calm(), settings, &[]);
    let address = broker.world.address(broker.node, PORT);
    let control = broker.control.clone();
    broker.client(600 * SECOND, async move |mut busy| {
        let mut idle = TestClient::connect(busy.reactor.clone(), address).await;
        for _ in 0..8 {
            busy.reactor.sleep(3 * SECOND).await;
            busy.ask(&versions(), 0).await;
        }
        assert_eq!(control.lock().unwrap().connections[&usize::MAX], 1);
        assert!(idle.is_ended().await);
    });
}

#[test]
fn a_frame_that_does_not_arrive_gives_its_memory_back() {
    let broker = TestBroker::calm(&[("t", 1)]);
    let control = broker.control.clone();
    let frames = move || control.lock().unwrap().frames.values().sum::<usize>();
    broker.client(600 * SECOND, async move |mut slow| {
        // The length alone takes nothing.
        slow.send_raw((10i32 << 20).to_be_bytes().to_vec()).await;
        slow.reactor.sleep(SECOND).await;
        assert_eq!(frames(), 0);
        // Its first bytes have memory taken; then it goes on at a byte a second.
        slow.send_raw(&b"\0\0\0\x09\0\0"[..]).await;
        slow.reactor.sleep(SECOND).await;
        assert!(frames() >= 10 << 20);
        let mut seconds = 0;
        while slow.send_raw(&b"\0"[..]).await {
            slow.reactor.sleep(SECOND).await;
            seconds += 1;
            assert!(seconds < 300, "it is let go in the end");
        }
        slow.reactor.sleep(SECOND).await;
        assert_eq!(frames(), 0);
    });
}

#[test]
fn connections_are_spread_counted_and_bounded() {
    let settings = Settings { max_connections: 6, max_connections_per_ip: 5, ..Settings::default() };
    let broker = TestBroker::start(1, Options::calm(), settings, &[]);
    let address = broker.world.address(broker.node, PORT);
    let control = broker.control.clone();
    let counts = move || control.lock().unwrap().connections.clone();
    let other = broker.world.add_client();
    broker.client(600 * SECOND, async move |first| {
        let reactor = first.reactor.clone();
        let mut open = vec![first];
        for _ in 0..4 {
            open.push(TestClient::connect(reactor.clone(), address).await);
        }
        let mut sixth = TestClient::connect(reactor.clone(), address).await;
        assert!(sixth.is_ended().await, "max.connections.per.ip");
        for client in &mut open {
            client.ask(&versions(), 0).await;
        }
        assert_eq!((counts()[&0].abs_diff(counts()[&1]), counts()[&usize::MAX]), (1, 5));

        // Another address has room for one more; the next waits until somebody leaves.
        let mut last = TestClient::connect(other.clone(), address).await;
        last.ask(&versions(), 0).await;
        let mut waits = TestClient::connect(other.clone(), address).await;
        waits.send(&versions(), 0).await;
        let answered = async { drop(waits.receive_raw().await) };
        let asleep = std::rc::Rc::new(std::cell::Cell::new(false));
        let seen = asleep.clone();
        let time = async {
            reactor.sleep(5 * SECOND).await;
            seen.set(true);
        };
        crate::reactor::sync::either(answered, time).await;
        assert!(asleep.get(), "max.connections");
        drop(open.pop());
        let (_, response) = waits.receive::<ApiVersionsResponse>(0).await;
        assert!(response.error_code.is_none());
        drop((open, last, waits));
        reactor.sleep(SECOND).await;
        assert_eq!(counts(), [(0, 0), (1, 0), (usize::MAX, 0)].into());
    });
}

#[test]
fn who_does_not_read_pins_one_reply() {
    let broker = TestBroker::calm(&[("t", 2)]);
    let control = broker.control.clone();
    broker.client(600 * SECOND, async move |mut client| {
        for _ in 0..60 {
            client.ask(&produce("t", 1, &[(0, batch(900_000))]), 9).await;
        }
        // Forty replies of megabytes each are asked for, and none is read.
        let mut asked = Vec::new();
        for _ in 0..40 {
            asked.extend(request_frame(&fetch("t", SECOND, &[(0, 0)]), 12, 5, None).unwrap().concat());
        }
        client.send_raw(asked).await;
        client.reactor.sleep(3 * SECOND).await;
        assert!(control.lock().unwrap().fetches <= 2, "what cannot be sent is not read");
        for _ in 0..40 {
            let (_, fetched) = client.receive::<FetchResponse>(12).await;
            assert!(fetched.responses[0].partitions[0].records.as_ref().unwrap().len() > 900_000);
        }
    });
}

#[test]
fn a_frame_that_does_not_arrive_gives_way_to_those_that_do() {
    let broker = TestBroker::calm(&[("t", 1)]);
    let address = broker.world.address(broker.node, PORT);
    let control = broker.control.clone();
    broker.client(600 * SECOND, async move |mut client| {
        let reactor = client.reactor.clone();
        // On each core one takes nearly all the memory that there is, and others would like to.
        let announced = [&20_100_000i32.to_be_bytes()[..], b"\0\0\0\x09\0\0"].concat();
        let proof = vec![0; FRAME_PROOF];
        let mut silent = Vec::new();
        for proves in [false, false, true, true, false, false, true, true] {
            let mut one = TestClient::connect(reactor.clone(), address).await;
            one.send_raw(announced.clone()).await;
            if proves {
                one.send_raw(proof.clone()).await;
            }
            reactor.sleep(Duration::from_millis(10)).await;
            silent.push(one);
        }
        assert!(control.lock().unwrap().frames.values().sum::<usize>() > 2 * 20_000_000);
        let then = reactor.now();
        for _ in 0..5 {
            let response = client.ask(&produce("t", 1, &[(0, batch(900_000))]), 9).await;
            assert!(response.responses[0].partition_responses[0].error_code.is_none());
        }
        assert!(reactor.now().since(then) < 20 * SECOND, "alone each of them would have had half a minute");
    });
}

#[test]
fn what_waits_for_its_turn_is_bounded_on_the_core() {
    let broker = TestBroker::calm(&[("t", 2)]);
    let address = broker.world.address(broker.node, PORT);
    let control = broker.control.clone();
    broker.client(600 * SECOND, async move |mut client| {
        let reactor = client.reactor.clone();
        let long = ApiVersionsRequest { client_software_name: "x".repeat(1800), ..versions() };
        let mut many = Vec::new();
        for _ in 0..300 {
            let mut one = TestClient::connect(reactor.clone(), address).await;
            let mut bytes =
                request_frame(&fetch("t", 300 * SECOND, &[(0, 0)]), 12, 1, None).unwrap().concat();
            for id in 2..70 {
                bytes.extend(request_frame(&long, 3, id, None).unwrap().concat());
            }
            one.send_raw(bytes).await;
            many.push(one);
        }
        reactor.sleep(SECOND).await;
        for core in 0..2 {
            let queued = control.lock().unwrap().queued[&core];
            assert!((QUEUED_BYTES / 2..=QUEUED_BYTES).contains(&queued), "{queued}");
        }
        client.ask(&versions(), 0).await;
        // Each goes on, and all are answered, when what they wait for is there.
        client.ask(&produce("t", 1, &[(0, batch(10))]), 9).await;
        for one in &mut many[..20] {
            one.receive::<FetchResponse>(12).await;
            for id in 2..70 {
                assert_eq!(one.receive::<ApiVersionsResponse>(3).await.0, id);
            }
        }
        drop(many);
        reactor.sleep(SECOND).await;
        assert_eq!(control.lock().unwrap().queued, [(0, 0), (1, 0)].into());
    });
}

#[test]
fn a_produce_of_very_many_partitions_waits_for_its_turn_and_is_answered() {
    let broker = TestBroker::calm(&[("t", 2)]);
    broker.control().acknowledge_after.insert(0, Duration::from_millis(50));
    broker.client(60 * SECOND, async |mut client| {
        let mut wide = produce("t", 1, &[(1, batch(10))]);
        let nothing = PartitionProduceData { index: 7, records: None };
        wide.topic_data[0].partition_data.extend(vec![nothing; 5_000]);
        let first = client.send(&produce("t", 1, &[(0, batch(10))]), 9).await;
        let second = client.send(&wide, 9).await;
        let third = client.send(&produce("t", 1, &[(1, batch(10))]), 9).await;
        assert_eq!(client.receive::<ProduceResponse>(9).await.0, first);
        let (id, response) = client.receive::<ProduceResponse>(9).await;
        let parts = &response.responses[0].partition_responses;
        assert_eq!((id, parts.len(), parts[0].base_offset), (second, 5_001, 0));
        assert!(parts[1..].iter().all(|part| part.error_code.is_error()));
        let (id, response) = client.receive::<ProduceResponse>(9).await;
        assert_eq!((id, response.responses[0].partition_responses[0].base_offset), (third, 1), "in order");
        // And one of far more than any broker of this size takes.
        wide.topic_data[0].partition_data = vec![PartitionProduceData::default(); 100_000];
        client.send(&wide, 9).await;
        assert!(client.is_ended().await);
    });
}

#[test]
fn of_many_endings_some_are_told_and_the_others_counted() {
    let endings = super::Endings::default();
    let mut told = Vec::new();
    for ms in 0..1_000 {
        endings.tell(crate::reactor::Nanos(20_000_000_000 + ms * 1_000_000), |untold| told.push(untold));
    }
    assert_eq!(told, vec![0; ENDINGS_TOLD]);
    endings.tell(crate::reactor::Nanos(40_000_000_000), |untold| told.push(untold));
    assert_eq!(told.last(), Some(&(1_000 - ENDINGS_TOLD)));
}

/// A broker with a listener for brokers, and one for clients behind its port.
fn two_listeners(max_connections: usize) -> TestBroker {
    let settings = Settings {
        listeners: vec!["BROKERS".to_string(), "CLIENTS".to_string()],
        inter_broker_listener: Some(0),
        max_connections,
        ..Settings::default()
    };
    TestBroker::start(1, Options::calm(), settings, &[])
}

/// Sets a setting of all brokers.
async fn set(client: &mut TestClient, name: &str, value: &str) {
    let config = IncrementalAlterableConfig {
        name: name.to_string(),
        config_operation: 0,
        value: Some(value.to_string()),
    };
    let resource = IncrementalAlterConfigsResource {
        resource_type: crate::controller::image::resource::BROKER,
        resource_name: String::new(),
        configs: vec![config],
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = client.ask(&request, 1).await;
    assert_eq!(answer.responses[0].error_code, ErrorCode::NONE, "{:?}", answer.responses[0].error_message);
}

#[test]
fn the_idlest_make_room_for_other_brokers_and_for_lower_limits() {
    let broker = two_listeners(4);
    let clients = broker.world.address(broker.node, PORT + 1);
    let control = broker.control.clone();
    let total = move || control.lock().unwrap().connections[&usize::MAX];
    let reactor = broker.world.add_client();
    broker.client(600 * SECOND, async move |mut other_broker| {
        let clock = other_broker.reactor.clone();
        let mut open = Vec::new();
        other_broker.ask(&versions(), 0).await;
        for _ in 0..3 {
            let mut client = TestClient::connect(reactor.clone(), clients).await;
            client.ask(&versions(), 0).await;
            open.push(client);
        }
        // Of the core with the most clients, the first was idle for longest until it asked again.
        clock.sleep(SECOND).await;
        open[0].ask(&versions(), 0).await;
        clock.sleep(SECOND).await;
        assert_eq!(total(), 4);
        let mut another = TestClient::connect(reactor.clone(), other_broker_address(clients)).await;
        another.ask(&versions(), 0).await;
        assert!(open.remove(2).is_ended().await, "the idlest of its core");
        // From here on brokers are idle for longer than clients.
        for client in [&mut other_broker, &mut another].into_iter().chain(&mut open) {
            clock.sleep(SECOND).await;
            client.ask(&versions(), 0).await;
        }
        assert_eq!(total(), 4);
        set(&mut other_broker, "max.connections", "2").await;
        for client in &mut open {
            assert!(client.is_ended().await);
        }
        for client in [&mut other_broker, &mut another] {
            client.ask(&versions(), 0).await;
        }
        clock.sleep(SECOND).await;
        assert_eq!(total(), 2, "brokers stay");
    });
}

fn other_broker_address(clients: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(clients.ip(), PORT)
}

#[test]
fn a_full_listener_waits_and_the_other_goes_on() {
    let broker = two_listeners(100);
    let clients = broker.world.address(broker.node, PORT + 1);
    let reactor = broker.world.add_client();
    broker.client(600 * SECOND, async move |mut admin| {
        let clock = admin.reactor.clone();
        set(&mut admin, "listener.name.clients.max.connections", "1").await;
        let mut first = TestClient::connect(reactor.clone(), clients).await;
        first.ask(&versions(), 0).await;
        let mut second = TestClient::connect(reactor.clone(), clients).await;
        second.send(&versions(), 0).await;
        clock.sleep(30 * SECOND).await;
        TestClient::connect(reactor.clone(), other_broker_address(clients)).await.ask(&versions(), 0).await;
        drop(first);
        let left = clock.now();
        second.receive::<ApiVersionsResponse>(0).await;
        assert!(clock.now().since(left) < SECOND, "it waited for the first to leave");
        let mut third = TestClient::connect(reactor.clone(), clients).await;
        third.send(&versions(), 0).await;
        clock.sleep(30 * SECOND).await;
        set(&mut admin, "listener.name.clients.max.connections", "2").await;
        third.receive::<ApiVersionsResponse>(0).await;
    });
}

#[test]
fn connections_come_no_faster_than_they_may() {
    let broker = two_listeners(100);
    let clients = broker.world.address(broker.node, PORT + 1);
    let reactor = broker.world.add_client();
    broker.client(600 * SECOND, async move |mut admin| {
        let clock = admin.reactor.clone();
        set(&mut admin, "max.connection.creation.rate", "2").await;
        let begun = clock.now();
        // Twenty are ten seconds' worth.
        for n in 0..30 {
            TestClient::connect(reactor.clone(), clients).await.ask(&versions(), 0).await;
            let took = clock.now().since(begun);
            assert_eq!(took >= SECOND / 2, n >= 20, "number {n} took {took:?}");
        }
        let took = clock.now().since(begun);
        assert!(took >= 4 * SECOND && took < 12 * SECOND, "{took:?}");
        // Brokers have a count of their own.
        TestClient::connect(reactor.clone(), other_broker_address(clients)).await.ask(&versions(), 0).await;
        assert!(clock.now().since(begun) < took + SECOND / 2);
    });
}
