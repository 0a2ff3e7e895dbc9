//! See `lockgate::fuzzing::cache_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::cache_record(input));
