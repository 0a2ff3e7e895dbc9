//! The whole house over HTTP: one module for each part of the contract, each test a sentence of it.
//!
//! Only `support` knows how a gateway or a storage is started; the rest speaks HTTP.

mod support;

mod access_rules;
mod answers;
mod azure;
mod browser;
mod checks;
mod cli;
mod clients_misbehave;
mod conditions;
mod conformance;
mod dashboard;
mod disk_cache;
mod docs;
mod fairness;
mod fleet;
mod gcs;
mod gcs_aws;
mod gcs_identities;
mod gcs_presign;
mod identities;
mod label_studio;
mod lifecycle;
mod local_files;
mod nginx;
mod operations;
mod postgres;
mod process;
mod ranges;
mod real_label_studio;
mod redirects;
mod revocation;
mod scenarios;
mod sharing;
mod soak;
mod status;
mod storage_misbehaves;
mod tls;
mod traces;
mod upstream;
mod values;
mod volumes;
mod warm;
mod who_may_see;
mod windows;
