//! Redis: the ACL user that reading values needs.
//!
//! Follows Redis' "Access control lists". The password is the operator's to choose, and stands nowhere here.

use super::{Content, Part, Wanted};
use crate::backend::config::RedisConfig;

pub(super) fn parts(redis: &RedisConfig, wanted: &Wanted<'_>) -> Vec<Part> {
    let user = redis.username.as_deref().unwrap_or("lockgate");
    let list = if wanted.list { " +scan +strlen" } else { "" };
    let select = if redis.db == 0 { "" } else { " +select" };
    // Patterns of keys are glob-style, and the whole rule is one word.
    let keys = match wanted.prefix.as_str() {
        prefix if prefix.contains([' ', '"', '\'', '*', '?', '[', ']', '\\']) => "*".to_owned(),
        prefix => format!("{prefix}*"),
    };
    vec![Part {
        name: "acl",
        purpose: "run in redis-cli, with a password of your own for PASSWORD; without +eval +get \
                  values above 8 MiB are not served"
            .into(),
        content: Content::Commands(format!(
            "ACL SETUSER {user} on >PASSWORD resetkeys ~{keys} -@all +getrange +exists +eval +get{list}{select}"
        )),
    }]
}
