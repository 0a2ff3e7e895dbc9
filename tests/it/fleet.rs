//! Many replicas: real ones, behind the real balancers of `deploy/`; what is lost when one goes, and when each is
//! started again in its turn.

mod affinity;
mod balancers;
mod handover;
mod metrics;
mod replicas;
mod rolling;
