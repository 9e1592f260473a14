//! Commands become records, records become an image.
//!
//! Pure code. A command looks at the newest [`Image`] and answers with what to reply and with the records that
//! make it so; [`Image::apply`] is the only way in which an image changes, so that loading a log and running are
//! the same code. The records are Kafka's own, from [`crate::wire::metadata_record`].
//!
//! - [`image`]: what every core needs to know, immutable and versioned.
//! - [`apply`]: a record's effect on an image.
//! - [`snapshot`]: from an image back to records.
//! - [`topics`], [`partitions`], [`configs`], [`brokers`], [`directories`]: the commands.
//! - [`names`], [`placement`], [`features`]: what they go by.
//! - [`tree`]: the map that images are made of.

pub mod apply;
pub mod brokers;
pub mod configs;
pub mod directories;
pub mod features;
pub mod image;
pub mod names;
pub mod partitions;
pub mod placement;
pub mod snapshot;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod topics;
pub mod tree;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

pub use apply::ApplyError;
pub use brokers::Registration;
pub use image::{Broker, Change, Image, Partition, Topic};

use crate::config::{BrokerConfig, Layers};
use crate::wire::error::ErrorCode;
use crate::wire::metadata_record::MetadataRecord;
use crate::wire::uuid::Uuid;

/// What a command gives: the reply, which may be sent once the records are committed, and the records. Where there
/// are none, the reply still waits for what the command saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// To whom it asked.
    pub reply: T,
    /// To the metadata log.
    pub records: Vec<MetadataRecord>,
}

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the client.
    pub error: ErrorCode,
    /// For a person.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }
}

/// Records for the metadata log, which they enter as one batch or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The offset of the first of them.
    pub offset: i64,
    /// At least one.
    pub records: Vec<MetadataRecord>,
}

impl Proposal {
    /// The offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.offset + self.records.len() as i64 - 1
    }
}

/// The state machine of the cluster's metadata on one node. It lives on the core that owns the metadata log.
///
/// Commands judge by the newest image, in which proposals count at once; everyone else is shown the committed one.
pub struct Controller {
    defaults: Defaults,
    newest: Arc<Image>,
    committed: Arc<Image>,
    /// Proposals that are not committed, oldest first, with the image after each.
    in_flight: VecDeque<(Proposal, Arc<Image>)>,
    /// Log directories in which there is no room for new partitions.
    full: BTreeSet<Uuid>,
}

/// What a topic is given where a request does not say.
#[derive(Clone, Debug)]
struct Defaults {
    file: Layers,
    node_id: i32,
    num_partitions: i32,
    replication_factor: i16,
    delete_topics: bool,
}

impl Controller {
    /// A controller that has loaded this image.
    pub fn new(config: &BrokerConfig, image: Arc<Image>) -> Controller {
        let defaults = Defaults {
            file: config.layers.clone(),
            node_id: config.node_id,
            num_partitions: config.num_partitions,
            replication_factor: config.default_replication_factor,
            delete_topics: config.delete_topics,
        };
        let (in_flight, full) = (VecDeque::new(), BTreeSet::new());
        Controller { defaults, newest: image.clone(), committed: image, in_flight, full }
    }

    /// Tells in which log directories there is no room: new partitions go to others, where there are others.
    pub fn set_full(&mut self, full: BTreeSet<Uuid>) {
        self.full = full;
    }

    /// The image by which commands judge: with everything that was proposed.
    pub fn image(&self) -> &Arc<Image> {
        &self.newest
    }

    /// The image that brokers go by: nothing in it can be lost.
    pub fn committed(&self) -> &Arc<Image> {
        &self.committed
    }

    /// Takes a command's records: they count for the next command, and are to be appended to the metadata log, in
    /// which the first will have `offset`. None where there are no records.
    pub fn propose(
        &mut self,
        records: Vec<MetadataRecord>,
        offset: i64,
    ) -> Result<Option<Proposal>, ApplyError> {
        if records.is_empty() {
            return Ok(None);
        }
        let image = Arc::new(self.newest.apply(&records, offset)?);
        let proposal = Proposal { offset, records };
        self.in_flight.push_back((proposal.clone(), image.clone()));
        self.newest = image;
        Ok(Some(proposal))
    }

    /// The metadata log has committed these records, of which the first has `offset`: one whole batch, proposed
    /// here or by another node. What was proposed here and is not what was committed is undone.
    pub fn applied(&mut self, offset: i64, records: &[MetadataRecord]) -> Result<&Arc<Image>, ApplyError> {
        match self.in_flight.pop_front() {
            Some((proposal, image)) if proposal.offset == offset && proposal.records == records => {
                self.committed = image;
            }
            _ => {
                self.committed = Arc::new(self.committed.apply(records, offset)?);
                self.abandon();
            }
        }
        Ok(&self.committed)
    }

    /// Undoes everything that was proposed and is not committed: the log refused it, or another node leads now.
    pub fn abandon(&mut self) {
        self.in_flight.clear();
        self.newest = self.committed.clone();
    }

    /// How many proposals are not committed.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// What this node's settings give topics that do not say.
    fn layers(&self) -> Layers {
        self.newest.broker_layers(self.defaults.node_id, &self.defaults.file)
    }
}
