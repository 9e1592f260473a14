//! What large groups cost. Run with `cargo test --release --lib coordinator::tests::consumers::size -- --ignored
//! --nocapture`.

#![expect(clippy::disallowed_methods, reason = "it measures what the code costs on this machine")]

use std::time::Instant;

use super::*;

#[test]
#[ignore = "measures"]
fn a_thousand_members_and_ten_thousand_partitions() {
    let mut bench = bench(10_000);
    let begin = Instant::now();
    let mut worst = 0;
    let mut epochs = Vec::new();
    for n in 0..1000 {
        let one = Instant::now();
        epochs.push(bench.heartbeat(join(&format!("member-{n:04}"), &["t"])).member_epoch);
        worst = worst.max(one.elapsed().as_micros());
    }
    println!("1,000 members join one by one: {:?}, at most {worst} µs for one", begin.elapsed());
    let begin = Instant::now();
    let mut has: Vec<Vec<i32>> = vec![Vec::new(); 1000];
    has[0] = (0..10_000).collect();
    let mut rounds = 0;
    let mut beats = 0;
    while bench.group_state() != ConsumerState::Stable {
        rounds += 1;
        for (n, (epoch, has)) in epochs.iter_mut().zip(&mut has).enumerate() {
            let answer = bench.owning(&format!("member-{n:04}"), *epoch, has);
            assert_eq!(answer.error_code, ErrorCode::NONE);
            *epoch = answer.member_epoch;
            if let Some(told) = told(&answer) {
                *has = told.into_iter().flat_map(|(_, partitions)| partitions).collect();
            }
            beats += 1;
        }
        bench.log.clear();
    }
    println!("they converge: {:?}, {rounds} rounds, {beats} heartbeats", begin.elapsed());
    let begin = Instant::now();
    for (n, epoch) in epochs.iter().enumerate() {
        bench.heartbeat(beat(&format!("member-{n:04}"), *epoch));
    }
    println!("a quiet round of 1,000 heartbeats: {:?}", begin.elapsed());
    let begin = Instant::now();
    bench.heartbeat(beat("member-0500", -1));
    bench.heartbeat(beat("member-0501", epochs[501]));
    println!("one leaves, and the next heartbeat assigns anew: {:?}", begin.elapsed());
}
