//! What is kept and what goes.

use std::collections::{HashMap, VecDeque};

use super::*;

#[test]
fn it_never_takes_more_than_its_capacity_and_keeps_what_is_used() {
    let disk = Disk::new(8 << 20);
    let cache = disk.open();
    keep_now(&cache, "hot", 60_000);
    for n in 0..600 {
        keep_now(&cache, &format!("once{n}"), 60_000);
        assert!(read(&cache, "hot", 60_000).is_some(), "after {n}");
        assert!(disk.size() <= disk.capacity, "{} after {n}", disk.size());
        assert!(cache.bytes() >= disk.size(), "{} after {n}", cache.bytes());
    }
    assert!(read(&cache, "once0", 60_000).is_none());
    assert!(read(&cache, "once599", 60_000).is_some());
    let evicted = disk.counts.evicted.load(Ordering::SeqCst);
    assert!(evicted > 400);
    assert_eq!(cache.len() + evicted, 601, "each is there or was evicted");
    assert!(cache.len() > 80, "{} of some 130 that fit", cache.len());
    drop(cache);
    let cache = disk.open();
    assert!(cache.len() > 80);
    assert!(read(&cache, "hot", 60_000).is_some());
}

#[test]
fn a_smaller_capacity_holds_from_the_start_on() {
    let mut disk = Disk::new(16 << 20);
    let cache = disk.open();
    for n in 0..200 {
        keep_now(&cache, &format!("k{n}"), 60_000);
    }
    drop(cache);
    assert!(disk.size() > 8 << 20);
    disk.capacity = 8 << 20;
    let cache = disk.open();
    assert!(disk.size() <= disk.capacity, "{}", disk.size());
    assert!(read(&cache, "k199", 60_000).is_some(), "the newest stay");
    for n in 0..200 {
        keep_now(&cache, &format!("l{n}"), 60_000);
        assert!(disk.size() <= disk.capacity, "{} after {n}", disk.size());
    }
}

#[test]
fn a_restart_leaves_what_is_sealed_as_it_is_and_no_small_extents_behind() {
    let disk = Disk::new(8 << 20);
    let cache = disk.open();
    for n in 0..60 {
        keep_now(&cache, &format!("k{n}"), 60_000);
    }
    drop(cache);
    let look = || {
        let files = disk.files().into_iter();
        files.map(|file| {
            let modified = std::fs::metadata(&file).and_then(|file| file.modified());
            (file, modified.expect("there"))
        })
    };
    let before: Vec<_> = look().collect();
    assert!(before.len() > 5);
    for n in 0..3 {
        let cache = disk.open();
        assert_eq!(cache.len(), 60 + n);
        keep(&cache, &format!("later{n}"), 10);
        drop(cache);
    }
    let after: Vec<_> = look().collect();
    assert_eq!(after.len(), before.len());
    let as_it_was = before.iter().filter(|file| after.contains(file)).count();
    assert_eq!(as_it_was, before.len() - 1, "all but the newest");
}

const OBJECTS: usize = 3_000;
const LENGTH: usize = 4_000;

/// Who is asked for: now one of a few that many want, now one that nobody asks for twice.
struct Requests {
    random: fastrand::Rng,
    /// Zipf's sums, exponent 0.9.
    sums: Vec<f64>,
    scanned: usize,
}

impl Requests {
    fn new() -> Self {
        let mut sum = 0.0;
        let sums = (1..=OBJECTS).map(|rank| {
            sum += (rank as f64).powf(-0.9);
            sum
        });
        Self {
            random: fastrand::Rng::with_seed(7),
            sums: sums.collect(),
            scanned: 0,
        }
    }

    /// One of those that are wanted again and again, or, in a scan, one that is not; whether it is of the former.
    fn next(&mut self, scan: bool) -> (usize, bool) {
        if scan && self.random.bool() {
            self.scanned += 1;
            return (OBJECTS + self.scanned, false);
        }
        let drawn = self.random.f64() * self.sums[OBJECTS - 1];
        (self.sums.partition_point(|&sum| sum < drawn), true)
    }
}

/// Least recently used goes first: what a scan does to it is the measure.
struct Lru {
    order: VecDeque<(usize, u64)>,
    last: HashMap<usize, u64>,
    capacity: usize,
    clock: u64,
}

impl Lru {
    fn ask(&mut self, object: usize) -> bool {
        self.clock += 1;
        self.order.push_back((object, self.clock));
        let hit = self.last.insert(object, self.clock).is_some();
        while self.last.len() > self.capacity {
            let Some((object, at)) = self.order.pop_front() else {
                break;
            };
            if self.last.get(&object) == Some(&at) {
                self.last.remove(&object);
            }
        }
        hit
    }
}

#[test]
fn a_scan_does_not_sweep_out_what_is_used() {
    let disk = Disk::new(4 << 20);
    let cache = disk.open();
    let mut requests = Requests::new();
    let mut lru = Lru {
        order: VecDeque::new(),
        last: HashMap::new(),
        capacity: (4 << 20) / (record::pages(LENGTH as u32) * PAGE),
        clock: 0,
    };
    let mut rates = Vec::new();
    for scan in [false, false, true] {
        let (mut asked, mut own, mut lrus) = (0, 0, 0);
        for _ in 0..3_000 {
            let (object, wanted) = requests.next(scan);
            let name = format!("o{object}");
            let hit = read(&cache, &name, LENGTH).is_some();
            if !hit {
                keep_now(&cache, &name, LENGTH);
            }
            let lru = lru.ask(object);
            if wanted {
                asked += 1;
                own += usize::from(hit);
                lrus += usize::from(lru);
            }
        }
        rates.push((own as f64 / asked as f64, lrus as f64 / asked as f64));
    }
    println!("{rates:?}");
    let [_, (calm, lru_calm), (scanned, lru_scanned)] = rates[..] else {
        panic!("three rounds")
    };
    assert!(calm > lru_calm - 0.03, "{calm} against {lru_calm}");
    assert!(
        scanned > lru_scanned + 0.02,
        "{scanned} against {lru_scanned}"
    );
    assert!(scanned > calm - 0.08, "{scanned} after {calm}");
}
