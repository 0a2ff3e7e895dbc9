//! What a request costs over loopback, from the client's first byte to its last: cached and cold, large and small.
//!
//! `cargo bench --bench streaming`. Client, gateway and the S3 server share this process and its cores: the figures
//! compare one version of Lockgate with another, not Lockgate with something else.

// The tests' support is used as it stands, and not all of it.
#[allow(dead_code, unused_imports)]
#[path = "../tests/it/support/mod.rs"]
mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

use support::content::Pattern;
use support::gateway::{Gateway, Setup};
use support::store::Store;
use support::{token, uri};

const WINDOW: u64 = 8 << 20;
const SMALL: u64 = 100_000;

struct Stand {
    gateway: Gateway,
    token: String,
    _store: Store,
}

impl Stand {
    async fn with_cache(memory: &str) -> Self {
        let store = Store::start().await;
        store.generate("media", "large.mp4", Pattern(1), 64 * WINDOW);
        store.generate("media", "small.jpg", Pattern(1), SMALL);
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

fn streaming(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (told, memory) in [("cached", "256MiB"), ("cold", "0MiB")] {
        let stand = runtime.block_on(Stand::with_cache(memory));
        let mut group = c.benchmark_group(told);
        group.sample_size(20);
        let large = format!("bytes={}-{}", 3 * WINDOW, 4 * WINDOW - 1);
        group.throughput(Throughput::Bytes(WINDOW));
        group.bench_function("8 MiB range", |b| {
            b.to_async(&runtime)
                .iter(|| stand.read("large.mp4", &large, WINDOW));
        });
        group.throughput(Throughput::Bytes(SMALL));
        group.bench_function("100 KB object", |b| {
            b.to_async(&runtime)
                .iter(|| stand.read("small.jpg", "bytes=0-", SMALL));
        });
        group.finish();
    }
}

criterion_group!(benches, streaming);
criterion_main!(benches);
