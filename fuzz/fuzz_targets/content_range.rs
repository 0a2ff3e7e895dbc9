//! See `lockgate::fuzzing::content_range`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::content_range(input));
