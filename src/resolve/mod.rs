//! Where is it: a [`Permit`] and the storages' rules in, a [`ResolvedObject`] out. Pure: no I/O.
//!
//! The longest matching prefix wins; a prefix ends at a component; prefix and pattern are access boundaries.

mod names;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::access::{Denied, Permit};
use crate::ids::StorageId;
use crate::media_uri::MediaUri;
use crate::object::ObjectLocation;
use crate::project::{Delivery, Place};

pub use names::Names;

/// What stands in the place of a storage's id where the annotation application serves the media itself; no storage
/// may be configured under it.
pub const APPLICATION: &str = "application";

pub use crate::signed::LABEL_STUDIO;

/// A storage as the resolver sees it: what URIs it answers to, and within which bounds.
#[derive(Clone, Debug)]
pub struct StorageRule {
    /// Its id.
    pub id: StorageId,
    /// Which configuration of it this is (see [`ObjectLocation::epoch`]).
    pub epoch: u64,
    /// Which URIs name objects of it.
    pub names: Names,
    /// Keys must lie below this; empty for the whole bucket. Ends at a component, whether a slash ends it or not.
    pub prefix: Arc<str>,
    /// Keys must match this as well, where one is set: a search in the whole key, prefix included, so that what
    /// shall hold for all of it is written with `^` and `$`.
    pub pattern: Option<Regex>,
    /// How its media reaches the annotator.
    pub delivery: Delivery,
    /// The life of a presigned URL.
    pub presign_expiry: Duration,
}

impl StorageRule {
    /// The key that a URI names here, if this storage answers to it and holds it within its bounds.
    pub fn key(&self, uri: &MediaUri) -> Option<Arc<str>> {
        let key = self.names.key(&self.id, uri)?;
        let matches = |pattern: &Regex| pattern.is_match(&key);
        let within = is_below(&key, self.bound()) && self.pattern.as_ref().is_none_or(matches);
        within.then_some(key)
    }

    /// The prefix without the slash that may end it, so that `data` and `data/` are one and the same bound.
    fn bound(&self) -> &str {
        self.prefix.strip_suffix('/').unwrap_or(&self.prefix)
    }
}

/// `data/x` is below `data`; `data-private/x` is not, nor is `data`.
fn is_below(key: &str, bound: &str) -> bool {
    bound.is_empty()
        || key
            .strip_prefix(bound)
            .is_some_and(|rest| rest.starts_with('/'))
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
    by_id: HashMap<StorageId, usize>,
}

impl Storages {
    /// Takes the rules of the configuration; ids are unique there.
    pub fn new(rules: Vec<StorageRule>) -> Self {
        let by_id = rules
            .iter()
            .enumerate()
            .map(|(index, rule)| (rule.id.clone(), index));
        Self {
            by_id: by_id.collect(),
            rules,
        }
    }

    /// All of them, in the order of the configuration.
    pub fn rules(&self) -> &[StorageRule] {
        &self.rules
    }

    /// One of them.
    pub fn get(&self, id: &StorageId) -> Option<&StorageRule> {
        self.by_id.get(id).map(|index| &self.rules[*index])
    }

    /// The object that a permitted URI names, in the storage of the permit's projects whose prefix is the longest;
    /// among equals the first that the project lists. Where none holds it, the place that the access source names.
    /// Costs a step per storage of the project, not of the deployment.
    pub fn resolve(&self, permit: &Permit) -> Result<ResolvedObject, Denied> {
        let mut best: Option<(&StorageRule, Arc<str>)> = None;
        for rule in permit.storages().filter_map(|id| self.get(id)) {
            let longer = best
                .as_ref()
                .is_none_or(|(best, _)| rule.bound().len() > best.bound().len());
            if longer && let Some(key) = rule.key(permit.uri()) {
                best = Some((rule, key));
            }
        }
        let Some((rule, key)) = best else {
            return permit.place().map(elsewhere).ok_or(Denied::NoStorage);
        };
        Ok(ResolvedObject {
            location: ObjectLocation {
                storage: rule.id.clone(),
                epoch: rule.epoch,
                bucket: rule.names.bucket(),
                key,
            },
            delivery: rule.delivery,
            presign_expiry: rule.presign_expiry,
        })
    }
}

/// An object that no storage of this configuration holds.
fn elsewhere(place: &Place) -> ResolvedObject {
    let (location, delivery) = match place {
        Place::Signed(location) => (location.clone(), Delivery::Proxy),
        // No store has this id, so nothing can be read with it: there is only the way to the application, and the key
        // is what it is asked for.
        Place::Application(question) => {
            let location = ObjectLocation {
                storage: StorageId::from(APPLICATION),
                epoch: 0,
                bucket: "".into(),
                key: question.clone(),
            };
            (location, Delivery::Application)
        }
    };
    ResolvedObject {
        location,
        delivery,
        presign_expiry: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;
