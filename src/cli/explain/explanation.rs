//! What `explain` found: rules and a verdict, and how they are written for people and for scripts.

use std::fmt;

use serde::Serialize;

use crate::auth::AuthError;
use crate::cli::printable;

/// One rule, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name, one word.
    pub rule: &'static str,
    /// Whether it lets the request pass.
    pub allows: bool,
    /// Why.
    pub detail: String,
}

/// Every rule, and the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The verdict.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who serves it, where it is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// The rules in the order of a request.
    pub rules: Vec<Rule>,
}

/// Where allowed media comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Served {
    /// The project that permits it.
    pub project: String,
    /// The storage.
    pub storage: String,
    /// The bucket; empty for local files.
    pub bucket: String,
    /// The key in it.
    pub key: String,
    /// How it reaches the annotator.
    pub delivery: &'static str,
}

impl Explanation {
    /// The explanation of a token that was not taken.
    pub fn unauthenticated(error: &AuthError) -> Self {
        Self {
            allowed: false,
            reason: Some(error.to_string()),
            served: None,
            rules: vec![rule("token", false, error.to_string())],
        }
    }
}

/// For people: a line for each rule, then the verdict.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Rule {
            rule,
            allows,
            detail,
        } in &self.rules
        {
            let allows = if *allows { "allows" } else { "DENIES" };
            // Names come from tokens and task data: none may steer the terminal.
            writeln!(f, "{allows}  {rule:<8}  {}", printable(detail))?;
        }
        match (&self.served, &self.reason) {
            (
                Some(Served {
                    project,
                    storage,
                    delivery,
                    ..
                }),
                _,
            ) => {
                writeln!(
                    f,
                    "allowed: through project {project}, from storage {storage}, by {delivery}"
                )
            }
            (None, reason) => writeln!(f, "denied: {}", reason.as_deref().unwrap_or("unknown")),
        }
    }
}

/// One rule.
pub fn rule(rule: &'static str, allows: bool, detail: impl Into<String>) -> Rule {
    let detail = detail.into();
    Rule {
        rule,
        allows,
        detail,
    }
}
