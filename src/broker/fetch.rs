//! Fetch on its shard: from memory at once, from files in a task of their own class.

use std::rc::Rc;

use bytes::Bytes;

use super::aborted::end_offset;
use super::call::Responder;
use super::messages::{FetchCall, FetchPart, FetchPartReply, ShardReply};
use super::read_cache::SegmentFiles;
use super::replica::Replica;
use super::segment_read::ReadError;
use super::shard::Shard;
use crate::log::aborted::Aborted;
use crate::log::index::{self, Landing};
use crate::log::segment::{self, Kind};
use crate::log::walk::Walk;
use crate::log::{FilePlan, Log, ReadPlan};
use crate::partition::Partition;
use crate::reactor::{ChunkSlice, Class, Share};
use crate::wire::error::ErrorCode;

/// A part that is answered, or what is to be read for it.
enum Step {
    Answered(FetchPartReply),
    Read(FileRead),
    /// It is answered, but for the aborted transactions, of which files tell.
    Untold(Untold),
}

/// Records from memory, and where they begin.
struct Untold {
    replica: Rc<Replica>,
    files: SegmentFiles,
    offset: i64,
    reply: FetchPartReply,
}

/// A read of a file, as an owned plan.
struct FileRead {
    replica: Rc<Replica>,
    offset: i64,
    max_bytes: u64,
    read_committed: bool,
    plan: FilePlan,
    /// The files that the plan is of.
    version: u32,
    reply: FetchPartReply,
}

/// How often a read begins anew because compaction has exchanged the files meanwhile.
const EXCHANGES: usize = 20;

impl FileRead {
    /// The most that it can give.
    fn most(&self) -> u64 {
        let from = self.plan.landing.map_or(0, |landing| landing.position);
        self.max_bytes.min(self.plan.extent.end - from)
    }

    fn files(&self) -> SegmentFiles {
        SegmentFiles { id: self.replica.id, base: self.plan.segment, version: self.version }
    }
}

impl Shard {
    /// Answers a fetch with what is there.
    pub(super) fn fetch(self: &Rc<Shard>, call: FetchCall, responder: Responder) {
        let mut left = call.max_bytes;
        let mut found_any = false;
        let mut steps = Vec::with_capacity(call.parts.len());
        let mut reads = false;
        for part in &call.parts {
            // The first batch found is given whatever its size; after that, only what the limit leaves.
            let room = if found_any { left.min(part.max_bytes) } else { part.max_bytes.min(left.max(1)) };
            let step = self.fetch_part(part, room, found_any, call.read_committed);
            match &step {
                Step::Answered(reply) => {
                    left = left.saturating_sub(reply.len());
                    found_any |= !reply.is_empty();
                }
                Step::Untold(Untold { reply, .. }) => {
                    left = left.saturating_sub(reply.len());
                    found_any = true;
                    reads = true;
                }
                Step::Read(read) => {
                    left = left.saturating_sub(read.most() as usize);
                    found_any = true;
                    reads = true;
                }
            }
            steps.push(step);
        }
        if reads {
            let shard = self.clone();
            self.reactor.spawn(Class::Fetch, async move {
                let mut replies = Vec::with_capacity(steps.len());
                for step in steps {
                    replies.push(match step {
                        Step::Answered(reply) => reply,
                        Step::Read(read) => shard.read_file(read).await,
                        Step::Untold(untold) => shard.tell_aborted(untold).await,
                    });
                }
                responder.answer(ShardReply::Fetch(replies));
            });
            return;
        }
        let answered = steps.into_iter().filter_map(|step| match step {
            Step::Answered(reply) => Some(reply),
            Step::Read(_) | Step::Untold(_) => None,
        });
        responder.answer(ShardReply::Fetch(answered.collect()));
    }

    fn fetch_part(&self, part: &FetchPart, room: usize, found_any: bool, read_committed: bool) -> Step {
        let replica = match self.serving(part.id) {
            Ok(replica) => replica,
            Err(error) => return Step::Answered(FetchPartReply::failed(error)),
        };
        let step = replica.online(|online| {
            let partition = &online.partition;
            if let Err(error) = partition.check_epoch(part.current_leader_epoch) {
                return Step::Answered(FetchPartReply::failed(error));
            }
            let diverging = match partition.diverges(part.last_fetched_epoch, part.offset) {
                Ok(diverging) => diverging,
                Err(error) => return Step::Answered(FetchPartReply::failed(error)),
            };
            let reply = FetchPartReply {
                error: ErrorCode::NONE,
                high_watermark: partition.high_watermark(),
                last_stable_offset: partition.last_stable_offset(),
                log_start_offset: partition.log.start_offset(),
                diverging,
                records: Vec::new(),
                aborted: Vec::new(),
                more: false,
            };
            if reply.diverging.is_some() {
                return Step::Answered(reply);
            }
            self.plan_read(&replica, partition, part.offset, room as u64, read_committed, found_any, reply)
        });
        step.unwrap_or_else(|| Step::Answered(FetchPartReply::failed(ErrorCode::NOT_LEADER_OR_FOLLOWER)))
    }

    /// What is in memory, or what is to be read.
    #[expect(clippy::too_many_arguments, reason = "what a fetch asks, and what is known of it so far")]
    fn plan_read(
        &self,
        replica: &Rc<Replica>,
        partition: &Partition,
        offset: i64,
        max_bytes: u64,
        read_committed: bool,
        found_any: bool,
        mut reply: FetchPartReply,
    ) -> Step {
        let plan = match partition.read_plan(offset, read_committed, max_bytes) {
            ReadPlan::OutOfRange => {
                let failed = FetchPartReply::failed(ErrorCode::OFFSET_OUT_OF_RANGE);
                let (high_watermark, log_start_offset) = (reply.high_watermark, reply.log_start_offset);
                return Step::Answered(FetchPartReply { high_watermark, log_start_offset, ..failed });
            }
            ReadPlan::AtEnd => return Step::Answered(reply),
            _ if found_any && max_bytes == 0 => {
                reply.more = true;
                return Step::Answered(reply);
            }
            ReadPlan::Memory(slices) => {
                reply.records = slices.into_iter().map(ChunkSlice::into_bytes).collect();
                if read_committed {
                    let limit = end_offset(&reply.records).unwrap_or(offset + 1);
                    match partition.aborted_between(offset, limit) {
                        Ok(aborted) => reply.aborted = aborted,
                        // A segment behind that is finished already.
                        Err(_) => {
                            let before = partition.log.segments().rfind(|s| s.base_offset <= offset);
                            let base = before.map_or(0, |segment| segment.base_offset);
                            let files =
                                SegmentFiles { id: replica.id, base, version: replica.files.version() };
                            return Step::Untold(Untold { replica: replica.clone(), files, offset, reply });
                        }
                    }
                }
                return Step::Answered(reply);
            }
            ReadPlan::File(plan) => plan,
        };
        if let Some(landing) = plan.landing {
            self.missed_in_memory(&partition.log, plan.segment, landing.position, max_bytes);
        }
        let (replica, version) = (replica.clone(), replica.files.version());
        Step::Read(FileRead { replica, offset, max_bytes, read_committed, plan, version, reply })
    }

    /// The same for a read whose files were exchanged, or whose segment ends before its offset.
    fn plan_again(&self, read: FileRead, offset: i64) -> Step {
        let FileRead { replica, max_bytes, read_committed, reply, .. } = read;
        let step = replica.online(|online| {
            self.plan_read(&replica, &online.partition, offset, max_bytes, read_committed, false, reply)
        });
        step.unwrap_or_else(|| Step::Answered(FetchPartReply::failed(ErrorCode::NOT_LEADER_OR_FOLLOWER)))
    }

    /// Notes a read that the memory of the tails could not serve.
    fn missed_in_memory(&self, log: &Log, segment: i64, position: u64, bytes: u64) {
        let kept = log.in_memory();
        if segment != log.active().base_offset {
            return;
        }
        // What this partition has of the tails' memory is what it would have of more.
        let all = self.reactor.pool().used(Share::Tail) as u64;
        let depth = (kept.end - position).saturating_mul(all) / (kept.end - kept.start).max(1);
        self.tail_memory.missed(bytes.min(kept.start.saturating_sub(position)) as usize, depth);
    }

    /// Reads a part from its file.
    async fn read_file(self: &Rc<Shard>, mut read: FileRead) -> FetchPartReply {
        for _ in 0..EXCHANGES {
            let found = match self.read_records(&read).await {
                Ok(records) => self.with_aborted(&read, records).await,
                Err(error) => Err(error),
            };
            let offset = match found {
                found if !read.replica.files.is(read.version) => {
                    drop(found);
                    read.replica.files.settled().await;
                    read.offset
                }
                // Compaction has left nothing behind the offset in this segment.
                Ok((records, _)) if records.is_empty() => match self.segment_behind(&read) {
                    Some(next) => next,
                    None => return read.reply,
                },
                Ok((records, aborted)) => return FetchPartReply { records, aborted, ..read.reply },
                // Retention may have taken the segment while it was being read.
                Err(_) if self.is_gone(&read) => {
                    return FetchPartReply::failed(ErrorCode::OFFSET_OUT_OF_RANGE);
                }
                Err(error) => {
                    let code = self.read_failed(&read.replica, Some(read.plan.segment), &error);
                    return FetchPartReply::failed(code);
                }
            };
            read = match self.plan_again(read, offset) {
                Step::Answered(reply) => return reply,
                Step::Untold(untold) => return self.tell_aborted(untold).await,
                Step::Read(read) => read,
            };
        }
        // The client asks again.
        read.reply
    }

    /// The same for records that were in memory.
    async fn tell_aborted(&self, untold: Untold) -> FetchPartReply {
        let Untold { replica, files, offset, reply } = untold;
        match self.aborted_among(&replica, files, offset, &reply.records).await {
            Ok(aborted) => FetchPartReply { aborted, ..reply },
            Err(error) => FetchPartReply::failed(self.read_failed(&replica, Some(files.base), &error.into())),
        }
    }

    /// What was read, and what a reader of committed records is to be told of it.
    async fn with_aborted(
        &self,
        read: &FileRead,
        records: Vec<Bytes>,
    ) -> Result<(Vec<Bytes>, Vec<Aborted>), ReadError> {
        if !read.read_committed || records.is_empty() {
            return Ok((records, Vec::new()));
        }
        let aborted = self.aborted_among(&read.replica, read.files(), read.offset, &records).await?;
        Ok((records, aborted))
    }

    /// The base offset of the segment behind the one that is read.
    fn segment_behind(&self, read: &FileRead) -> Option<i64> {
        let behind = |online: &mut super::replica::Online| {
            online.partition.log.segments().map(|s| s.base_offset).find(|base| *base > read.plan.segment)
        };
        read.replica.online(behind).flatten()
    }

    fn is_gone(&self, read: &FileRead) -> bool {
        read.replica.gone.get()
            || read.replica.online(|online| online.partition.log.segment(read.plan.segment).is_none())
                == Some(true)
    }

    async fn read_records(self: &Rc<Shard>, read: &FileRead) -> Result<Vec<Bytes>, ReadError> {
        let found = self.read_from(read, &self.landing(read).await?).await;
        match found {
            // Whether it was the index that led there is found by reading all.
            Err(ReadError::Rot(..))
                if self.index_again(&read.replica, read.files(), read.plan.extent).await? =>
            {
                self.read_from(read, &self.landing(read).await?).await
            }
            found => found,
        }
    }

    /// Where the segment's index says to begin: the one in memory, or a finished segment's.
    async fn landing(&self, read: &FileRead) -> std::io::Result<Landing> {
        let base = read.plan.segment;
        let in_memory = read.replica.online(|online| online.partition.log.landing(base, read.offset));
        if let Some(landing) = in_memory.flatten() {
            return Ok(landing);
        }
        let path = segment::file(&read.replica.dir, base, Kind::Index);
        let entries = self.cache.index(read.files(), &path).await?;
        Ok(index::landing(&entries, base, read.offset))
    }

    async fn read_from(
        self: &Rc<Shard>,
        read: &FileRead,
        landing: &Landing,
    ) -> Result<Vec<Bytes>, ReadError> {
        let scan = self.scan(&read.replica, read.files(), read.plan.extent).await?;
        let mut walk = Walk::new(landing, read.plan.extent);
        if !scan.find(&mut walk, read.offset).await? {
            return Ok(Vec::new());
        }
        let records = scan.take(&mut walk, read.plan.limit, read.max_bytes).await?;
        scan.read_ahead(walk.position());
        Ok(records)
    }
}
