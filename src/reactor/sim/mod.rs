//! The simulated twin: any number of nodes and cores in one thread, from a seed, in virtual time.
//!
//! A [`World`] holds nodes. Each has a disk that outlives its processes and knows what is durable, and an
//! address on a network that delays and can be cut. What runs on a node is the product's own code, on a
//! [`Core`] for each of its cores. The world chooses by the seed who runs next among all tasks that are ready,
//! moves time only when none is, and keeps a trace: the same seed gives the same trace in any two processes.
//!
//! A failure names its seed. To see it again, run the same workload with that seed, and with
//! [`Options::trace_lines`] set to see what led to it.
//!
//! ```
//! use std::time::Duration;
//! use ottla::reactor::sim::{Options, World};
//!
//! let world = World::new(7, Options::default());
//! let client = world.add_client();
//! let sleeper = client.clone();
//! world.run(&client, Duration::from_secs(2), async move {
//!     sleeper.sleep(Duration::from_secs(1)).await;
//! });
//! assert!(world.now().0 >= 1_000_000_000);
//! ```

mod core;
mod disk;
mod events;
mod executor;
mod handle;
mod network;
mod options;
mod rng;
mod trace;
mod world;

pub use self::core::Core;
pub use disk::control::{DiskControl, Flip, IoKind, View};
pub use disk::{Disk, File};
pub use handle::{Handle, Remains};
pub use network::face::{Accepted, Listener, Receiver, Sender};
pub use options::{Delay, DiskOptions, NetworkOptions, Options, ScheduleOptions};
pub use rng::Rng;
pub use trace::Trace;
pub use world::{CrashKind, NodeId, World};

#[cfg(test)]
mod tests;
