//! Simulates replicas with a memory cache each, over one storage, and counts what storage is asked for.
//!
//! A model of windows, and not of time: a window that is asked for is there at once, so single flight shows as a hit.
//! The policy is the real one (quick_cache's S3-FIFO, as in `src/cache/memory.rs`), beside two others; the media is 8 MiB
//! windows by number. The same numbers at every run but for the last digits, as hashes are drawn anew and moka does its
//! books by the clock. Prints the table of `docs/sizing.md`.

use moka::policy::EvictionPolicy;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter, sync::DefaultLifecycle};

/// Pieces of 8 MiB, the largest window, of an object: 64 MiB of video.
const WINDOWS: u64 = 8;
/// Objects of the project: 250 GiB.
const OBJECTS: u64 = 4_000;
/// Windows that one replica keeps: 8 GiB, 3.2 % of all.
const CACHE: u64 = 1_024;
/// Annotators at once.
const ANNOTATORS: usize = 100;
/// Annotators who see the same task, one after the other (Label Studio's overlap).
const OVERLAP: u64 = 3;
/// A tenth of the tasks is looked at by a reviewer, so many tasks later.
const REVIEW_AFTER: u64 = 400;
/// Window requests of one run.
const REQUESTS: usize = 400_000;

/// xorshift64*, for runs that repeat.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// In [0, 1).
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Who looks at what next.
trait Workload {
    fn next_object(&mut self, rng: &mut Rng) -> u64;
}

/// Objects by popularity, each asked for 1/rank^s as often as the first: a search, a gallery, a shared benchmark.
struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    fn new(s: f64) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=OBJECTS).map(|rank| {
            sum += 1.0 / (rank as f64).powf(s);
            sum
        });
        Self {
            cumulated: cumulated.collect(),
        }
    }
}

impl Workload for Zipf {
    fn next_object(&mut self, rng: &mut Rng) -> u64 {
        let all = self.cumulated[self.cumulated.len() - 1];
        let at = rng.fraction() * all;
        self.cumulated.partition_point(|&sum| sum <= at) as u64
    }
}

/// Tasks in their order, each handed to as many annotators as have to see it; some come back for review.
struct Sequential {
    handed_out: u64,
    for_review: Vec<u64>,
}

impl Workload for Sequential {
    fn next_object(&mut self, rng: &mut Rng) -> u64 {
        let task = self.handed_out / OVERLAP;
        if let Some(&due) = self.for_review.first()
            && due + REVIEW_AFTER <= task
        {
            self.for_review.remove(0);
            return due % OBJECTS;
        }
        self.handed_out += 1;
        if self.handed_out % OVERLAP == 0 && rng.below(10) == 0 {
            self.for_review.push(task);
        }
        task % OBJECTS
    }
}

/// An annotator in the middle of an object: forward mostly, at times some windows back.
struct Annotator {
    object: u64,
    window: u64,
}

struct Outcome {
    hit_rate: f64,
    /// Windows of storage's for each that was served.
    origin: f64,
    /// Requests of the busiest replica over the mean.
    busiest: f64,
}

/// Rendezvous hashing: the shares that a consistent hash with many points comes to.
fn replica_of(object: u64, replicas: u64) -> usize {
    let weight = |replica: u64| {
        Rng((object + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (replica + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .next()
    };
    (0..replicas)
        .max_by_key(|&replica| weight(replica))
        .unwrap_or(0) as usize
}

/// What is let in, and what goes for it.
#[derive(Clone, Copy)]
enum Policy {
    S3Fifo,
    TinyLfu,
    Lru,
}

type Window = (u64, u64);

/// What one replica keeps.
enum Kept {
    Quick(quick_cache::sync::Cache<Window, ()>),
    Moka(moka::sync::Cache<Window, ()>),
}

impl Kept {
    fn new(policy: Policy) -> Self {
        let moka = |policy| {
            let cache = moka::sync::Cache::builder().max_capacity(CACHE);
            Self::Moka(cache.eviction_policy(policy).build())
        };
        match policy {
            Policy::TinyLfu => moka(EvictionPolicy::tiny_lfu()),
            Policy::Lru => moka(EvictionPolicy::lru()),
            Policy::S3Fifo => {
                let options = OptionsBuilder::new()
                    .estimated_items_capacity(CACHE as usize)
                    .weight_capacity(CACHE)
                    .hot_allocation(0.8)
                    .build()
                    .expect("both capacities are named");
                let (hashes, life) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
                Self::Quick(quick_cache::sync::Cache::with_options(
                    options,
                    UnitWeighter,
                    hashes,
                    life,
                ))
            }
        }
    }

    /// Whether it was there.
    fn get_or_put(&self, key: Window) -> bool {
        match self {
            Self::Quick(cache) => {
                let hit = cache.get(&key).is_some();
                if !hit {
                    cache.insert(key, ());
                }
                hit
            }
            Self::Moka(cache) => {
                let hit = cache.get(&key).is_some();
                if !hit {
                    cache.insert(key, ());
                    cache.run_pending_tasks();
                }
                hit
            }
        }
    }
}

fn run(workload: &mut dyn Workload, replicas: u64, affinity: bool, policy: Policy) -> Outcome {
    let mut rng = Rng(0x5eed);
    let caches: Vec<Kept> = (0..replicas).map(|_| Kept::new(policy)).collect();
    let mut asked = vec![0u64; replicas as usize];
    let mut annotators: Vec<_> = (0..ANNOTATORS)
        .map(|_| Annotator {
            object: workload.next_object(&mut rng),
            window: 0,
        })
        .collect();
    let (mut hits, mut counted) = (0u64, 0u64);
    for request in 0..REQUESTS {
        let annotator = &mut annotators[rng.below(ANNOTATORS as u64) as usize];
        let key = (annotator.object, annotator.window);
        let replica = match affinity {
            true => replica_of(key.0, replicas),
            false => rng.below(replicas) as usize,
        };
        let hit = caches[replica].get_or_put(key);
        // The first quarter fills the caches.
        if request >= REQUESTS / 4 {
            counted += 1;
            hits += u64::from(hit);
            asked[replica] += 1;
        }
        // One step in five goes back: annotators look again.
        annotator.window = match rng.below(5) {
            0 => annotator.window.saturating_sub(2),
            _ => annotator.window + 1,
        };
        if annotator.window == WINDOWS {
            (annotator.object, annotator.window) = (workload.next_object(&mut rng), 0);
        }
    }
    let mean = counted as f64 / replicas as f64;
    let most = asked.iter().copied().max().unwrap_or(0) as f64;
    Outcome {
        hit_rate: hits as f64 / counted as f64,
        origin: (counted - hits) as f64 / counted as f64,
        busiest: most / mean,
    }
}

fn workload(name: &str) -> Box<dyn Workload> {
    match name {
        "Zipf, s = 0.7" => Box::new(Zipf::new(0.7)),
        "Zipf, s = 1.0" => Box::new(Zipf::new(1.0)),
        _ => Box::new(Sequential {
            handed_out: 0,
            for_review: Vec::new(),
        }),
    }
}

fn main() {
    println!(
        "| workload | policy | replicas | with affinity: hits | storage reads | busiest | without: hits | storage reads |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let policies = [
        ("S3-FIFO", Policy::S3Fifo),
        ("TinyLFU", Policy::TinyLfu),
        ("LRU", Policy::Lru),
    ];
    for name in ["Zipf, s = 0.7", "Zipf, s = 1.0", "tasks in order"] {
        for (policy_name, policy) in policies {
            for replicas in [1, 2, 4, 8, 16] {
                let with = run(&mut *workload(name), replicas, true, policy);
                let without = run(&mut *workload(name), replicas, false, policy);
                println!(
                    "| {name} | {policy_name} | {replicas} | {:.1} % | {:.2} | {:.2} | {:.1} % | {:.2} |",
                    100.0 * with.hit_rate,
                    with.origin,
                    with.busiest,
                    100.0 * without.hit_rate,
                    without.origin,
                );
            }
        }
    }
}
