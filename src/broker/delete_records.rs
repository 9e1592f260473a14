//! Records are deleted from a log's beginning: where it starts is on the disk before anybody is told.

use std::io;
use std::rc::Rc;

use super::boot::LOG_STARTS;
use super::call::Responder;
use super::messages::{DeleteRecordsPart, ShardReply};
use super::replica::Replica;
use super::shard::Shard;
use crate::log::checkpoint;
use crate::reactor::Class;
use crate::reactor::sync::completion;
use crate::wire::error::ErrorCode;

impl Shard {
    /// Deletes the records before each of these offsets, a few partitions at a time.
    pub(super) fn delete_records(self: &Rc<Shard>, parts: Vec<DeleteRecordsPart>, responder: Responder) {
        let shard = self.clone();
        self.reactor.spawn(Class::Request, async move {
            let mut answers = Vec::with_capacity(parts.len());
            for part in parts {
                let permit = match shard.replica(part.id) {
                    Some(replica) => Some(replica.volume.upkeep.acquire(1).await),
                    None => None,
                };
                let (completer, answer) = completion();
                let working = shard.clone();
                shard.reactor.spawn(Class::Request, async move {
                    completer.complete(working.delete_before(part).await);
                    drop(permit);
                });
                answers.push(answer);
            }
            let mut replies = Vec::with_capacity(answers.len());
            for answer in answers {
                replies.push(answer.await);
            }
            responder.answer(ShardReply::DeleteRecords(replies));
        });
    }

    /// Gives where the log starts now.
    async fn delete_before(&self, part: DeleteRecordsPart) -> Result<i64, ErrorCode> {
        let replica = self.serving(part.id)?;
        let _turn = replica.start_turn.acquire(1).await;
        let gone = || replica.refusal().unwrap_or(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        if self.is_stopping() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let start = replica.online(|online| {
            let wanted = online.partition.deletion(part.before)?;
            Ok(wanted.max(online.partition.log.start_offset()))
        });
        let start = start.unwrap_or_else(|| Err(gone()))?;
        if start > replica.start_written.get() {
            self.write_start(&replica, start).await?;
            replica.start_written.set(start);
        }
        let moved = replica.online(|online| {
            online.partition.log.start_at(start);
            online.check_retention |= online.has_older_segments();
        });
        moved.ok_or_else(gone)?;
        tracing::debug!("{}: the records before offset {start} are deleted", replica.name());
        Ok(start)
    }

    async fn write_start(&self, replica: &Replica, offset: i64) -> Result<(), ErrorCode> {
        let path = replica.dir.join(LOG_STARTS);
        match replica.log_dir().disk.replace(&path, checkpoint::encode_start(offset)).await {
            Ok(()) => Ok(()),
            Err(error) if replica.is_missed(&error) => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            // What is on the disk is as it was.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(ErrorCode::KAFKA_STORAGE_ERROR),
            Err(error) => {
                let what = format!("{}: its start could not be written", replica.name());
                self.fail(&replica.volume, &what, &error);
                Err(ErrorCode::KAFKA_STORAGE_ERROR)
            }
        }
    }
}
