//! Media that Label Studio leaves unresolved in the task JSON that passes through: rewritten to its media route.
//!
//! Label Studio (1.23.2: `tasks/models.py` `resolve_uri`, `io_storages/base_models.py`) resolves one storage per field
//! and one URI per string, of the storages that it knows; `dbx://`, the second URI of an HTML field, and a list whose
//! URIs lie in different buckets stay as they are. What is rewritten here is what the access check takes for named by
//! the task (`authority::mentions`), in a task's `data` alone; every other byte passes as it came, and what is no JSON
//! passes from there on. Decides no access: the route that it writes asks.

mod body;
mod lexer;
mod literal;
mod rewrite;

pub use body::{Pieces, TaskJsonBody, ask_for_plain_json, rewrite};
pub use rewrite::{MAX_HELD, TaskJson};

use http::Method;
use percent_encoding::percent_decode_str;

/// Where the tasks stand in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The answer is a task: `{"id": 1, "data": {…}, …}`.
    Task,
    /// The answer is a page of tasks, `{"total": 1, "tasks": […]}`, or an array of them.
    List,
}

/// Whether the answer to this request carries tasks whose URIs Label Studio resolves, and how.
///
/// The routes are those of `tasks/urls.py`, `data_manager/urls.py` and `projects/urls.py`, each with and without its
/// slash; `/api/dm/tasks` is what earlier releases had.
pub fn applies(method: &Method, path: &str, query: Option<&str>) -> Option<Shape> {
    let path = path.strip_prefix("/api/")?;
    let mut segments = path.strip_suffix('/').unwrap_or(path).split('/');
    let segments: [Option<&str>; 4] = std::array::from_fn(|_| segments.next());
    let is_read = method == Method::GET || method == Method::HEAD;
    match segments {
        [Some("tasks"), None, ..] | [Some("dm"), Some("tasks"), None, _] => {
            (is_read && resolves(query)).then_some(Shape::List)
        }
        [Some("tasks"), Some(id), None, _] | [Some("dm"), Some("tasks"), Some(id), None] => {
            (is_read && is_id(id) && resolves(query)).then_some(Shape::Task)
        }
        // The next task is resolved whatever the query says.
        [Some("projects"), Some(id), Some("next"), None] => {
            (is_read && is_id(id)).then_some(Shape::Task)
        }
        [Some("dm"), Some("actions"), None, _] => {
            let is_next = last_value(query, "id").as_deref() == Some("next_task");
            (method == Method::POST && is_next).then_some(Shape::Task)
        }
        _ => None,
    }
}

fn is_id(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit())
}

/// `bool_from_request(request.GET, 'resolve_uri', True)`, whose other words are a 400.
fn resolves(query: Option<&str>) -> bool {
    let said = last_value(query, "resolve_uri").map(|value| value.to_ascii_lowercase());
    !matches!(said.as_deref(), Some("false" | "no" | "not" | "off" | "0"))
}

/// Django's reading: of several values the last.
fn last_value(query: Option<&str>, name: &str) -> Option<String> {
    let fields = query?.split('&').rev();
    let mut named = fields.filter_map(|field| field.split_once('=').filter(|(n, _)| *n == name));
    let (_, value) = named.next()?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests;
