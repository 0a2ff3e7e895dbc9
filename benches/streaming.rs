//! What a request costs over loopback, from the client's first byte to its last: cached and cold, large and small.
//!
//! `cargo bench --bench streaming`. Client, gateway and the S3 server share this process and its cores: the figures
//! compare one version of Lockgate with another, not Lockgate with something else.

// The tests' support is used as it stands, and not all of it.
#[allow(dead_code, unused_imports)]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::cell::Cell;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

use support::content::Pattern;
use support::gateway::{Gateway, Setup};
use support::store::Store;
use support::{token, uri};

const WINDOW: u64 = 8 << 20;
const SMALL: u64 = 100_000;
/// What is cold has to be another one each time: what was just read stays joinable for a while, 32 MiB of large windows
/// and 256 small ones (`content/windows.rs`).
const COLD_WINDOWS: u64 = 64;
const COLD_OBJECTS: u64 = 1024;

struct Stand {
    gateway: Gateway,
    token: String,
    _store: Store,
}

impl Stand {
    async fn with_cache(memory: &str) -> Self {
        let store = Store::start().await;
        store.generate("media", "large.mp4", Pattern(1), COLD_WINDOWS * WINDOW);
        for number in 0..COLD_OBJECTS {
            store.generate("media", &small(number), Pattern(1), SMALL);
        }
        let gateway = Setup::over(&store.section("media"))
            .set("cache.memory", memory)
            .start()
            .await;
        Self {
            gateway,
            token: token::of("anna"),
            _store: store,
        }
    }

    /// Reads a range to its end, and checks only that all of it came.
    async fn read(&self, key: &str, range: &str, length: u64) {
        let path = uri::project("1", &format!("s3://media/{key}"));
        let ask = self
            .gateway
            .client()
            .get(path)
            .bearer(&self.token)
            .range(range);
        let mut reply = ask.send().await;
        let mut read = 0;
        while let Some(piece) = reply.next().await {
            read += piece.expect("the body holds").len() as u64;
        }
        assert_eq!(read, length);
    }
}

fn small(number: u64) -> String {
    format!("small-{number}.jpg")
}

fn streaming(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (told, memory, windows, objects) in [
        ("cached", "256MiB", 1, 1),
        ("cold", "0MiB", COLD_WINDOWS, COLD_OBJECTS),
    ] {
        let stand = runtime.block_on(Stand::with_cache(memory));
        let (stand, turn) = (&stand, Cell::new(0));
        let next = || turn.replace(turn.get() + 1);
        let mut group = c.benchmark_group(told);
        group.sample_size(20);
        group.throughput(Throughput::Bytes(WINDOW));
        group.bench_function("8 MiB range", |b| {
            b.to_async(&runtime).iter(|| {
                let first = next() % windows * WINDOW;
                let range = format!("bytes={first}-{}", first + WINDOW - 1);
                async move { stand.read("large.mp4", &range, WINDOW).await }
            });
        });
        group.throughput(Throughput::Bytes(SMALL));
        group.bench_function("100 KB object", |b| {
            b.to_async(&runtime).iter(|| {
                let key = small(next() % objects);
                async move { stand.read(&key, "bytes=0-", SMALL).await }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, streaming);
criterion_main!(benches);
