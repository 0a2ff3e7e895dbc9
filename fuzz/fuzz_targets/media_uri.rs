//! See `lockgate::fuzzing::media_uri`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::media_uri(input));
