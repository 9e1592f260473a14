//! Thousands of partitions on one node: Ottla and stock Kafka one after the other, the same client, the same figures.
//!
//! A topic is made in one request; a producer with librdkafka's defaults writes records of 100 bytes to all partitions
//! in turn; the node is stopped and started, and killed under load and started, until each partition answers.
//!
//!     cargo bench --bench partitions -- --partitions 4000 --seconds 30

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench starts brokers, talks to them and looks at their files"
)]

mod brokers;
mod load;
mod questions;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use brokers::{Broker, Kind};

#[derive(Parser)]
struct Args {
    /// How many partitions the topic has
    #[arg(long, default_value_t = 4000)]
    partitions: i32,
    /// How long the load goes on
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// A setting of the producer besides librdkafka's defaults; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    client: Vec<String>,
    /// Only this broker
    #[arg(long)]
    only: Option<Kind>,
    /// Where the data goes
    #[arg(long, default_value = "target/partitions")]
    dir: PathBuf,
    /// Cargo gives this to each bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is told of a broker.
#[derive(Default)]
struct Figures {
    created: Duration,
    apparent: u64,
    allocated: u64,
    resident_empty: u64,
    records_per_second: f64,
    p50: Duration,
    p99: Duration,
    cpu: Duration,
    resident: u64,
    most_resident: u64,
    stopped: Duration,
    clean: Duration,
    killed: Duration,
}

fn main() {
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        println!(
            "partitions: takes minutes: cargo bench --bench partitions -- --partitions 4000 --seconds 30"
        );
        return;
    }
    let args = Args::parse();
    std::fs::create_dir_all(&args.dir).expect("the folder can be made");
    let kinds =
        [Kind::Kafka, Kind::Ottla].into_iter().filter(|kind| args.only.is_none_or(|only| only == *kind));
    let all: Vec<(Kind, Figures)> = kinds.map(|kind| (kind, measure(kind, &args))).collect();
    println!(
        "\n{:<42}{}",
        "",
        all.iter().map(|(kind, _)| format!("{:>16}", kind.name())).collect::<String>()
    );
    let seconds = |d: Duration| format!("{:.2} s", d.as_secs_f64());
    let millis = |d: Duration| format!("{:.1} ms", d.as_secs_f64() * 1000.0);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let row = |what: &str, of: &dyn Fn(&Figures) -> String| {
        println!("{what:<42}{}", all.iter().map(|(_, f)| format!("{:>16}", of(f))).collect::<String>());
    };
    row("made in one request, until all answer", &|f| seconds(f.created));
    row("empty: apparent size on disk", &|f| mib(f.apparent));
    row("empty: space taken on disk", &|f| mib(f.allocated));
    row("empty: resident memory", &|f| mib(f.resident_empty));
    row("records a second", &|f| format!("{:.0}", f.records_per_second));
    row("acknowledged after, median", &|f| millis(f.p50));
    row("acknowledged after, p99", &|f| millis(f.p99));
    row("CPU of the broker under load", &|f| seconds(f.cpu));
    row("resident memory at the end of the load", &|f| mib(f.resident));
    row("resident memory under load, at most", &|f| mib(f.most_resident));
    row("clean stop", &|f| seconds(f.stopped));
    row("start after it, until all answer", &|f| seconds(f.clean));
    row("start after kill -9, until all answer", &|f| seconds(f.killed));
}

fn measure(kind: Kind, args: &Args) -> Figures {
    let told =
        |what: &str, span: Duration| eprintln!("{:<8}{what}: {:.2} s", kind.name(), span.as_secs_f64());
    let mut figures = Figures::default();
    let mut broker = Broker::new(kind, &args.dir);
    broker.start();
    questions::wait_for(broker.address(), 0);
    let begun = Instant::now();
    questions::create(broker.address(), args.partitions);
    questions::wait_for(broker.address(), args.partitions);
    figures.created = begun.elapsed();
    told("made", figures.created);
    std::thread::sleep(Duration::from_secs(2));
    (figures.apparent, figures.allocated) = broker.space();
    figures.resident_empty = broker.resident();

    let cpu = broker.cpu();
    let load = load::run(broker.address(), args.partitions, Duration::from_secs(args.seconds), &args.client);
    figures.cpu = broker.cpu() - cpu;
    (figures.records_per_second, figures.p50, figures.p99) = (load.records_per_second, load.p50, load.p99);
    (figures.resident, figures.most_resident) = (broker.resident(), broker.most_resident());
    eprintln!("{:<8}{:.0} records/s, p99 {:?}", kind.name(), load.records_per_second, load.p99);

    let begun = Instant::now();
    broker.stop();
    figures.stopped = begun.elapsed();
    told("stopped", figures.stopped);
    let begun = Instant::now();
    broker.start();
    questions::wait_for(broker.address(), args.partitions);
    figures.clean = begun.elapsed();
    told("started", figures.clean);

    let stop = load::begin(broker.address(), args.partitions, &args.client);
    std::thread::sleep(Duration::from_secs(args.seconds.min(15)));
    broker.kill();
    stop();
    let begun = Instant::now();
    broker.start();
    questions::wait_for(broker.address(), args.partitions);
    figures.killed = begun.elapsed();
    told("started after kill -9", figures.killed);
    broker.stop();
    figures
}
