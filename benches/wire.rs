//! The codec functions that every produce and fetch request runs through.
//!
//! `cargo bench --bench wire`

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ottla::wire::api::{RequestHeader, request_frame, response_frame};
use ottla::wire::batch::{Batch, BatchBuilder, Compression};
use ottla::wire::codec::{Reader, Records};
use ottla::wire::partitioner::murmur2_partition;
use ottla::wire::schema::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
    TopicProduceResponse,
};

fn batch(records: usize, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    let value = vec![b'v'; size];
    (0..records).for_each(|i| builder.append(i as i64, Some(&i.to_be_bytes()), Some(&value), &[]));
    builder.build().unwrap().into()
}

fn frame(slices: Vec<Bytes>) -> Bytes {
    Bytes::from(slices.concat()).slice(4..)
}

fn produce(c: &mut Criterion) {
    for partitions in [1, 300] {
        let records = batch(10, 100);
        let partition = |index| PartitionProduceData { index, records: Some(records.clone()) };
        let topic = TopicProduceData {
            name: "a-topic-of-usual-length".into(),
            partition_data: (0..partitions).map(partition).collect(),
            ..Default::default()
        };
        let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
        let bytes = frame(request_frame(&request, 10, 1, Some("bench")).unwrap());
        c.bench_function(&format!("decode ProduceRequest, {partitions} partitions"), |b| {
            b.iter(|| {
                let mut r = Reader::new(bytes.clone());
                let header = RequestHeader::decode(&mut r).unwrap();
                black_box(ProduceRequest::decode(&mut r, header.version).unwrap())
            });
        });
        let partition = |index| PartitionProduceResponse { index, base_offset: 7, ..Default::default() };
        let topic = TopicProduceResponse {
            name: "a-topic-of-usual-length".into(),
            partition_responses: (0..partitions).map(partition).collect(),
            ..Default::default()
        };
        let response = ProduceResponse { responses: vec![topic], ..Default::default() };
        c.bench_function(&format!("encode ProduceResponse, {partitions} partitions"), |b| {
            b.iter(|| black_box(response_frame(&response, 10, 1).unwrap()));
        });
    }
}

fn fetch(c: &mut Criterion) {
    for partitions in [1, 300] {
        let partition = |partition| FetchPartition { partition, fetch_offset: 7, ..Default::default() };
        let topic = FetchTopic { partitions: (0..partitions).map(partition).collect(), ..Default::default() };
        let request = FetchRequest { topics: vec![topic], ..Default::default() };
        let bytes = frame(request_frame(&request, 17, 1, Some("bench")).unwrap());
        c.bench_function(&format!("decode FetchRequest, {partitions} partitions"), |b| {
            b.iter(|| {
                let mut r = Reader::new(bytes.clone());
                let header = RequestHeader::decode(&mut r).unwrap();
                black_box(FetchRequest::decode(&mut r, header.version).unwrap())
            });
        });
        let records = batch(100, 100);
        let partition = |partition_index| PartitionData {
            partition_index,
            records: Some(Records::from(records.clone())),
            ..Default::default()
        };
        let topic = FetchableTopicResponse {
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        c.bench_function(&format!("encode FetchResponse, {partitions} partitions of 11 kB"), |b| {
            b.iter(|| black_box(response_frame(&response, 17, 1).unwrap()));
        });
    }
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batches");
    for size in [100, 1600] {
        let bytes = batch(10, size);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("check a batch of {} bytes", bytes.len()), |b| {
            b.iter(|| Batch::first(black_box(&bytes)).unwrap().check_from_client().unwrap());
        });
    }
    for compression in Compression::ALL {
        let value = b"{\"name\":\"somebody\",\"city\":\"Prague\",\"street\":\"Bilkova 22\",\"count\":17}";
        let build = || {
            let mut builder = BatchBuilder::new().compression(compression);
            (0..100).for_each(|i: u64| builder.append(0, Some(&i.to_be_bytes()), Some(value), &[]));
            builder
        };
        let plain = build().len();
        let bytes = build().build().unwrap();
        group.throughput(Throughput::Bytes(plain as u64));
        group.bench_function(format!("read 100 records, {compression}"), |b| {
            b.iter(|| {
                let records = Batch::first(black_box(&bytes)).unwrap().open(1 << 20).unwrap();
                records.iter().map(|r| r.unwrap().value.map_or(0, <[u8]>::len)).sum::<usize>()
            });
        });
        group.bench_function(format!("build 100 records, {compression}"), |b| {
            b.iter_batched(build, |builder| builder.build().unwrap(), BatchSize::SmallInput);
        });
    }
    group.finish();
    c.bench_function("murmur2 of a key of 16 bytes", |b| {
        b.iter(|| murmur2_partition(black_box(b"0123456789abcdef"), 300));
    });
}

criterion_group!(benches, produce, fetch, batches);
criterion_main!(benches);
