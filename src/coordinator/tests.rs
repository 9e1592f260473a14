//! Tests of the whole room: the runtime, each rule of groups and offsets, and random histories from seeds.

mod bench;
mod consumers;
mod durable;
mod groups;
mod members;
mod mixed;
mod model;
mod offsets;
mod runtime;
mod topics;
