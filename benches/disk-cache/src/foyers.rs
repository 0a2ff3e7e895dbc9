//! foyer's hybrid cache, with hardly any memory tier: an object of up to 8 MiB is one value.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy,
};
use tokio::runtime::Runtime;

use crate::{CAPACITY, Disk};

pub struct Foyers {
    runtime: Runtime,
    cache: HybridCache<String, Bytes>,
    kept: usize,
}

impl Foyers {
    pub fn open(directory: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let cache = runtime.block_on(async {
            let device = FsDeviceBuilder::new(directory)
                .with_capacity(CAPACITY as usize)
                .with_direct(true)
                .build()
                .expect("a device");
            HybridCacheBuilder::new()
                .with_policy(HybridCachePolicy::WriteOnInsertion)
                .memory(1 << 20)
                .with_weighter(|_: &String, value: &Bytes| value.len())
                .storage()
                .with_engine_config(
                    BlockEngineConfig::new(device)
                        .with_block_size(64 << 20)
                        .with_buffer_pool_size(64 << 20)
                        .with_submit_queue_size_threshold(256 << 20),
                )
                .build()
                .await
                .expect("a cache")
        });
        Self {
            runtime,
            cache,
            kept: 0,
        }
    }
}

fn key(number: usize) -> String {
    format!(
        "recordings/1/acme-recordings/datasets/production/2026/{number}.mp4/5d41402abc4b2a76b9719d911017c592"
    )
}

impl Disk for Foyers {
    fn keep(&mut self, number: usize, bytes: &[u8]) {
        // What comes faster than it is written, foyer drops.
        while self
            .kept
            .saturating_sub(self.cache.statistics().disk_write_bytes())
            > 24 << 20
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.kept += bytes.len();
        let _runtime = self.runtime.enter();
        self.cache
            .insert(key(number), Bytes::copy_from_slice(bytes));
    }

    fn read(&mut self, number: usize) -> usize {
        let entry = self
            .runtime
            .block_on(async { self.cache.get(&key(number)).await });
        entry.ok().flatten().map_or(0, |entry| entry.value().len())
    }

    fn close(self: Box<Self>) {
        self.runtime
            .block_on(self.cache.close())
            .expect("it closes");
    }
}
