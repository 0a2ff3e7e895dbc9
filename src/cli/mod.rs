//! The command line: one file a verb.

pub mod demo;
pub mod serve;
pub mod token;
