//! The same random requests to Ottla and to stock Kafka 4.2: error codes and the meaning of the answers are equal.
//!
//! A sequence has a few topics of its own and is a handful of requests, valid and broken, of every API and version
//! that Ottla tells of; at its end all that the brokers keep of the topics is compared. `OTTLA_SEED` and
//! `OTTLA_SEQUENCES` say which ones: `OTTLA_SEED=5 OTTLA_SEQUENCES=17..18` runs one again. Where an answer differs on
//! purpose, `accepted.txt` says so, and why; what follows such an answer in its sequence is not compared.
//! With OTTLA_DETAILS it is told what each of its lines was met by.
//! OTTLA_TEST_BOOTSTRAP and OTTLA_TEST_STOCK name brokers that run already.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of the binary run it and talk to it"
)]

#[path = "../support/mod.rs"]
mod broker;
#[path = "../wire_oracle/generate.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod generate;
#[path = "../kafka/stock.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod stock;

mod accepted;
mod batch;
mod draw;
mod link;
mod pair;
mod value;

use std::collections::BTreeMap;

use accepted::Accepted;
use pair::{Pair, Sequence};

/// How the names of the sequences' topics begin.
const PREFIX: &str = "df-";
/// How many sequences have their topics made together.
const TOGETHER: u64 = 50;

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[test]
fn ottla_answers_as_stock_kafka_does() {
    let seed: u64 = setting("OTTLA_SEED", "1").parse().unwrap();
    let sequences = setting("OTTLA_SEQUENCES", "2000");
    let (first, end) = sequences.split_once("..").unwrap_or(("0", &sequences));
    let (first, end): (u64, u64) = (first.parse().unwrap(), end.parse().unwrap());
    let accepted = Accepted::read();
    let mut pair = Pair::start();
    let (mut kinds, mut asked) = (BTreeMap::<String, (u64, String)>::new(), 0);
    let begun = std::time::Instant::now();
    let mut at = first;
    while at < end {
        let until = end.min(at + TOGETHER);
        let mut together: Vec<Sequence> = (at..until).map(|number| Sequence::new(seed, number)).collect();
        pair.prepare(&mut together);
        for sequence in &mut together {
            let found = sequence.run(&mut pair);
            asked += sequence.asked;
            if let Some(found) = found.filter(|found| !accepted.covers(found)) {
                let kind =
                    kinds.entry(found.kind()).or_insert_with(|| (0, found.tell(seed, sequence.number)));
                kind.0 += 1;
                if kind.0 == 1 {
                    println!("{}\n", kind.1);
                }
            }
        }
        pair.clear(&together);
        at = until;
    }
    println!("{asked} requests in {} sequences, {:?}", end - first, begun.elapsed());
    accepted.tell();
    let told: Vec<String> = kinds.values().map(|(times, first)| format!("{times} times: {first}")).collect();
    assert!(told.is_empty(), "{} kinds of differences:\n\n{}", told.len(), told.join("\n\n"));
}
