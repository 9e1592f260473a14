//! Commands one by one, and random sequences of them from seeds.

mod commands;
mod sequences;
