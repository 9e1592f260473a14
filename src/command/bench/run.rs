//! A run from its first connection to its report: starts pumps and consumers, watches them, takes the figures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{ScopedJoinHandle, scope, sleep};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::super::Global;
use super::super::client::{Client, EARLIEST, LATEST, Topic};
use super::super::failure::{Failure, Result};
use super::super::output::{Progress, Unit};
use super::account::{Process, Usage};
use super::drain::{Drain, Drained};
use super::pump::{Link, Plan, Pump, Tally, new_histogram};
use super::report::{self, Cost, Latencies, Report};
use super::setup::{self, Extent, LinkSeed, Load, Pace};
use super::template::RequestForm;
use super::{ConsumeArgs, at_least_one};

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A run in which nothing happens for this long has failed.
const STANDSTILL: Duration = Duration::from_secs(60);

/// A moment of the run: what had been done, and what it had cost.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    bytes: u64,
    records: u64,
    requests: u64,
    own: Usage,
    broker: Option<Usage>,
}

/// Who is charged.
#[derive(Clone, Copy, Debug)]
struct Watched {
    own: Process,
    broker: Option<Process>,
}

impl Watched {
    fn new(pid: Option<u32>) -> Result<Watched> {
        Ok(Watched { own: Process::own(), broker: pid.map(Process::of).transpose()? })
    }

    fn moment(&self, bytes: &AtomicU64, records: &AtomicU64, requests: &AtomicU64) -> Result<Moment> {
        Ok(Moment {
            at: Instant::now(),
            bytes: bytes.load(Relaxed),
            records: records.load(Relaxed),
            requests: requests.load(Relaxed),
            own: self.own.usage()?,
            broker: self.broker.map(|b| b.usage()).transpose()?,
        })
    }

    fn cost(&self, from: &Moment, to: &Moment, of: &report::Window) -> Result<(Cost, Option<Cost>)> {
        let own = Cost::new(&to.own.since(&from.own), of.bytes, of.records, self.own.memory()?);
        let broker = match (self.broker, from.broker, to.broker) {
            (Some(process), Some(from), Some(to)) => {
                Some(Cost::new(&to.since(&from), of.bytes, of.records, process.memory()?))
            }
            _ => None,
        };
        Ok((own, broker))
    }
}

/// Ends all threads of a run when its watcher leaves, however that is.
struct StopAll<'a>(&'a AtomicBool, &'a AtomicBool);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        self.1.store(true, Relaxed);
    }
}

/// Runs producers, and consumers where there are any.
pub fn produce(load: &Load, global: &Global) -> Result<()> {
    let watched = Watched::new(load.target.broker_pid)?;
    let mut client = Client::connect(global)?;
    let topic = setup::topic(&mut client, &load.target)?;
    let before = offsets(&mut client, &topic, LATEST)?;
    let slots = setup::templates(&topic, load);
    let per_request = setup::per_request(load, &slots);
    let (seeds, version) = setup::links(&mut client, &topic, load)?;
    let consumers = match load.consumers {
        0 => Vec::new(),
        n => setup::consumers(&mut client, &topic, n)?,
    };

    let began = Instant::now();
    let plan = Plan {
        form: RequestForm {
            version,
            acks: load.acks.number(),
            timeout_ms: client.timeout().as_millis() as i32,
            topic: topic.name.clone(),
        },
        per_request,
        in_flight: load.in_flight,
        interval: interval(load, &slots, per_request),
        slots,
        stamped: load.stamped,
        goal_bytes: goal_bytes(load),
        goal_time: goal_time(load, began),
        began,
    };
    let (tally, drained) = (Tally::default(), Drained::default());
    let links = links(seeds, &plan)?;
    let drains = consumers
        .into_iter()
        .map(|(stream, version, partitions)| {
            let from = partitions.iter().map(|p| (*p, before[p])).collect();
            let form = setup::fetch_form(&load.fetching, version, load.stamped.then_some(load.record_size));
            Drain::new(stream, form, &topic, from, None, &drained, began)
        })
        .collect::<Result<Vec<_>>>()?;

    let mut run = Run { load, plan: &plan, tally: &tally, drained: &drained, watched, global };
    let timed = scope(|threads| {
        let _stop = StopAll(&tally.stop, &drained.stop);
        let draining = drains.into_iter().map(|drain| threads.spawn(|| drain.run())).collect();
        let mut shares: Vec<Vec<Link>> = (0..load.threads).map(|_| Vec::new()).collect();
        for (number, link) in links.into_iter().enumerate() {
            shares[number % load.threads].push(link);
        }
        let mut pumping = Vec::new();
        for share in shares.into_iter().filter(|s| !s.is_empty()) {
            let pump = Pump::new(&plan, &tally, share)?;
            pumping.push(threads.spawn(|| pump.run()));
        }
        run.time(pumping, draining, &mut client, &topic, &before)
    })?;
    let window = report::Window::new(
        timed.acked.at.duration_since(timed.from.at),
        timed.acked.bytes - timed.from.bytes,
        timed.acked.records - timed.from.records,
        timed.acked.requests - timed.from.requests,
    );
    let mut report = Report::new(load, &plan, &topic, window);
    (report.bench, report.broker) = watched.cost(&timed.from, &timed.drained, &window)?;
    report.cost_window_seconds = timed.drained.at.duration_since(timed.from.at).as_secs_f64();
    report.acknowledged = (load.acks.number() != 0).then(|| Latencies::new(&timed.acknowledged));
    report.end_to_end = (load.stamped && load.consumers > 0).then(|| Latencies::new(&timed.end_to_end));
    report.consumed_bytes = drained.bytes.load(Relaxed);
    report.consumed_fetches = drained.fetches.load(Relaxed);
    report.per_second = timed.per_second;
    report.offsets_grew_by = grown(&before, &offsets(&mut client, &topic, LATEST)?);
    report.records_acknowledged = tally.acked_records.load(Relaxed);
    report::show(&report, global)?;
    clean_up(&mut client, &topic, load.target.delete)?;
    report.verdict()
}

/// The producing connections, their schedules spread over one interval.
fn links(seeds: Vec<LinkSeed>, plan: &Plan) -> Result<Vec<Link>> {
    let step = plan.interval.unwrap_or_default() / seeds.len().max(1) as u32;
    seeds.into_iter().enumerate().map(|(number, seed)| seed.link(plan.began + step * number as u32)).collect()
}

/// A run of producers whose threads have ended.
struct Timed {
    /// When the warm-up had been acknowledged.
    from: Moment,
    /// When everything had been acknowledged.
    acked: Moment,
    /// When consumers had everything.
    drained: Moment,
    acknowledged: Histogram<u64>,
    end_to_end: Histogram<u64>,
    per_second: Vec<u64>,
}

struct Run<'a> {
    load: &'a Load,
    plan: &'a Plan,
    tally: &'a Tally,
    drained: &'a Drained,
    watched: Watched,
    global: &'a Global,
}

type Running<'s> = Vec<ScopedJoinHandle<'s, Result<Histogram<u64>>>>;

impl Run<'_> {
    fn moment(&self) -> Result<Moment> {
        let tally = self.tally;
        self.watched.moment(&tally.acked_bytes, &tally.acked_records, &tally.acked_requests)
    }

    /// Watches the threads until all are done.
    fn time(
        &mut self,
        pumping: Running<'_>,
        draining: Running<'_>,
        client: &mut Client,
        topic: &Topic,
        before: &BTreeMap<i32, i64>,
    ) -> Result<Timed> {
        let (from, per_second) = self.watch(&pumping, &draining)?;
        let failed_early = draining.iter().any(ScopedJoinHandle::is_finished);
        if failed_early {
            self.tally.stop.store(true, Relaxed);
            self.drained.stop.store(true, Relaxed);
            join(draining)?;
            return Err(Failure::new("a consumer ended before the producers did"));
        }
        let acknowledged = join(pumping)?;
        if self.load.acks.number() == 0 {
            self.wait_for_log(client, topic, before)?;
        }
        let acked = self.moment()?;
        let from = from.ok_or_else(|| {
            Failure::new("the run ended before its warm-up did").advice("Give it more --bytes or --seconds.")
        })?;
        while !draining.is_empty() && self.drained.bytes.load(Relaxed) < acked.bytes {
            if draining.iter().any(ScopedJoinHandle::is_finished) {
                break;
            }
            if acked.at.elapsed() > STANDSTILL {
                return Err(Failure::new("the consumers did not get everything that was acknowledged"));
            }
            sleep(Duration::from_millis(1));
        }
        let drained = self.moment()?;
        self.drained.stop.store(true, Relaxed);
        let end_to_end = join(draining)?;
        let per_second = increments(from.bytes, &per_second);
        Ok(Timed { from, acked, drained, acknowledged, end_to_end, per_second })
    }

    /// Looks on until the producers are done or a thread has failed. Gives the moment when the warm-up was over, and
    /// what had been acknowledged by the end of each second since.
    fn watch(&mut self, pumping: &Running<'_>, draining: &Running<'_>) -> Result<(Option<Moment>, Vec<u64>)> {
        let warm = |bytes: u64| match self.load.warmup {
            Extent::Bytes(goal) => bytes >= goal,
            Extent::Time(goal) => self.plan.began.elapsed() >= goal,
        };
        let total = Some(self.plan.goal_bytes).filter(|n| *n < u64::MAX);
        let mut progress = Progress::new(self.global.style(), Unit::Bytes, total);
        let mut from: Option<Moment> = None;
        let mut per_second: Vec<u64> = Vec::new();
        let (mut last_bytes, mut last_change) = (0, Instant::now());
        loop {
            // Asked first: what was acknowledged until then is in what follows.
            let done = pumping.iter().all(ScopedJoinHandle::is_finished);
            let bytes = self.tally.acked_bytes.load(Relaxed);
            progress.at(bytes);
            if from.is_none() && warm(bytes) {
                self.tally.measuring.store(true, Relaxed);
                self.drained.measuring.store(true, Relaxed);
                from = Some(self.moment()?);
            }
            if let Some(from) = &from {
                let second = from.at.elapsed().as_secs() as usize;
                per_second.resize(second + 1, bytes);
                per_second[second] = bytes;
            }
            if done || draining.iter().any(ScopedJoinHandle::is_finished) {
                return Ok((from, per_second));
            }
            if bytes != last_bytes {
                (last_bytes, last_change) = (bytes, Instant::now());
            } else if last_change.elapsed() > STANDSTILL {
                let seconds = STANDSTILL.as_secs();
                return Err(Failure::new(format!("nothing was acknowledged for {seconds} s"))
                    .advice("The broker's log may say why."));
            }
            sleep(LOOK);
        }
    }

    /// Without acknowledgements only the log's end tells when everything has arrived.
    fn wait_for_log(&self, client: &mut Client, topic: &Topic, before: &BTreeMap<i32, i64>) -> Result<()> {
        let sent = self.tally.acked_records.load(Relaxed);
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let now = grown(before, &offsets(client, topic, LATEST)?);
            if now >= sent {
                return Ok(());
            }
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > STANDSTILL {
                return Err(Failure::new(format!("{sent} records were sent, {now} arrived in the log")));
            }
            sleep(LOOK);
        }
    }
}

fn join(threads: Running<'_>) -> Result<Histogram<u64>> {
    let mut all = new_histogram();
    for thread in threads {
        let part = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        all.add(part).expect("all histograms have the same bounds");
    }
    Ok(all)
}

fn offsets(client: &mut Client, topic: &Topic, question: i64) -> Result<BTreeMap<i32, i64>> {
    let ids: Vec<i32> = topic.partitions.iter().map(|p| p.index).collect();
    let found = client.list_offsets(&topic.name, &ids, |_| question)?;
    Ok(found.into_iter().map(|(partition, found)| (partition, found.offset)).collect())
}

fn grown(before: &BTreeMap<i32, i64>, after: &BTreeMap<i32, i64>) -> u64 {
    after.iter().map(|(p, end)| (end - before.get(p).copied().unwrap_or(0)).max(0) as u64).sum()
}

/// What was added in each whole second; the last one, which was cut short, is left out.
fn increments(from: u64, totals: &[u64]) -> Vec<u64> {
    let starts = std::iter::once(&from).chain(totals);
    let all: Vec<u64> = starts.zip(totals).map(|(a, b)| b.saturating_sub(*a)).collect();
    all[..all.len().saturating_sub(1)].to_vec()
}

/// The time between two requests of one connection.
fn interval(load: &Load, slots: &[(i32, super::template::Template)], per_request: usize) -> Option<Duration> {
    let mean = slots.iter().map(|(_, t)| t.len()).sum::<usize>() as f64 / slots.len() as f64;
    let requests_per_second = match load.pace {
        Pace::Full => return None,
        Pace::Bytes(rate) => rate as f64 / (mean * per_request as f64),
        Pace::Records(rate) => rate / per_request as f64,
    };
    Some(Duration::from_secs_f64(load.connections as f64 / requests_per_second))
}

fn goal_bytes(load: &Load) -> u64 {
    match (load.warmup, load.measured) {
        (Extent::Bytes(warmup), Extent::Bytes(measured)) => warmup.saturating_add(measured),
        _ => u64::MAX,
    }
}

fn goal_time(load: &Load, began: Instant) -> Option<Instant> {
    match (load.warmup, load.measured) {
        (_, Extent::Bytes(_)) => None,
        (Extent::Time(warmup), Extent::Time(measured)) => Some(began + warmup + measured),
        (Extent::Bytes(_), Extent::Time(measured)) => Some(began + measured),
    }
}

fn clean_up(client: &mut Client, topic: &Topic, delete: bool) -> Result<()> {
    if delete {
        super::super::topic::delete_topic(client, &topic.name).map_err(Failure::from)
    } else {
        Ok(())
    }
}

/// Runs consumers over what a topic holds.
pub fn consume(args: &ConsumeArgs, global: &Global) -> Result<()> {
    at_least_one(args.consumers, "consumers")?;
    let watched = Watched::new(args.target.broker_pid)?;
    let mut client = Client::connect(global)?;
    let topic = setup::topic(&mut client, &args.target)?;
    let begin = offsets(&mut client, &topic, EARLIEST)?;
    let end = offsets(&mut client, &topic, LATEST)?;
    if begin == end {
        return Err(Failure::new(format!("topic {} holds nothing to read", topic.name))
            .advice("'ottla bench produce' fills it."));
    }
    let consumers = setup::consumers(&mut client, &topic, args.consumers)?;
    let count = consumers.len();
    let (drained, unused) = (Drained::default(), AtomicBool::new(false));
    let moment = || watched.moment(&drained.bytes, &drained.records, &drained.fetches);
    let from = moment()?;
    scope(|threads| {
        let _stop = StopAll(&drained.stop, &unused);
        let mut draining = Vec::new();
        for (stream, version, partitions) in consumers {
            let part = |of: &BTreeMap<i32, i64>| partitions.iter().map(|p| (*p, of[p])).collect();
            let form = setup::fetch_form(&args.fetching, version, None);
            let drain = Drain::new(stream, form, &topic, part(&begin), Some(part(&end)), &drained, from.at)?;
            draining.push(threads.spawn(|| drain.run()));
        }
        let mut progress = Progress::new(global.style(), Unit::Bytes, None);
        while !draining.iter().all(ScopedJoinHandle::is_finished) {
            progress.at(drained.bytes.load(Relaxed));
            sleep(LOOK);
        }
        join(draining)
    })?;
    let to = moment()?;
    let window = report::Window::new(to.at.duration_since(from.at), to.bytes, to.records, to.requests);
    let (bench, broker) = watched.cost(&from, &to, &window)?;
    report::show_consumed(&topic, count, &window, &bench, broker.as_ref(), args.fetching.check_crc, global)?;
    clean_up(&mut client, &topic, args.target.delete)
}
