//! Clients that do not read, or that hardly send.

use std::io::Write;
use std::time::Duration;

use ottla::command::client::Connection;
use ottla::wire::batch::BatchBuilder;
use ottla::wire::error::ErrorCode;
use ottla::wire::schema::{
    ApiVersionsRequest, DescribeConfigsRequest, DescribeConfigsResource, FetchPartition, FetchRequest,
    FetchTopic, PartitionProduceData, ProduceRequest, TopicProduceData,
};

use crate::bystander::Bystander;
use crate::raw::{Raw, frame, request};
use crate::target::{Target, Topic};

fn fetch(topic: &Topic, max_wait_ms: i32, min_bytes: i32) -> Vec<u8> {
    let partition = FetchPartition { fetch_offset: 0, partition_max_bytes: i32::MAX, ..Default::default() };
    let wanted = FetchTopic { topic: topic.name.clone(), topic_id: topic.id, partitions: vec![partition] };
    let fetch = FetchRequest {
        max_wait_ms,
        min_bytes,
        max_bytes: i32::MAX,
        topics: vec![wanted],
        ..Default::default()
    };
    frame(&request(&fetch, 12))
}

fn produce(topic: &Topic, size: usize) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.append(0, None, Some(&vec![b'v'; size]), &[]);
    let records = Some(builder.build().unwrap().into());
    let data = PartitionProduceData { index: 0, records };
    let topic = TopicProduceData { name: topic.name.clone(), topic_id: topic.id, partition_data: vec![data] };
    ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 60_000, topic_data: vec![topic] }
}

fn write(client: &mut Connection, topic: &Topic, batches: usize, size: usize) {
    for _ in 0..batches {
        let answer = client.call(&produce(topic, size)).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
    }
}

#[test]
fn clients_that_never_read_what_they_fetch() {
    const CLIENTS: usize = 150;
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let topic = target.topic("unread", 1);
    write(&mut target.client(), &topic, 100, 1_000_000);
    let memory = target.watch_memory();
    let asked = fetch(&topic, 500, 1).repeat(40);
    let mut clients: Vec<Raw> = Vec::new();
    for number in 0..CLIENTS {
        let mut raw = Raw::connect(&target.address);
        raw.send(&asked);
        clients.push(raw);
        if number % 30 == 29 {
            bystander.goes_on();
        }
    }
    bystander.goes_on();
    bystander.goes_on();
    memory.check(CLIENTS as u64);
    drop(clients);
    bystander.end();
    memory.check(CLIENTS as u64);
}

#[test]
fn clients_that_never_read_long_answers() {
    const CLIENTS: usize = 150;
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let memory = target.watch_memory();
    // Every setting with its documentation, many times.
    let resource =
        DescribeConfigsResource { resource_type: 4, resource_name: "1".into(), ..Default::default() };
    let everything = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let asked = frame(&request(&everything, 4)).repeat(50);
    let mut clients: Vec<Raw> = Vec::new();
    for number in 0..CLIENTS {
        let mut raw = Raw::connect(&target.address);
        raw.send(&asked);
        clients.push(raw);
        if number % 50 == 49 {
            bystander.goes_on();
        }
    }
    bystander.goes_on();
    memory.check(CLIENTS as u64);
    drop(clients);
    bystander.end();
}

#[test]
fn many_requests_that_wait_behind_a_long_one() {
    const CLIENTS: usize = 300;
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let topic = target.topic("waits", 1);
    let memory = target.watch_memory();
    // A fetch that waits for ever, and behind it all that the broker reads.
    let small = frame(&request(
        &ApiVersionsRequest { client_software_name: "x".repeat(1900), client_software_version: "1".into() },
        3,
    ));
    let many = small.repeat(1000);
    let mut clients: Vec<(Raw, usize)> = Vec::new();
    for _ in 0..CLIENTS {
        let mut raw = Raw::connect(&target.address);
        assert!(raw.send(&fetch(&topic, i32::MAX, i32::MAX)));
        raw.stream.set_nonblocking(true).unwrap();
        clients.push((raw, 0));
    }
    // As much as the broker and the sockets take, and then as much as they take more.
    for _ in 0..4 {
        for (raw, at) in &mut clients {
            while let Ok(sent) = raw.stream.write(&many[*at..]) {
                *at = (*at + sent) % many.len();
            }
        }
        bystander.goes_on();
    }
    bystander.goes_on();
    memory.check(CLIENTS as u64);
    // Half of them go without a word.
    clients.truncate(CLIENTS / 2);
    bystander.goes_on();
    drop(clients);
    bystander.end();
    memory.check(CLIENTS as u64);
}

#[test]
fn clients_that_send_a_byte_at_a_time() {
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let topic = target.topic("bytes", 1);
    let memory = target.watch_memory();
    let whole = [frame(&request(&produce(&topic, 3_000), 12)), fetch(&topic, 0, 0)].concat();
    let mut clients: Vec<(Raw, usize)> = (0..100).map(|_| (Raw::connect(&target.address), 0)).collect();
    for step in 0..whole.len() {
        for (number, (raw, sent)) in clients.iter_mut().enumerate() {
            // The first ones send all of it, the others are still at it when it is over.
            if number < 10 || step % 50 == 0 {
                assert!(raw.send(&whole[*sent..=*sent]));
                *sent += 1;
            }
        }
        if step % 500 == 0 {
            bystander.goes_on();
        }
    }
    for (raw, sent) in clients.iter_mut().take(10) {
        assert_eq!(*sent, whole.len());
        assert!(raw.receive().is_some() && raw.receive().is_some(), "what came whole is answered");
    }
    bystander.end();
    memory.check(100);
}

#[test]
fn requests_that_are_announced_and_do_not_come() {
    const CLIENTS: usize = 300;
    let target = Target::start();
    let bystander = Bystander::begin(&target);
    let topic = target.topic("announced", 1);
    let memory = target.watch_memory();
    let begun = request(&produce(&topic, 3_000), 12);
    let mut clients: Vec<Raw> = Vec::new();
    for number in 0..CLIENTS {
        let mut raw = Raw::connect(&target.address);
        let length = [100 << 20, 1 << 20, 10 << 20, 60_000][number % 4];
        let some = &begun[..[2, 0, 100, 2_000][number / 4 % 4]];
        raw.send(&[&i32::to_be_bytes(length), some].concat());
        clients.push(raw);
        if number % 50 == 49 {
            bystander.goes_on();
        }
    }
    bystander.goes_on();
    memory.check(CLIENTS as u64);
    std::thread::sleep(Duration::from_millis(100));
    bystander.end();
    memory.check(CLIENTS as u64);
}
