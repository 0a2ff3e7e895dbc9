//! What is to be seen of `warm` while it runs: a bar on a terminal, a plain line now and then anywhere else.
//!
//! All of it goes to standard error; standard output is for what came of the run.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::fetch::Watch;
use crate::cli::in_words;

/// Often enough for eyes; a bar that moves faster only costs.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// A log that is read later wants no more lines than this.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How far a run is. Counted by readers, shown by one.
pub struct Progress {
    objects: u64,
    begun: Instant,
    counts: Counts,
    bar: Option<ProgressBar>,
}

/// All are statistics and order nothing.
#[derive(Default)]
struct Counts {
    /// Objects that are over, however they went.
    over: AtomicU64,
    /// Bytes that came.
    bytes: AtomicU64,
    /// Objects whose length is known, and these lengths together.
    measured: AtomicU64,
    lengths: AtomicU64,
    /// Objects that are over and had no length: missing ones, unchanged ones.
    unmeasured: AtomicU64,
}

impl Progress {
    /// Of so many objects.
    pub fn of(objects: u64) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        Self {
            objects,
            begun: Instant::now(),
            counts: Counts::default(),
            bar: on_terminal.then(|| bar(objects)),
        }
    }

    /// How long to wait until it is to be shown again.
    pub fn interval(&self) -> Duration {
        match self.bar {
            Some(_) => BAR_INTERVAL,
            None => LINE_INTERVAL,
        }
    }

    /// Shows how far it is.
    pub fn show(&self) {
        let (over, said) = (self.counts.over.load(Ordering::Relaxed), self.said());
        match &self.bar {
            Some(bar) => {
                bar.set_position(over);
                bar.set_message(said);
            }
            None => self.line(&format!("{over}/{} objects, {said}", self.objects)),
        }
    }

    /// A line of its own, above the bar.
    pub fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Bytes that came so far.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    /// How long it has been under way.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn said(&self) -> String {
        let elapsed = self.elapsed();
        let left = self
            .counts
            .share(self.objects)
            .map(|share| left(elapsed, share));
        let left = left.map_or_else(String::new, |left| format!(", {} left", in_words(left)));
        format!("{}{left}", traffic(self.bytes(), elapsed))
    }
}

/// So much, so fast.
pub fn traffic(bytes: u64, elapsed: Duration) -> String {
    let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{}, {}/s", BinaryBytes(bytes), BinaryBytes(rate as u64))
}

fn bar(objects: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(objects), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} objects, {msg}");
    // The template is ours and is tested; without it there is indicatif's own.
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Counts {
    /// Which part of the work is done, by bytes: objects not begun are taken to be as long as the others on average.
    /// None while nothing says how long one is.
    fn share(&self, objects: u64) -> Option<f64> {
        let measured = self.measured.load(Ordering::Relaxed);
        let lengths = self.lengths.load(Ordering::Relaxed) as f64;
        if measured == 0 || lengths == 0.0 {
            return None;
        }
        let unknown = objects.saturating_sub(measured + self.unmeasured.load(Ordering::Relaxed));
        let all = lengths + unknown as f64 * lengths / measured as f64;
        let share = self.bytes.load(Ordering::Relaxed) as f64 / all;
        (share > 0.0).then_some(share.min(1.0))
    }
}

fn left(elapsed: Duration, share: f64) -> Duration {
    // More than anybody waits for, and less than a Duration holds.
    let seconds = elapsed.as_secs_f64() * (1.0 - share) / share;
    Duration::from_secs_f64(seconds.min(1e9))
}

/// One object's part in the progress.
pub struct Part<'a> {
    progress: &'a Progress,
    length: Option<u64>,
    came: u64,
}

impl<'a> Part<'a> {
    /// Nothing is known of it yet.
    pub fn of(progress: &'a Progress) -> Self {
        Self {
            progress,
            length: None,
            came: 0,
        }
    }

    /// It has to be read again from its beginning.
    pub fn again(&mut self) {
        let counts = &self.progress.counts;
        counts
            .bytes
            .fetch_sub(std::mem::take(&mut self.came), Ordering::Relaxed);
        if let Some(length) = self.length.take() {
            counts.measured.fetch_sub(1, Ordering::Relaxed);
            counts.lengths.fetch_sub(length, Ordering::Relaxed);
        }
    }

    /// It is over.
    pub fn over(self) {
        let counts = &self.progress.counts;
        counts.over.fetch_add(1, Ordering::Relaxed);
        if self.length.is_none() {
            counts.unmeasured.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Watch for Part<'_> {
    fn length(&mut self, bytes: u64) {
        self.length = Some(bytes);
        let counts = &self.progress.counts;
        counts.measured.fetch_add(1, Ordering::Relaxed);
        counts.lengths.fetch_add(bytes, Ordering::Relaxed);
    }

    fn came(&mut self, bytes: u64) {
        self.came += bytes;
        self.progress
            .counts
            .bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_by_bytes() {
        let progress = Progress::of(4);
        let mut first = Part::of(&progress);
        assert_eq!(progress.counts.share(4), None);
        first.length(100);
        first.came(50);
        // 50 of 100 and three more like it.
        assert_eq!(progress.counts.share(4), Some(0.125));
        let mut missing = Part::of(&progress);
        missing.again();
        missing.over();
        assert_eq!(progress.counts.share(4), Some(50.0 / 300.0));
        first.again();
        assert_eq!((progress.bytes(), progress.counts.share(4)), (0, None));
        assert_eq!(left(Duration::from_secs(10), 0.25), Duration::from_secs(30));
        assert!(left(Duration::from_secs(10), 1e-300) <= Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn the_bar_is_as_its_template_says() {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} objects, {msg}");
        assert!(style.is_ok());
        assert_eq!(
            traffic(3 << 20, Duration::from_secs(2)),
            "3.00 MiB, 1.50 MiB/s"
        );
    }
}
