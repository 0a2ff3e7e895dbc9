//! What this room's shared state is made of. `tests/shuttled.rs` puts other primitives in their place, under which
//! every order of events can be tried.

pub use std::sync::atomic::{AtomicUsize, Ordering};
pub use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

pub use tokio::sync::Notify;
