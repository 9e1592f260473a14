//! Streams, cuts and crashes.
