//! Limits, one annotator against another.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use super::*;

fn limits(
    requests_per_second: Option<u32>,
    concurrent_streams: Option<u32>,
    bandwidth: Option<u64>,
) -> Limits<Subject> {
    let config = LimitsConfig {
        requests_per_second,
        concurrent_streams,
        bandwidth,
    };
    Limits::new(Whose::Annotator, &config)
}

#[test]
fn past_the_rate_one_annotator_is_refused_and_another_is_not() {
    let limits = limits(Some(3), None, None);
    let (anna, bo) = (Subject::from("anna"), Subject::from("bo"));
    let refused = (0..100)
        .find_map(|_| limits.check_request(&anna).err())
        .unwrap();
    assert_eq!(refused.seconds(), 1);
    assert!(limits.check_request(&bo).is_ok());
}

#[test]
fn past_the_streams_a_body_is_refused_until_one_ends() {
    let limits = limits(None, Some(2), None);
    let (anna, bo) = (Subject::from("anna"), Subject::from("bo"));
    let first = limits.begin_stream(&anna).unwrap();
    let _second = limits.begin_stream(&anna).unwrap();
    assert_eq!(
        limits.begin_stream(&anna).unwrap_err(),
        RetryAfter {
            after: BODY_RETRY,
            policy: limits.policy(Quotas::Streams(2)),
        }
    );
    assert!(limits.begin_stream(&bo).is_ok());
    drop(first);
    assert!(limits.begin_stream(&anna).is_ok());
}

#[test]
fn bytes_past_the_bandwidth_wait_and_bodies_of_one_annotator_share_it() {
    // A byte a second, so that no pause of the machine comes near what is measured.
    let limits = limits(None, None, Some(1));
    let anna = Subject::from("anna");
    let (first, second) = (
        limits.begin_stream(&anna).unwrap(),
        limits.begin_stream(&anna).unwrap(),
    );
    assert_eq!(first.delay(1000), None);
    let wait = second.delay(1000).unwrap().as_secs();
    assert!((900..1000).contains(&wait), "{wait}");
    let wait = first.delay(1000).unwrap().as_secs();
    assert!((1900..2000).contains(&wait), "{wait}");
    let other = limits.begin_stream(&Subject::from("bo")).unwrap();
    assert_eq!(other.delay(1000), None);
}

#[test]
fn small_bodies_one_after_another_do_not_pass_the_bandwidth() {
    let limits = limits(None, None, Some(1));
    let anna = Subject::from("anna");
    let waits = (0..4).filter_map(|_| limits.begin_stream(&anna).unwrap().delay(1000));
    assert!(waits.max().unwrap() > Duration::from_secs(2900));
}

#[tokio::test]
async fn without_limits_everything_passes_at_once() {
    let limits = limits(None, None, None);
    let anna = Subject::from("anna");
    for _ in 0..1000 {
        limits.check_request(&anna).unwrap();
    }
    let guard = limits.begin_stream(&anna).unwrap();
    assert!(guard.delay(u64::MAX).is_none());
    assert!(lock(&limits.takers).by_key.is_empty());
}

#[test]
fn a_hundred_thousand_annotators_are_forgotten_when_they_end() {
    let limits = limits(Some(u32::MAX), Some(1), Some(1 << 20));
    for number in 0..100_000 {
        let subject = Subject::new(number.to_string());
        limits.check_request(&subject).unwrap();
        let _ = limits.begin_stream(&subject).unwrap().delay(1);
    }
    assert!(limits.requests.as_ref().unwrap().len() <= 2 * CHECKS_BETWEEN_SWEEPS);
    assert!(lock(&limits.takers).by_key.len() <= 2 * LEAST_SWEPT);
}

#[test]
fn zero_and_huge_numbers_do_not_panic() {
    let limits = limits(Some(0), Some(0), Some(0));
    let anna = Subject::from("anna");
    assert!(limits.check_request(&anna).is_ok());
    let guard = limits.begin_stream(&anna).unwrap();
    assert!(guard.delay(u64::MAX).is_none());
    assert!(guard.delay(u64::MAX).is_some());
    assert_eq!(
        RetryAfter {
            after: Duration::MAX,
            policy: limits.policy(Quotas::Streams(1)),
        }
        .seconds(),
        u64::MAX
    );
}

#[test]
fn a_refusal_names_its_limit_in_structured_fields() {
    let limits = limits(Some(3), Some(1), None);
    let anna = Subject::from("anna");
    let refused = (0..100)
        .find_map(|_| limits.check_request(&anna).err())
        .unwrap();
    let shown = refused.fields().map(Option::unwrap);
    assert_eq!(shown[0], r#""annotator-requests";q=3;w=1"#);
    assert_eq!(shown[1], r#""annotator-requests";r=0;t=1"#);
    let _running = limits.begin_stream(&anna).unwrap();
    let refused = limits.begin_stream(&anna).unwrap_err();
    let shown = refused.fields().map(Option::unwrap);
    assert_eq!(
        shown[0],
        r#""annotator-streams";q=1;qu="concurrent-requests""#
    );
    assert_eq!(shown[1], r#""annotator-streams";r=0;t=1"#);
}
