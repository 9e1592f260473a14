//! The real side: glommio's executor on a pinned thread, and Ottla's own ring.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the side of the seam that calls the system"
)]

mod clock;
mod core;
mod disk;
mod examine;
mod file;
mod net;
mod operation;
mod ring;
mod start;

pub use self::core::Core;
pub use self::disk::Disk;
pub use self::file::File;
pub use self::net::{Accepted, Listener, Receiver, Sender};
pub use self::start::run;

#[cfg(test)]
mod tests;
