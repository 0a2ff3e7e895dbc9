//! What is recorded: every metric's name, unit and labels in one table; the access log; the audit log; the process's
//! own log; the trace that a request belongs to.
//!
//! Ground: imports no room. No user and no object in a label; no token, signature or cookie in a line.

pub mod access_log;
pub mod audit_log;
mod labels;
pub mod logging;
mod metric_table;
pub mod metrics;
mod record;
mod rotating;
pub mod stripes;
mod trace;

pub use access_log::{AccessLog, AccessLogError, Destination};
pub use audit_log::{AuditConfig, AuditLog, AuditLogError, Deed};
pub use labels::{Abort, CacheResult, Method, Operation, Outcome, Reason, Route, Tier};
pub use metrics::Metrics;
pub use record::Record;
pub use trace::{TraceContext, TraceId};
