//! What `check` found: steps, and how they are written for people and for scripts.

use std::fmt;

use serde::Serialize;

use crate::located::{Located, Problems};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It worked.
    Ok,
    /// It works, and should not stay as it is.
    Warning,
    /// It did not, and something has to change.
    Failed,
    /// It was not tried, or did not have to work.
    Skipped,
}

/// One thing that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its name, one word.
    pub step: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen; no secret, no presigned URL.
    pub detail: String,
    /// What to change, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Step {
    /// It worked.
    pub fn ok(step: &'static str, detail: impl Into<String>) -> Self {
        Self::new(step, Outcome::Ok, detail.into(), None)
    }

    /// It works, and should not stay as it is.
    pub fn warning(step: &'static str, detail: impl Into<String>) -> Self {
        Self::new(step, Outcome::Warning, detail.into(), None)
    }

    /// It failed; `advice` says what to change.
    pub fn failed(
        step: &'static str,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(step, Outcome::Failed, detail.into(), Some(advice.into()))
    }

    /// It failed for a mistake whose message says where it stands and what would be right.
    pub fn mistake(step: &'static str, problem: &Located) -> Self {
        Self::new(step, Outcome::Failed, problem.to_string(), None)
    }

    /// It was left out, for this reason.
    pub fn skipped(step: &'static str, reason: impl Into<String>) -> Self {
        Self::new(step, Outcome::Skipped, reason.into(), None)
    }

    /// Whether something has to change.
    pub fn has_failed(&self) -> bool {
        self.outcome == Outcome::Failed
    }

    fn new(step: &'static str, outcome: Outcome, detail: String, advice: Option<String>) -> Self {
        Self {
            step,
            outcome,
            detail,
            advice,
        }
    }
}

/// Adds the steps of `order` that were not come to, each in its place: every storage's report has the same lines.
pub fn skip_rest(steps: &mut Vec<Step>, order: &[&'static str], reason: &str) {
    for step in order {
        if !steps.iter().any(|tried| tried.step == *step) {
            steps.push(Step::skipped(step, reason));
        }
    }
    steps.sort_by_key(|tried| order.iter().position(|step| *step == tried.step));
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether no step failed.
    pub ok: bool,
    configuration: Vec<Step>,
    access_list: Vec<Step>,
    /// Each storage that was tried.
    pub storages: Vec<StorageReport>,
}

/// What was found of one storage.
#[derive(Debug, Serialize)]
pub struct StorageReport {
    /// Its id.
    pub id: String,
    /// Its kind, as the configuration has it.
    pub kind: &'static str,
    /// What was tried, in order.
    pub steps: Vec<Step>,
}

impl Report {
    /// The report of a configuration that could be read.
    pub fn new(
        configuration: Vec<Step>,
        access_list: Vec<Step>,
        storages: Vec<StorageReport>,
    ) -> Self {
        let mut report = Self {
            ok: true,
            configuration,
            access_list,
            storages,
        };
        report.ok = report.failures() == 0;
        report
    }

    /// The report of one that could not.
    pub fn broken(problems: &Problems) -> Self {
        Self::new(super::mistakes(problems), vec![], vec![])
    }

    fn failures(&self) -> usize {
        let of_storages = self.storages.iter().flat_map(|storage| &storage.steps);
        let steps = self.configuration.iter().chain(&self.access_list);
        let failed = steps.chain(of_storages).filter(|step| step.has_failed());
        failed.count()
    }
}

/// For people: a heading for each part, a line for each step, the advice below it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        section(f, "configuration", &self.configuration)?;
        section(f, "access list", &self.access_list)?;
        for storage in &self.storages {
            let heading = format!("storage {} ({})", storage.id, storage.kind);
            section(f, &heading, &storage.steps)?;
        }
        match self.failures() {
            0 => writeln!(f, "all is well"),
            1 => writeln!(f, "1 step failed"),
            failures => writeln!(f, "{failures} steps failed"),
        }
    }
}

fn section(f: &mut fmt::Formatter<'_>, heading: &str, steps: &[Step]) -> fmt::Result {
    writeln!(f, "{heading}")?;
    for step in steps {
        let outcome = match step.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warn",
            Outcome::Failed => "FAIL",
            Outcome::Skipped => "skipped",
        };
        writeln!(f, "  {outcome:<7} {:<11} {}", step.step, step.detail)?;
        if let Some(advice) = &step.advice {
            writeln!(f, "{:22}-> {advice}", "")?;
        }
    }
    writeln!(f)
}
