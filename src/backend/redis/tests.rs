//! What needs no server. Redis itself is tried in `tests/it/values.rs`.

use super::*;

#[test]
fn a_prefix_is_matched_literally() {
    for (text, pattern) in [
        ("plain/", "plain/"),
        ("a*b?c", "a\\*b\\?c"),
        ("[x]^\\", "\\[x\\]\\^\\\\"),
        ("é:日", "é:日"),
    ] {
        assert_eq!(literal(text), pattern);
    }
}

#[test]
fn an_answer_of_another_shape_breaks_the_protocol() {
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    for answer in [
        vec![],
        vec![Value::Int(1)],
        vec![Value::Int(-1), text("ab"), text("")],
        vec![Value::Int(1), text("not a tag"), text("")],
        vec![text("1"), text("ab"), text("")],
    ] {
        assert!(matches!(parse(answer), Err(BackendError::Protocol(_))));
    }
    assert!(parse(vec![Value::Int(3), text("ab"), text("xyz")]).is_ok());
}

#[test]
fn the_hash_is_the_one_that_redis_takes() {
    // `redis.sha1hex('abc')`, FIPS 180's own example.
    assert_eq!(sha1(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
}
