//! Who is it, where Label Studio knows: its session cookie as Django reads it, and sessions that have ended.
//!
//! Verifies nothing, for only Label Studio has the key: a cookie becomes somebody by being shown to it. Keeps no cookie
//! in clear.

pub mod cookie;
pub mod sessions;

pub use sessions::{SessionKey, Sessions};
