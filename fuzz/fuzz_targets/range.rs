//! See `lockgate::fuzzing::range`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::range(input));
