//! The real side: a pinned thread for each core, and on it one loop around one io_uring.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the side of the seam that calls the system"
)]

mod beside;
mod check;
mod clock;
mod core;
mod disk;
mod examine;
mod executor;
mod file;
mod lock;
mod net;
mod operation;
mod ring;
mod scheduler;
mod start;

pub use self::check::{HostReport, check};
pub use self::core::Core;
pub use self::disk::Disk;
pub use self::file::File;
pub use self::net::{Accepted, Listener, Receiver, Sender, accepted};
pub use self::start::run;

#[cfg(test)]
mod tests;
