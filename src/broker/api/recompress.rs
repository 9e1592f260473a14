//! Batches whose topic wants another compression than their producer chose, or wants each record to have a key.
//!
//! With `compression.type=producer`, the default, a batch costs one look at the topic's settings. Any other batch is
//! made anew on the core of the connection before it is ordered, one batch of a core at a time and in small steps,
//! between which other tasks run. What is made has a share of memory of its own, which a request takes at once for
//! all its batches and keeps until it is answered.

use std::cell::RefCell;

use bytes::Bytes;

use super::places::Place;
use crate::broker::core::{Core, Memory};
use crate::config::topic::{CompressionType, compression_type};
use crate::config::{Overrides, TopicConfig};
use crate::controller::{Image, Topic};
use crate::limits::RECOMPRESSED_BYTES;
use crate::reactor::sync::{Permit, Semaphore};
use crate::wire::batch::{Batch, BatchError, Compression, Recompressor};
use crate::wire::error::ErrorCode;

/// What a core has for this work.
pub struct Workbench {
    /// For what was made and is not answered yet.
    memory: Memory,
    /// One at a time, for the codecs need memory too.
    turn: Semaphore,
    /// What topics have that do not say, by the image of this version.
    default: RefCell<(i64, Defaults)>,
}

/// What topics have that do not say.
#[derive(Clone, Copy)]
struct Defaults {
    compression: CompressionType,
    compact: bool,
}

impl Workbench {
    /// An idle one.
    pub fn new() -> Workbench {
        Workbench {
            memory: Memory::new(RECOMPRESSED_BYTES),
            turn: Semaphore::new(1),
            default: RefCell::new((
                i64::MIN,
                Defaults { compression: CompressionType::Producer, compact: false },
            )),
        }
    }
}

/// A batch that is to be made anew.
pub struct Job {
    /// Where its answer stands in the request.
    pub answer: usize,
    /// Where its partition is.
    pub place: Place,
    batch: Bytes,
    /// The other compression, and its level; none where the records are only looked at.
    to: Option<(Compression, i32)>,
    /// Whether each record must have a key.
    keys: bool,
    max_bytes: usize,
}

impl Job {
    /// The work that a batch needs, or the batch where it needs none.
    pub fn find(core: &Core, image: &Image, topic: &Topic, place: Place, batch: Bytes) -> Result<Job, Bytes> {
        let wanted = match topic.configs.get("compression.type") {
            Some(text) => compression_type(text.trim()),
            None => defaults(core, image).compression,
        };
        let keys = match topic.configs.get("cleanup.policy") {
            Some(policy) => policy.split(',').any(|policy| policy.trim() == "compact"),
            None => defaults(core, image).compact,
        };
        let to = match wanted {
            CompressionType::Producer => None,
            CompressionType::Uncompressed => Some(Compression::None),
            CompressionType::Gzip => Some(Compression::Gzip),
            CompressionType::Snappy => Some(Compression::Snappy),
            CompressionType::Lz4 => Some(Compression::Lz4),
            CompressionType::Zstd => Some(Compression::Zstd),
        };
        let to = to.filter(|to| !Batch::first(&batch).is_ok_and(|batch| batch.compression() == Ok(*to)));
        if to.is_none() && !keys {
            return Err(batch);
        }
        let layers = image.broker_layers(core.settings.node_id, &core.config.layers);
        let replicas = topic.partitions.get(&0).map_or(1, |partition| partition.replicas.len());
        let config = TopicConfig::resolve(&topic.configs, &layers, replicas);
        let to = to.map(|to| match to {
            Compression::Gzip => (to, config.compression_gzip_level),
            Compression::Lz4 => (to, config.compression_lz4_level),
            Compression::Zstd => (to, config.compression_zstd_level),
            _ => (to, 0),
        });
        Ok(Job { answer: 0, place, batch, to, keys, max_bytes: config.max_message_bytes as usize })
    }

    /// The same, for a batch whose answer stands there in the request.
    pub fn answered_at(self, answer: usize) -> Job {
        Job { answer, ..self }
    }

    /// About how much the result takes; it may be more.
    fn estimate(&self) -> usize {
        if self.to.is_none() {
            return 0;
        }
        let is_plain = Batch::first(&self.batch).is_ok_and(|b| b.compression() == Ok(Compression::None));
        let grown = if is_plain { self.batch.len() + 1024 } else { self.batch.len().saturating_mul(4) };
        grown.min(self.max_bytes)
    }
}

fn defaults(core: &Core, image: &Image) -> Defaults {
    let mut known = core.recompress.default.borrow_mut();
    if known.0 != image.version() {
        let layers = image.broker_layers(core.settings.node_id, &core.config.layers);
        let config = TopicConfig::resolve(&Overrides::new(), &layers, 1);
        let (compression, compact) = (config.compression_type, config.cleanup_policy.compact);
        *known = (image.version(), Defaults { compression, compact });
    }
    known.1
}

/// Does all work of a request, in order. `done` is told what became of each batch. What is made keeps the memory
/// that is given back.
pub async fn work(
    core: &Core,
    jobs: Vec<Job>,
    mut done: impl FnMut(usize, Place, Result<Bytes, (ErrorCode, String)>),
) -> Vec<Permit> {
    let bench = &core.recompress;
    let wanted: usize = jobs.iter().map(Job::estimate).fold(0, usize::saturating_add);
    let mut held = vec![bench.memory.take(wanted.min(bench.memory.bytes())).await];
    let mut left = held[0].units();
    for job in jobs {
        let turn = bench.turn.acquire(1).await;
        let mut made = make(core, &job).await;
        drop(turn);
        if let (Ok(batch), Some(_)) = (&made, &job.to) {
            // Who holds some must not wait for more.
            let more = batch.len().saturating_sub(left);
            match bench.memory.try_take(more) {
                _ if more == 0 => left -= batch.len(),
                Some(permit) => {
                    held.push(permit);
                    left = 0;
                }
                None => {
                    let what = "too much is being compressed anew at this moment; try again";
                    made = Err((ErrorCode::REQUEST_TIMED_OUT, what.to_owned()));
                }
            }
        }
        done(job.answer, job.place, made);
    }
    held
}

async fn make(core: &Core, job: &Job) -> Result<Bytes, (ErrorCode, String)> {
    let limit = job.max_bytes.min(core.recompress.memory.bytes());
    if job.batch.len() > job.max_bytes {
        return Err(too_large(job.max_bytes));
    }
    let told = |error: BatchError| match error {
        BatchError::TooLarge { limit } => too_large(limit),
        error => (error.error_code(), error.to_string()),
    };
    let batch = Batch::first(&job.batch).map_err(told)?;
    let mut work = match job.to {
        Some((to, level)) => Recompressor::new(&batch, to, level, limit),
        None => Recompressor::looking(&batch),
    }
    .map_err(told)?;
    if job.keys {
        work = work.with_keys();
    }
    loop {
        if let Some(made) = work.step().map_err(told)? {
            return Ok(job.to.map_or_else(|| job.batch.clone(), |_| Bytes::from(made)));
        }
        core.reactor.yield_now().await;
    }
}

fn too_large(limit: usize) -> (ErrorCode, String) {
    let what =
        format!("the batch has more than {limit} bytes, or is to have in the topic's compression.type");
    (ErrorCode::MESSAGE_TOO_LARGE, what)
}
