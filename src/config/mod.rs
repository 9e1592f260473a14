//! The broker's file, the settings of topics, and the per-core profiles.
//!
//! Pure code: text in, values or a message for a person out. Who reads the files is the command that starts.
//!
//! - [`settings`]: the one table of topic and broker settings.
//! - [`value`]: a value's text against its row of the table.
//! - [`layers`]: where a broker setting's value comes from: changed at run time, the file, or the default.
//! - [`topic`]: what a partition's log goes by.
//! - [`broker`]: what a node goes by, from a `server.properties`.
//! - [`profile`]: what each core does and how, from a file of `tuning/`.
//! - [`resources`]: what single groups and subscriptions to clients' metrics go by.
//! - [`describe`]: the rows of DescribeConfigs.

pub mod broker;
pub mod describe;
pub mod layers;
pub mod listeners;
pub mod nearest;
pub mod profile;
pub mod properties;
pub mod resources;
pub mod settings;
pub mod topic;
pub mod value;

pub use broker::BrokerConfig;
pub use layers::{Layers, Overrides};
pub use profile::Profile;
pub use topic::TopicConfig;
