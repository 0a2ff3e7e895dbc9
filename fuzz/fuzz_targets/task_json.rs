//! See `lockgate::fuzzing::task_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::task_json(input));
