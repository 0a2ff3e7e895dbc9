//! Lockgate: the streaming media gateway for data annotation.
//!
//! The plan of the house, in the order a request meets the rooms; `ARCHITECTURE.md` tells why.
//!
//! ```text
//! credentials ─authenticate▶ Annotator ─entitle▶ Entitlement ─authorize▶ Permit ─resolve▶ ResolvedObject
//!    ─ redirect: presign ▶ 303
//!    ─ proxy:    open ▶ ObjectMeta ─preconditions▶ 304/412 │ ─satisfy▶ ByteRange ─plan▶ chunks ─stream▶ body
//! ```

// Roof: builds the house, lives nowhere in it.
pub mod app;
pub mod cli;
pub mod config;

// 1, 7: listen, route, answer: the only floor that speaks HTTP to clients.
pub mod serve;

// 2: who is it.
pub mod auth;
// 3: what may they see.
pub mod access;
pub mod authority;
// 4: where is it.
pub mod resolve;
// 5: which bytes.
pub mod content;
// 6: cached, or fetched.
pub mod backend;
pub mod cache;

// Held to naive models, for tests and for fuzzing alone.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

// Ground: imports nothing above it.
pub mod ask;
pub mod ids;
pub mod located;
pub mod media_uri;
pub mod object;
pub mod project;
pub mod range;
pub mod secret;
pub mod signed;
pub mod telemetry;
