//! What the status page shows: put together here, where every room is known, from what is counted anyway.
//!
//! Never a secret: of the configuration those keys are named that hold none, one by one. Costs a request nothing: a
//! reading is taken every few seconds, and the document is made when somebody looks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use super::build::InForce;
use super::configured::{configured, place};
use crate::cache::Held;
use crate::content::{Shelf, Store};
use crate::ids::StorageId;
use crate::project::Delivery;
use crate::serve::caps::Caps;
use crate::telemetry::samples::Samples;
use crate::telemetry::{Denials, Metrics, Outcome, Tier};

/// What lies in the cache is counted no more often: each look goes through all of it.
const CONTENTS_AGE: Duration = Duration::from_secs(10);

/// What a page can be made of.
pub(super) struct Status {
    started_at: SystemTime,
    metrics: Arc<Metrics>,
    denials: Arc<Denials>,
    shelf: Arc<Shelf>,
    caps: Arc<Caps>,
    samples: Samples,
    shown: ArcSwap<Shown>,
    contents: Mutex<Option<(Instant, BTreeMap<StorageId, Held>)>>,
}

/// What is configured at the moment.
struct Shown {
    configuration: Value,
    /// What the memory tier may hold.
    memory: u64,
    storages: Vec<Storage>,
}

struct Storage {
    id: StorageId,
    kind: &'static str,
    place: String,
    prefix: Arc<str>,
    delivery: Delivery,
    store: Store,
}

impl Shown {
    fn of(in_force: &InForce) -> Self {
        let config = &in_force.loaded.config;
        let open = in_force.stores.iter().map(|open| Storage {
            id: open.config.id.clone(),
            kind: open.config.backend.kind(),
            place: place(&open.config.backend),
            prefix: open.config.prefix.clone(),
            delivery: open.config.delivery,
            store: open.store.clone(),
        });
        let signed = in_force.judges.store().map(|(id, store)| Storage {
            id,
            kind: "signed",
            place: "behind URLs that Label Studio signs".to_owned(),
            prefix: "".into(),
            delivery: Delivery::Proxy,
            store,
        });
        Self {
            configuration: configured(config),
            memory: config.cache.memory,
            storages: open.chain(signed).collect(),
        }
    }
}

impl Status {
    /// Of a process that begins now.
    pub(super) fn new(
        (metrics, denials): (Arc<Metrics>, Arc<Denials>),
        shelf: Arc<Shelf>,
        caps: Arc<Caps>,
        in_force: &InForce,
    ) -> Self {
        let samples = Samples::default();
        samples.take(metrics.read());
        Self {
            started_at: SystemTime::now(),
            metrics,
            denials,
            shelf,
            caps,
            samples,
            shown: ArcSwap::from_pointee(Shown::of(in_force)),
            contents: Mutex::new(None),
        }
    }

    /// Takes a reading.
    pub(super) fn sample(&self) {
        self.samples.take(self.metrics.read());
    }

    /// Another configuration is in force.
    pub(super) fn configured(&self, in_force: &InForce) {
        self.shown.store(Arc::new(Shown::of(in_force)));
    }

    /// All of it. Goes through the cache: not on a thread that serves.
    pub(super) fn document(&self, missing: &[String]) -> Value {
        let shown = self.shown.load();
        let contents = self.contents();
        let newest = self.samples.newest();
        let newest = newest.as_ref();
        let storages = shown.storages.iter().map(|storage| {
            let held = contents.get(&storage.id).copied().unwrap_or_default();
            let counted = newest.and_then(|it| it.storages.get(&storage.id));
            let credentials_end = counted.and_then(|counted| counted.credentials_end);
            self.storage(storage, held, credentials_end)
        });
        let tiers = [(Tier::Memory, Some(shown.memory)), (Tier::Disk, None)].map(|tier| {
            let (tier, capacity) = tier;
            let kept = newest.map_or(0, |it| it.kept[tier.index()]);
            let is_there = capacity.is_some() || kept > 0;
            is_there.then(|| json!({ "tier": tier.as_str(), "bytes": kept, "capacity": capacity }))
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "now": epoch(SystemTime::now()),
            "started_at": epoch(self.started_at),
            "missing": missing,
            "in_flight": newest.map_or(0, |it| it.in_flight),
            "streams": self.caps.running(),
            "recent": self.samples.recent(),
            "series": self.samples.series(),
            "storages": storages.collect::<Vec<_>>(),
            "cache": tiers.into_iter().flatten().collect::<Vec<_>>(),
            "denials": self.denials.last(),
            "configuration": shown.configuration,
        })
    }

    fn storage(&self, storage: &Storage, held: Held, credentials_end: Option<f64>) -> Value {
        let id = &storage.id;
        let answered = self.samples.answered(id);
        let failure = self.metrics.last_failure(id);
        let outage = storage.store.outage().map(|error| error.to_string());
        let health = match (&failure, answered) {
            _ if outage.is_some() => "down",
            (Some(failure), Some(answered)) if answered > failure.at => "ok",
            (Some(failure), _) => match failure.outcome {
                Outcome::AccessDenied => "refused",
                _ => "failing",
            },
            (None, Some(_)) => "ok",
            (None, None) => "unused",
        };
        json!({
            "id": id,
            "kind": storage.kind,
            "place": storage.place,
            "prefix": storage.prefix,
            "delivery": storage.delivery.as_str(),
            "health": health,
            "outage": outage,
            "answered_at": answered.map(epoch),
            "failure": failure.map(|failure| json!({
                "at": epoch(failure.at),
                "outcome": failure.outcome,
                "reason": failure.reason,
            })),
            "recent": self.samples.recent_storage(id),
            "cached": { "bytes": held.bytes, "entries": held.entries },
            "credentials_end": credentials_end,
        })
    }

    fn contents(&self) -> BTreeMap<StorageId, Held> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        match &*contents {
            Some((at, counted)) if at.elapsed() < CONTENTS_AGE => counted.clone(),
            Some(_) | None => {
                let counted = self.shelf.contents();
                *contents = Some((Instant::now(), counted.clone()));
                counted
            }
        }
    }
}

/// Seconds since 1970.
fn epoch(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}
