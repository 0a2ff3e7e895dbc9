use super::*;
use crate::telemetry::Metrics;
use crate::telemetry::record::tests::record;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

fn traces(sample_ratio: f64) -> (Traces, Ended) {
    Traces::new(sample_ratio, Metrics::new().unwrap().spans_dropped())
}

#[test]
fn without_a_collector_nothing_is_recorded_and_the_trace_goes_on_as_before() {
    let traces = Traces::off();
    let context = traces.take_up(Some(&format!("{CALLER}-01")));
    assert!(context.header_value().ends_with("-01"));
    assert!(traces.begin(context, "a", Kind::Server).open.is_none());
    assert!(traces.take_up(None).header_value().ends_with("-00"));
}

#[test]
fn whoever_begins_a_trace_decides_whether_it_is_recorded() {
    for (sample_ratio, flags, recorded) in [(0.0, "01", true), (1.0, "00", false)] {
        let (traces, _ended) = traces(sample_ratio);
        let context = traces.take_up(Some(&format!("{CALLER}-{flags}")));
        let span = traces.begin(context, "a", Kind::Server);
        assert_eq!(span.open.is_some(), recorded, "{flags}");
        assert!(context.header_value().ends_with(&format!("-{flags}")));
    }
}

#[test]
fn of_the_traces_that_begin_here_a_part_is_recorded() {
    for (sample_ratio, least, most) in [(0.0, 0, 0), (1.0, 2000, 2000), (0.25, 350, 650)] {
        let (traces, _ended) = traces(sample_ratio);
        let sampled = (0..2000).filter(|_| traces.take_up(None).is_sampled());
        let sampled = sampled.count();
        assert!(
            (least..=most).contains(&sampled),
            "{sample_ratio}: {sampled}"
        );
    }
}

#[test]
fn steps_are_children_of_the_request_and_of_one_another() {
    let (traces, mut ended) = traces(1.0);
    let request = traces.take_up(Some(&format!("{CALLER}-01")));
    let span = traces.begin(request, "request", Kind::Server);
    let open = traces.step(&request, "open", Kind::Internal);
    drop(traces.step(&open.context(), "fetch", Kind::Client));
    assert!(open.end(Err::<(), _>(())).is_err());
    drop(span);
    let [fetch, open, request] = [(); 3].map(|()| ended.spans.try_recv().unwrap());
    assert_eq!(fetch.parent_span_id, open.span_id);
    assert_eq!(open.parent_span_id, request.span_id);
    assert_eq!(
        request.parent_span_id,
        0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()
    );
    assert_eq!(request.flags & IS_REMOTE, IS_REMOTE);
    assert_eq!(open.flags & (IS_REMOTE | HAS_IS_REMOTE), HAS_IS_REMOTE);
    assert!(open.status.is_some() && fetch.status.is_none());
    assert!(fetch.end_time_unix_nano >= fetch.start_time_unix_nano);
    assert!(fetch.start_time_unix_nano >= request.start_time_unix_nano);
}

#[test]
fn a_request_is_described_without_its_person_and_its_media() {
    let (traces, mut ended) = traces(1.0);
    let mut span = traces.begin(traces.take_up(None), "request", Kind::Server);
    span.describe(&record("anna"));
    drop(span);
    let span = ended.spans.try_recv().unwrap();
    assert_eq!(span.name, "GET /tasks/{task}/*");
    assert!(span.parent_span_id.is_empty() && span.status.is_none());
    let shown = format!("{span:?}");
    assert!(shown.contains("http.response.status_code") && !shown.contains("anna"));
}

#[test]
fn what_the_queue_has_no_place_for_is_dropped_and_counted() {
    let (traces, ended) = traces(1.0);
    for _ in 0..WAITING_SPANS + 7 {
        drop(traces.begin(traces.take_up(None), "a", Kind::Server));
    }
    assert_eq!(ended.dropped.get(), 7);
}
