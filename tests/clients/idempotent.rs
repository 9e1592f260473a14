//! Idempotent producers, as librdkafka is by default in other languages: each record once, whatever happens.

use std::time::Duration;

use rdkafka::Offset;

use crate::support::{Broker, PATIENCE, Target, broker, send, values};

const IDEMPOTENT: [(&str, &str); 1] = [("enable.idempotence", "true")];

#[test]
fn records_go_in_once_and_in_order() {
    let broker = broker();
    let topic = broker.topic("idempotent", 3, &[]);
    let writer = broker.writer(&IDEMPOTENT);
    let values = values("once", 3000);
    for (n, value) in values.iter().enumerate() {
        writer.send(send(&topic, (n % 3) as i32, value));
    }
    let offsets = writer.offsets();
    for partition in 0..3 {
        let read = broker.read(&topic, partition, Offset::Offset(0));
        let wanted: Vec<_> = values.iter().skip(partition as usize).step_by(3).cloned().map(Some).collect();
        assert_eq!(read.into_iter().map(|record| record.value).collect::<Vec<_>>(), wanted);
    }
    assert_eq!(offsets, (0..3000).map(|n| n / 3).collect::<Vec<i64>>());
}

/// The broker is killed and begun again while the producer works: what had no answer is sent again.
#[test]
fn a_broker_that_is_killed_has_each_record_once_all_the_same() {
    if std::env::var("OTTLA_TEST_BOOTSTRAP").is_ok() {
        return;
    }
    let mut process = Broker::new();
    process.begin();
    process.wait();
    let target = Target::at(&process.address);
    // Small segments: some of the snapshots that are read after a kill were written by a roll.
    let topic = target.topic("killed", 2, &[("segment.bytes", "1048576")]);
    let patience = PATIENCE.as_millis().to_string();
    let patient =
        [("message.timeout.ms", patience.as_str()), ("linger.ms", "1"), ("batch.num.messages", "20")];
    let writer = target.writer(&[&IDEMPOTENT[..], &patient].concat());
    let values = values("killed", 30_000);
    for (n, value) in values.iter().enumerate() {
        writer.send(send(&topic, (n % 2) as i32, value));
        // Slowly enough that some batches are always under way: also when the broker dies.
        if n % 20 == 19 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if n % 2_000 == 1_999 {
            process.kill();
            process.begin();
            process.wait();
        }
    }
    writer.offsets();
    for partition in 0..2 {
        let read = target.read(&topic, partition, Offset::Offset(0));
        let found: Vec<_> = read.into_iter().map(|record| record.value).collect();
        let wanted: Vec<_> = values.iter().skip(partition as usize).step_by(2).cloned().map(Some).collect();
        assert_eq!(
            found.len(),
            wanted.len(),
            "partition {partition}: none is there twice, and none is missing"
        );
        assert!(found == wanted, "partition {partition}: in order");
    }
}
