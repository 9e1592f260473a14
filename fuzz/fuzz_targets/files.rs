#![no_main]

#[allow(dead_code)]
#[path = "../../tests/corpus/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::files::run(bytes));
