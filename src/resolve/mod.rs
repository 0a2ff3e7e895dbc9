//! Where is it: a [`Permit`] and the storages' rules in, a [`ResolvedObject`] out. Pure: no I/O.
//!
//! The longest matching prefix wins; a prefix ends at a component; prefix and pattern are access boundaries.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::ids::StorageId;
use crate::object::ObjectLocation;
use crate::project::Delivery;

/// A storage as the resolver sees it: what URIs it answers to, and within which bounds.
#[derive(Clone, Debug)]
pub struct StorageRule {
    /// Its id.
    pub id: StorageId,
    /// Which configuration of it this is (see [`ObjectLocation::epoch`]).
    pub epoch: u64,
    /// Which URIs name objects of it.
    pub names: Names,
    /// Keys must lie below this; empty for the whole bucket. Ends at a component.
    pub prefix: Arc<str>,
    /// Keys must match this as well, where one is set.
    pub pattern: Option<Regex>,
    /// How its media reaches the annotator.
    pub delivery: Delivery,
    /// The life of a presigned URL.
    pub presign_expiry: Duration,
}

/// Which URIs name objects of a storage.
#[derive(Clone, Debug)]
pub enum Names {
    /// An S3 bucket, and the storage's own endpoint where it has one (`http(s)://host[:port][/base]`).
    S3 {
        /// The bucket.
        bucket: Arc<str>,
        /// The endpoint, for URIs in path and in virtual-host style.
        endpoint: Option<url::Url>,
    },
    /// Files below a root.
    Local,
}

/// An object that its annotator may see, in the storage that holds it. Made by [`Storages::resolve`] alone.
#[derive(Clone, Debug)]
pub struct ResolvedObject {
    location: ObjectLocation,
    delivery: Delivery,
    presign_expiry: Duration,
}

impl ResolvedObject {
    /// Where it lies.
    pub fn location(&self) -> &ObjectLocation {
        &self.location
    }

    /// How it reaches the annotator.
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The life of a presigned URL to it.
    pub fn presign_expiry(&self) -> Duration {
        self.presign_expiry
    }
}

/// The storages of this deployment.
#[derive(Clone, Debug, Default)]
pub struct Storages {
    rules: Vec<StorageRule>,
}

// `impl Storages { new(Vec<StorageRule>), resolve(&self, &Permit) -> Result<ResolvedObject, Denied>, rules(), get(&StorageId) }`
