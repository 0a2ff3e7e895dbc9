//! See `lockgate::fuzzing::token_claims`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lockgate::fuzzing::token_claims(input));
