//! What keeping media on disk costs, by Lockgate's own log of records and by foyer's hybrid cache: CPU for a gigabyte
//! written and read, the time of a restart, memory for a record. Each step is a process of its own.
//!
//! `cargo run --release [DIRECTORY]`: the directory, ./cache.tmp where none is named, must be on a real disk.
//! `--lay DIRECTORY COUNT` lays the index of so many records there, for `benches/growth`; it needs no foyer
//! (`--no-default-features`).

#![allow(dead_code, reason = "not all of a room is used here")]

mod cache;
#[cfg(feature = "foyer")]
mod foyers;
mod ids;
mod lay;
mod object;
mod own;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Bytes of an object, and how many of them: two gigabytes each, and a hundred thousand small ones for a restart.
const LOADS: [(usize, usize); 3] = [(8 << 20, 256), (100_000, 20_000), (4_000, 100_000)];
/// What either may take: more than is written, so that nothing is given up.
pub const CAPACITY: u64 = 8 << 30;
const ROUNDS: usize = 3;

/// One of the two.
pub trait Disk {
    /// Keeps an object.
    fn keep(&mut self, number: usize, bytes: &[u8]);
    /// Reads it whole, into memory of its own; its length, 0 where it is not there.
    fn read(&mut self, number: usize) -> usize;
    /// Writes what waits, and ends.
    fn close(self: Box<Self>);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    let rest: Vec<String> = arguments.collect();
    match (first.as_deref(), &rest[..]) {
        (Some("--step"), [engine, step, directory, length, count]) => {
            let [length, count] = [length, count].map(|number| number.parse().expect("a number"));
            println!("{}", one(engine, step, Path::new(directory), length, count));
        }
        (Some("--lay"), [directory, count]) => {
            let count = count.parse().expect("a number");
            lay::lay(Path::new(directory), count).expect("it can be written");
        }
        (directory, []) => all(Path::new(directory.unwrap_or("cache.tmp"))),
        _ => panic!("a directory, or nothing"),
    }
}

fn open(engine: &str, directory: &Path) -> Box<dyn Disk> {
    match engine {
        "own" => Box::new(own::Own::open(directory)),
        #[cfg(feature = "foyer")]
        "foyer" => Box::new(foyers::Foyers::open(directory)),
        other => panic!("no {other} is built in"),
    }
}

/// The number that a step is about.
fn one(engine: &str, step: &str, directory: &Path, length: usize, count: usize) -> String {
    let gigabytes = (length * count) as f64 / 1e9;
    let bytes = vec![7; length];
    let (memory, begun) = (resident(), Instant::now());
    let mut disk = open(engine, directory);
    let (opened, opened_with) = (begun.elapsed(), resident());
    let cpu = cpu_seconds();
    let said = match step {
        "write" => {
            for number in 0..count {
                disk.keep(number, &bytes);
            }
            disk.close();
            return format!("{:.2}", (cpu_seconds() - cpu) / gigabytes);
        }
        "read" => {
            let there = (0..count)
                .filter(|number| disk.read(*number) == length)
                .count();
            assert!(there * 100 >= count * 95, "{there} of {count} are there");
            format!("{:.2}", (cpu_seconds() - cpu) / gigabytes)
        }
        "restart" => format!("{:.0}", opened.as_secs_f64() * 1e3),
        _ => format!(
            "{:.0}",
            opened_with.saturating_sub(memory) as f64 / count as f64
        ),
    };
    disk.close();
    said
}

fn all(directory: &Path) {
    println!("| object | | own | foyer |\n|---|---|---|---|");
    for (length, count) in LOADS {
        let mut rows: Vec<[Vec<String>; 2]> = vec![Default::default(); 4];
        for _ in 0..ROUNDS {
            for (column, engine) in ["own", "foyer"].into_iter().enumerate() {
                let place: PathBuf = directory.join(engine);
                let _ = std::fs::remove_dir_all(&place);
                std::fs::create_dir_all(&place).expect("made");
                for (row, step) in ["write", "read", "restart", "memory"]
                    .into_iter()
                    .enumerate()
                {
                    rows[row][column].push(child(engine, step, &place, length, count));
                }
                let _ = std::fs::remove_dir_all(&place);
            }
        }
        let names = [
            "written, CPU s/GB",
            "read, CPU s/GB",
            "restart, ms",
            "memory, B a record",
        ];
        for (name, [own, foyer]) in names.into_iter().zip(rows) {
            println!(
                "| {length} B × {count} | {name} | {} | {} |",
                own.join(" / "),
                foyer.join(" / ")
            );
        }
    }
    let _ = std::fs::remove_dir_all(directory);
}

fn child(engine: &str, step: &str, place: &Path, length: usize, count: usize) -> String {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--step", engine, step])
        .arg(place)
        .args([length.to_string(), count.to_string()])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    said.trim().lines().last().unwrap_or("failed").to_owned()
}

/// Of all threads, user and system.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory in bytes (proc(5), statm).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
