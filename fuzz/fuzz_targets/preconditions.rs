//! See `lockgate::fuzzing::preconditions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::preconditions(input));
