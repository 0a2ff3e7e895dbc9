//! Readers that stop reading: two of them hold both of Label Studio's processes, and must not hold Lockgate.

use std::time::{Duration, Instant};

use super::instance::Instance;
use super::{Failures, expect};
use crate::support::raw::{Raw, status};

/// How much slower a good reader may be than before, which is generous: a reader who waits for a paused one is slower
/// without bounds.
const SLOWER: u32 = 10;
/// And what a busy machine may add to that.
const NOISE: Duration = Duration::from_millis(500);
const GOOD_REQUESTS: usize = 15;
/// Label Studio ends a body after this time, whatever is missing.
const TRUNCATION: Duration = Duration::from_secs(20);

/// Two, then two hundred; and one who takes his time and gets everything.
pub async fn all(instance: &Instance, failures: &mut Failures) {
    let path = instance.media(instance.task("everything"), "video.mp4");
    let mut slow = Paused::begin(instance, &path).await;
    let began = Instant::now();
    let before = good(instance, &path).await;
    for readers in [2, 200] {
        let mut paused = Vec::new();
        for _ in 0..readers {
            paused.push(Paused::begin(instance, &path).await);
        }
        let wrong = paused.iter().filter(|one| one.status != 200).count();
        let name = format!("{readers} paused readers are served");
        failures.case(&name, expect("not answered 200", wrong, 0));
        let name = format!("{readers} paused readers do not slow another");
        let outcome = match (&before, good(instance, &path).await) {
            (Ok(before), Ok(now)) if now <= *before * SLOWER + NOISE => Ok(()),
            (before, now) => Err(format!("{now:?} instead of {before:?}")),
        };
        failures.case(&name, outcome);
    }
    tokio::time::sleep((TRUNCATION + Duration::from_secs(1)).saturating_sub(began.elapsed())).await;
    let length = instance.object("video.mp4").bytes().len();
    let read = slow.rest().await;
    let name = "a reader who pauses for longer than 20 seconds gets everything";
    failures.case(name, expect("bytes", read, length));
}

/// The median of some good requests, each for a megabyte.
async fn good(instance: &Instance, path: &str) -> Result<Duration, String> {
    let mut times = Vec::new();
    for _ in 0..GOOD_REQUESTS {
        let began = Instant::now();
        let answer = instance
            .get(path, "anna")
            .range("bytes=1000000-1999999")
            .answer()
            .await;
        expect("status", answer.status, 206)?;
        expect("bytes", answer.body.len(), 1_000_000)?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// A reader who has read the head and a little, and then nothing.
struct Paused {
    connection: Raw,
    status: u16,
    read: usize,
}

impl Paused {
    async fn begin(instance: &Instance, path: &str) -> Self {
        let (address, token) = (instance.lockgate_address(), &instance.user("anna").token);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Token {token}\r\nConnection: close\r\n\r\n"
        );
        let mut connection = Raw::send(address, request).await;
        let begun = connection.read_some(2048).await;
        let head = begun.windows(4).position(|four| four == b"\r\n\r\n");
        Self {
            connection,
            status: status(&begun),
            read: begun.len() - head.map_or(0, |at| at + 4),
        }
    }

    /// Reads on; how long the body was in all.
    async fn rest(&mut self) -> usize {
        self.read + self.connection.read_to_end().await.len()
    }
}
