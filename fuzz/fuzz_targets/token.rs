//! See `lockgate::fuzzing::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::token(input));
