//! What is recorded: every metric's name, unit and labels in one table; the access log; the audit log; the process's
//! own log; the trace that a request belongs to; what a person who looks is shown of it.
//!
//! Ground: imports no room. No user and no object in a label; no token, signature or cookie in a line.

pub mod access_log;
pub mod audit_log;
pub mod denials;
mod labels;
pub mod logging;
mod metric_table;
pub mod metrics;
pub mod otlp;
mod record;
mod rotating;
pub mod samples;
pub mod spans;
pub mod stripes;
mod trace;

pub use access_log::{AccessLog, AccessLogError, Destination};
pub use audit_log::{AuditConfig, AuditLog, AuditLogError, Deed};
pub use denials::Denials;
pub use labels::{Abort, CacheResult, Hedging, Method, Operation, Outcome, Reason, Route, Tier};
pub use metrics::Metrics;
pub use otlp::OtlpConfig;
pub use record::Record;
pub use spans::{Kind, Span, Traces};
pub use trace::{TraceContext, TraceId};
