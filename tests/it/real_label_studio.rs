//! Lockgate in front of the real Label Studio, with real S3 storage behind it, started by `tests/label-studio`.
//!
//! One instance takes seconds to start and is changed by the cases (members leave, tasks go), so that one test walks
//! through all of them, in an order, and says every case that failed. `LOCKGATE_DIRECT=1` asks Label Studio alone, to
//! see what it answers; `LOCKGATE_CASES=table,holes` runs some of the parts; `LOCKGATE=path` tests another build.

mod answers;
mod browser;
mod holes;
mod instance;
mod readers;
mod requests;
mod session;

use instance::Instance;

/// What failed, each with the case's name.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    /// Notes a case's outcome.
    fn case(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => println!("ok: {name}"),
            Err(why) => {
                println!("FAILED: {name}: {why}");
                self.0.push(format!("{name}: {why}"));
            }
        }
    }
}

/// `Err` with what was seen, where that is not what it has to be.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted {
        return Ok(());
    }
    Err(format!("{what}: {seen:?} instead of {wanted:?}"))
}

fn is_wanted(part: &str) -> bool {
    let wanted = std::env::var("LOCKGATE_CASES").unwrap_or_default();
    wanted.is_empty() || wanted.split(',').any(|one| one == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_label_studio_behind_lockgate() {
    let Some(instance) = Instance::start().await else {
        return;
    };
    let mut failures = Failures::default();
    if is_wanted("table") {
        requests::all(&instance, &mut failures).await;
    }
    if is_wanted("browser") {
        browser::all(&instance, &mut failures).await;
    }
    if is_wanted("readers") && !instance.is_direct() {
        readers::all(&instance, &mut failures).await;
    }
    if is_wanted("holes") && !instance.is_direct() {
        holes::all(&instance, &mut failures).await;
    }
    instance.stop().await;
    assert!(
        failures.0.is_empty(),
        "{} cases failed:\n{}",
        failures.0.len(),
        failures.0.join("\n")
    );
}
