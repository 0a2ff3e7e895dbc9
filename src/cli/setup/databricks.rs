//! Databricks: the grants on catalog, schema and volume that reading files needs.
//!
//! Follows "Unity Catalog privileges and securable objects" (READ VOLUME).

use super::{Content, Part, Wanted};

pub(super) fn parts(volume: &str, wanted: &Wanted<'_>) -> Vec<Part> {
    let names: Vec<_> = volume.split('/').map(quoted).collect();
    let principal = quoted(wanted.principal("APPLICATION_ID"));
    let grant = |privilege: &str, kind: &str, depth: usize| {
        let name = names[..depth.min(names.len())].join(".");
        format!("GRANT {privilege} ON {kind} {name} TO {principal};")
    };
    let lines = [
        grant("USE CATALOG", "CATALOG", 1),
        grant("USE SCHEMA", "SCHEMA", 2),
        grant("READ VOLUME", "VOLUME", 3),
    ];
    vec![Part {
        name: "grants",
        purpose: "run in a SQL editor, as the volume's owner; a service principal is named by its application id".into(),
        content: Content::Commands(lines.join("\n")),
    }]
}

/// A name as Databricks SQL takes it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
