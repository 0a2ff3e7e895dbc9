//! See `lockgate::fuzzing::credentials`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::credentials(input));
