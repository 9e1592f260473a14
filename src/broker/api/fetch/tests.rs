use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::core::Settings;
use crate::broker::testing::*;
use crate::reactor::Nanos;
use crate::reactor::sim::Options;
use crate::wire::error::ErrorCode;
use crate::wire::schema::*;

const SECOND: Duration = Duration::from_secs(1);
const VERSION: i16 = 12;

/// How many bytes of records each partition got, in the response's order.
fn sizes(response: &FetchResponse) -> Vec<(i32, usize)> {
    let parts = response.responses.iter().flat_map(|topic| &topic.partitions);
    parts.map(|part| (part.partition_index, part.records.as_ref().map_or(0, |r| r.len()))).collect()
}

fn since(client: &TestClient, then: Nanos) -> Duration {
    client.reactor.now().since(then)
}

#[test]
fn a_long_poll_ends_when_something_is_written_on_any_core() {
    for partition in [0, 1] {
        let broker = TestBroker::calm(&[("t", 2)]);
        let address = broker.world.address(broker.node, PORT);
        broker.client(60 * SECOND, async move |mut client| {
            let mut producer = TestClient::connect(client.reactor.clone(), address).await;
            let then = client.reactor.now();
            client.send(&fetch("t", 20 * SECOND, &[(0, 0), (1, 0)]), VERSION).await;
            client.reactor.sleep(SECOND).await;
            producer.ask(&produce("t", 1, &[(partition, batch(10))]), 9).await;
            let (_, response) = client.receive::<FetchResponse>(VERSION).await;
            assert!((SECOND..2 * SECOND).contains(&since(&client, then)));
            let found: Vec<_> = sizes(&response).into_iter().filter(|(_, size)| *size > 0).collect();
            assert_eq!(found, [(partition, batch(10).len())]);
        });
    }
}

#[test]
fn patience_ends() {
    let broker = TestBroker::calm(&[("t", 2)]);
    broker.client(60 * SECOND, async |mut client| {
        let then = client.reactor.now();
        let response = client.ask(&fetch("t", 3 * SECOND, &[(0, 0), (1, 0)]), VERSION).await;
        assert!((3 * SECOND..4 * SECOND).contains(&since(&client, then)));
        assert_eq!(sizes(&response), [(0, 0), (1, 0)], "empty, and not null");
    });
}

#[test]
fn enough_is_waited_for() {
    let broker = TestBroker::calm(&[("t", 2)]);
    let address = broker.world.address(broker.node, PORT);
    broker.client(60 * SECOND, async move |mut client| {
        let mut producer = TestClient::connect(client.reactor.clone(), address).await;
        let mut request = fetch("t", 20 * SECOND, &[(0, 0), (1, 0)]);
        request.min_bytes = 3 * batch(100).len() as i32;
        client.send(&request, VERSION).await;
        for i in 0..3 {
            client.reactor.sleep(SECOND).await;
            producer.ask(&produce("t", 1, &[(i % 2, batch(100))]), 9).await;
        }
        let (_, response) = client.receive::<FetchResponse>(VERSION).await;
        assert_eq!(sizes(&response), [(0, 2 * batch(100).len()), (1, batch(100).len())]);
    });
}

#[test]
fn errors_are_told_at_once_but_unknown_topics_do_not_end_the_wait() {
    let broker = TestBroker::calm(&[("t", 1)]);
    broker.client(60 * SECOND, async |mut client| {
        let then = client.reactor.now();
        let response = client.ask(&fetch("t", 20 * SECOND, &[(0, 99)]), VERSION).await;
        let part = &response.responses[0].partitions[0];
        assert_eq!((part.error_code, part.high_watermark), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
        let response = client.ask(&fetch("nobody", 20 * SECOND, &[(0, 0)]), VERSION).await;
        assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let response = client.ask(&fetch("nobody", 20 * SECOND, &[(0, 0)]), 13).await;
        assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
        assert!(since(&client, then) < SECOND);

        let response = client.ask(&fetch("t", 5 * SECOND, &[(0, 0), (7, 0)]), VERSION).await;
        assert!(since(&client, then) > 5 * SECOND, "else a deleted topic makes its reader spin");
        assert_eq!(response.responses[0].partitions[1].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    });
}

#[test]
fn a_follower_is_no_replica_here() {
    let broker = TestBroker::calm(&[("t", 1)]);
    broker.client(SECOND, async |mut client| {
        let mut request = fetch("t", Duration::ZERO, &[(0, 0)]);
        request.replica_id = 2;
        let response = client.ask(&request, VERSION).await;
        assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(response.responses[0].partitions[0].current_leader.leader_id, 1);
        request.replica_id = -1;
        request.replica_state.replica_id = 2;
        let response = client.ask(&request, 16).await;
        assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(response.node_endpoints[0].port, i32::from(PORT));
    });
}

#[test]
fn one_batch_whatever_the_limits_and_no_more_than_they_say() {
    let broker = TestBroker::calm(&[("t", 4)]);
    broker.client(60 * SECOND, async |mut client| {
        let parts: Vec<_> = (0..4).map(|partition| (partition, batch(10_000))).collect();
        for _ in 0..3 {
            client.ask(&produce("t", 1, &parts), 9).await;
        }
        let one = batch(10_000).len();
        let offsets: Vec<_> = (0..4).map(|partition| (partition, 0)).collect();
        let mut request = fetch("t", 20 * SECOND, &offsets);
        for (max_bytes, most) in [(1, 1), (0, 1), (one + 1, 1), (2 * one, 2), (5 * one, 5), (100 * one, 12)] {
            request.max_bytes = max_bytes as i32;
            let found = sizes(&client.ask(&request, VERSION).await);
            let batches = found.iter().map(|(_, size)| size / one).sum::<usize>();
            assert!((1..=most).contains(&batches), "{max_bytes} bytes gave {found:?}");
        }
        request.max_bytes = 100 * one as i32;
        for part in &mut request.topics[0].partitions {
            part.partition_max_bytes = 1;
        }
        let found = sizes(&client.ask(&request, VERSION).await);
        let batches = found.iter().map(|(_, size)| size / one).sum::<usize>();
        assert!((1..=2).contains(&batches), "each shard gives its first: {found:?}");
    });
}

#[test]
fn a_session_reads_all_partitions_in_turn() {
    let broker = TestBroker::calm(&[("t", 6)]);
    broker.client(60 * SECOND, async |mut client| {
        let parts: Vec<_> = (0..6).map(|partition| (partition, batch(50_000))).collect();
        for _ in 0..4 {
            client.ask(&produce("t", 1, &parts), 9).await;
        }
        let mut offsets: BTreeMap<i32, i64> = (0..6).map(|partition| (partition, 0)).collect();
        let mut request = fetch("t", SECOND, &offsets.iter().map(|(p, o)| (*p, *o)).collect::<Vec<_>>());
        // Room for two batches: the first partitions would take them all if they did not go behind the others.
        request.max_bytes = 2 * batch(50_000).len() as i32;
        let mut gave = vec![0; 6];
        for epoch in 0..12 {
            request.session_epoch = epoch;
            let response = client.ask(&request, VERSION).await;
            assert!(response.session_id > 0 && response.error_code.is_none());
            request.session_id = response.session_id;
            let told = sizes(&response).into_iter().filter(|(_, size)| *size > 0);
            // What was read goes on from where it ended; nothing else is named.
            let partitions = told.map(|(partition, size)| {
                gave[partition as usize] += size / batch(50_000).len();
                let offset = offsets.get_mut(&partition).unwrap();
                *offset += (size / batch(50_000).len()) as i64;
                FetchPartition {
                    partition,
                    fetch_offset: *offset,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                }
            });
            request.topics[0].partitions = partitions.collect();
            if epoch == 5 {
                assert!(gave.iter().all(|batches| *batches > 0), "after six of twelve: {gave:?}");
            }
        }
        assert_eq!(gave, [4; 6]);
        let response = client.ask(&FetchRequest { session_epoch: 12, ..request.clone() }, VERSION).await;
        assert_eq!(sizes(&response).iter().map(|(_, size)| size).sum::<usize>(), 0);
        let response = client.ask(&FetchRequest { session_epoch: 5, ..request.clone() }, VERSION).await;
        assert_eq!(response.error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        let response = client.ask(&FetchRequest { session_id: 1, ..request }, VERSION).await;
        assert_eq!(response.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    });
}

#[test]
fn stalled_readers_do_not_starve_the_others() {
    let broker = TestBroker::start(1, Options::calm(), Settings::default(), &[("t", 1)]);
    let address = broker.world.address(broker.node, PORT);
    let control = broker.control.clone();
    broker.client(600 * SECOND, async move |mut client| {
        let reactor = client.reactor.clone();
        for _ in 0..10 {
            client.ask(&produce("t", 1, &[(0, batch(900_000))]), 9).await;
        }
        // Far more of them than the memory for replies can serve, on both cores.
        let mut stalled = Vec::new();
        for _ in 0..160 {
            let mut reader = TestClient::connect(reactor.clone(), address).await;
            reader.send(&fetch("t", SECOND, &[(0, 0)]), VERSION).await;
            stalled.push(reader);
        }
        reactor.sleep(SECOND).await;
        let then = reactor.now();
        for _ in 0..5 {
            let mut reader = TestClient::connect(reactor.clone(), address).await;
            let response = reader.ask(&fetch("t", SECOND, &[(0, 0)]), VERSION).await;
            assert!(sizes(&response)[0].1 > 900_000);
        }
        assert!(reactor.now().since(then) < 60 * SECOND);
        assert!(control.lock().unwrap().connections[&usize::MAX] < 160, "some were let go");
    });
}
