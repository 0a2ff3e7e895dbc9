//! kill -9 at a random moment, again and again: what was kept is there, and whatever is served is right.
//!
//! `LOCKGATE_KILLS` says how often; docs/verification.md has the long run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// So often where nothing else is said.
const KILLS: usize = 20;
const DIRECTORY: &str = "LOCKGATE_TEST_DIRECTORY";
const ROUND: &str = "LOCKGATE_TEST_ROUND";
/// Small, so that extents are sealed, moved from and given up all the time.
const CAPACITY: u64 = 32 << 20;
/// What was said to be kept last is still there, so many bytes of it: the young ring is a tenth of the whole.
const SURE: usize = 2 << 20;
const MOST: usize = 120_000;

fn length(name: &str) -> usize {
    let seed = name
        .bytes()
        .fold(7, |seed, byte| seed * 31 + u64::from(byte));
    fastrand::Rng::with_seed(seed).usize(1..MOST)
}

/// Keeps records and says so of each, until it is killed.
#[test]
#[ignore = "run by whatever_moment_it_is_killed_at_what_was_kept_is_there_and_right"]
fn keeps_until_it_is_killed() {
    let mut disk = Disk::new(CAPACITY);
    let path = std::env::var(DIRECTORY).expect("a directory");
    let round = std::env::var(ROUND).expect("a round");
    let config = DiskConfig {
        path: path.into(),
        capacity: CAPACITY,
    };
    let cache = DiskCache::start(config, disk.counts.clone()).expect("a thread");
    disk.capacity = 0;
    let mut all = 0..;
    loop {
        // Some alone, and some that are written in one go.
        let together: Vec<usize> = all.by_ref().take(fastrand::usize(1..6)).collect();
        let names = together.iter().map(|n| format!("{round}-{n}"));
        let names: Vec<String> = names.collect();
        for name in &names {
            keep(&cache, name, length(name));
        }
        settle(&cache);
        for name in names {
            println!("kept {name}");
        }
        let n = together.last().copied().unwrap_or(0);
        // Some are read, so that they move to the old ring.
        let earlier = format!("{round}-{}", fastrand::usize(0..=n));
        assert!(
            read(&cache, &earlier, length(&earlier))
                .is_none_or(|it| it == bytes(&earlier, it.len()))
        );
    }
}

fn kill_one(disk: &Disk, round: usize) -> Vec<String> {
    let name = format!(
        "{}::keeps_until_it_is_killed",
        module_path!().split_once("::").expect("a crate").1
    );
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--ignored", "--nocapture", &name])
        .env(DIRECTORY, disk.path())
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let lines = lines.map_while(Result::ok);
    let mut kept = lines.filter_map(|line| Some(line.strip_prefix("kept ")?.to_owned()));
    let mut said: Vec<String> = kept.by_ref().take(fastrand::usize(1..60)).collect();
    for _ in 0..fastrand::usize(0..2_000) {
        std::thread::yield_now();
    }
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    // What it said before, and what nobody had read yet.
    said.extend(kept);
    said
}

#[test]
fn whatever_moment_it_is_killed_at_what_was_kept_is_there_and_right() {
    let kills =
        std::env::var("LOCKGATE_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let disk = Disk::new(CAPACITY);
    let mut all = Vec::new();
    let (mut sure, mut served) = (0, 0);
    for round in 0..kills {
        let kept = kill_one(&disk, round);
        assert!(!kept.is_empty());
        let cache = disk.open();
        assert!(disk.size() <= CAPACITY, "{} in round {round}", disk.size());
        let mut left = SURE;
        for name in kept.iter().rev() {
            let length = length(name);
            left = left.saturating_sub(length + MOST / 10);
            if left == 0 {
                break;
            }
            assert!(
                read(&cache, name, length) == Some(bytes(name, length)),
                "{name} is lost or wrong"
            );
            sure += 1;
        }
        all.extend(kept);
        for name in &all {
            if let Some(it) = read(&cache, name, length(name)) {
                assert!(it == bytes(name, length(name)), "{name} is wrong");
                served += 1;
            }
        }
        let old = all.len().saturating_sub(100);
        all.drain(..old);
    }
    println!(
        "{kills} kills, {sure} kept last and there, {served} read and right, {} damaged",
        disk.damaged()
    );
    assert_eq!(
        disk.damaged(),
        0,
        "a record that was being written is cut off, not found"
    );
}
