//! Commands become records, records become an image.
//!
//! Pure code. A command looks at the newest [`Image`] and answers with what to reply and with the records that
//! make it so; [`Image::apply`] is the only way in which an image changes, so that loading a log and running are
//! the same code. The records are Kafka's own, from [`crate::wire::metadata_record`].
//!
//! - [`image`]: what every core needs to know, immutable and versioned.
//! - [`apply`]: a record's effect on an image.
//! - [`tree`]: the map that images are made of.

pub mod apply;
pub mod image;
#[cfg(test)]
mod testing;
pub mod tree;

pub use apply::ApplyError;
pub use image::{Broker, Change, Image, Partition, Topic};
