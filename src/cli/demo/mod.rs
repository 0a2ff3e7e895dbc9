//! `lockgate demo`.

pub mod s3;
