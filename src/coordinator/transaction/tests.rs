//! Tests of the whole room: each rule of transactions, and random histories from seeds.

mod desk;
mod ends;
mod model;
mod producers;
mod records;
mod upkeep;
