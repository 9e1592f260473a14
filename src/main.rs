//! Reads the command line and calls one command.

fn main() {}
