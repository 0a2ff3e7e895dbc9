//! See `lockgate::fuzzing::mentions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::mentions(input));
