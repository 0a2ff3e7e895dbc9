//! The audit log, written to files.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

fn config(directory: &TempDir) -> AuditConfig {
    AuditConfig {
        path: directory.path().join("audit.log"),
        window: Duration::from_secs(3600),
        max_size: 1 << 20,
        keep: 3,
    }
}

fn deed(subject: &str, object: &str) -> Deed {
    Deed {
        request_id: RequestId::from("0123"),
        subject: Some(subject.into()),
        project: None,
        task: Some("7".into()),
        storage: Some("media".into()),
        object: Some(object.to_owned()),
        status: 200,
    }
}

fn lines(directory: &TempDir, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn value(metrics: &Metrics, name: &str) -> u64 {
    let text = metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn an_object_is_audited_once_for_an_annotator_and_window_and_a_denial_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let metrics = Metrics::new().unwrap();
    let log = AuditLog::start(Some(&config(&directory)), &metrics).unwrap();
    for _ in 0..3 {
        log.shown(|| deed("anna", "s3://media/a.mp4"));
        log.shown(|| deed("bo", "s3://media/a.mp4"));
        log.shown(|| deed("anna", "s3://media/b.mp4"));
        log.denied("not_member", || deed("eve", "s3://media/a.mp4"));
    }
    log.configuration("lockgate.toml".to_owned(), Some("00ff".to_owned()), true);
    log.close().await;
    let lines = lines(&directory, "audit.log");
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((count("shown"), count("denied"), lines.len()), (3, 3, 7));
    let denied = lines.iter().find(|line| line["event"] == "denied").unwrap();
    assert_eq!(denied["reason"], "not_member");
    assert_eq!(denied["subject"], "eve");
    assert_eq!(denied["object"], "s3://media/a.mp4");
    assert_eq!(lines[6]["sha256"], "00ff");
    assert!(lines[6]["time"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn an_object_is_audited_again_in_the_next_window() {
    let directory = tempfile::tempdir().unwrap();
    let config = AuditConfig {
        window: Duration::ZERO,
        ..config(&directory)
    };
    let log = AuditLog::start(Some(&config), &Metrics::new().unwrap()).unwrap();
    log.shown(|| deed("anna", "s3://media/a.mp4"));
    log.shown(|| deed("anna", "s3://media/a.mp4"));
    log.close().await;
    assert_eq!(lines(&directory, "audit.log").len(), 2);
}

#[tokio::test]
async fn what_a_client_chose_cannot_begin_a_line_or_colour_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let log = AuditLog::start(Some(&config(&directory)), &Metrics::new().unwrap()).unwrap();
    let hostile = "s3://media/a\r\n{\"event\":\"shown\"}\n\u{1b}[2J\u{85}\u{2028}\0\"";
    log.denied("not_in_task", || deed("anna", hostile));
    log.close().await;
    let text = fs::read_to_string(directory.path().join("audit.log")).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(
        !text.trim_end_matches('\n').contains(char::is_control),
        "{text:?}"
    );
    assert!(!text.contains('\u{2028}'), "{text:?}");
    assert_eq!(lines(&directory, "audit.log")[0]["object"], hostile);
}

#[tokio::test]
async fn a_full_file_is_put_aside_no_line_is_lost_and_the_oldest_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = AuditConfig {
        max_size: 1000,
        ..config(&directory)
    };
    let metrics = Metrics::new().unwrap();
    for round in 0..2 {
        // The second start goes on where the first one ended.
        let log = AuditLog::start(Some(&config), &metrics).unwrap();
        for number in 0..5 {
            let object = format!("s3://media/{round}/{number}");
            log.denied("not_in_task", || deed("anna", &object));
        }
        log.close().await;
    }
    let names = ["audit.log.3", "audit.log.2", "audit.log.1", "audit.log"];
    let all: Vec<Value> = names
        .iter()
        .flat_map(|name| lines(&directory, name))
        .collect();
    assert_eq!(all.len(), 10);
    let objects: Vec<&str> = all
        .iter()
        .filter_map(|line| line["object"].as_str())
        .collect();
    assert!(objects.is_sorted(), "{objects:?}");
    for name in names {
        let length = fs::metadata(directory.path().join(name)).map_or(0, |file| file.len());
        assert!(length <= 1000, "{name}: {length}");
    }
    config.keep = 1;
    let log = AuditLog::start(Some(&config), &metrics).unwrap();
    for _ in 0..20 {
        log.denied("not_in_task", || deed("anna", "s3://media/z"));
    }
    log.close().await;
    assert!(!lines(&directory, "audit.log").is_empty());
    assert_eq!(value(&metrics, "lockgate_audit_log_writable "), 1);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_said_and_what_is_lost_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("audit.log")).unwrap();
    let metrics = Metrics::new().unwrap();
    let log = AuditLog::start(Some(&config(&directory)), &metrics).unwrap();
    assert_eq!(value(&metrics, "lockgate_audit_log_writable "), 1);
    let long = "k".repeat(8000);
    for _ in 0..100 {
        log.denied("not_in_task", || deed("anna", &long));
    }
    log.close().await;
    assert_eq!(value(&metrics, "lockgate_audit_log_writable "), 0);
    // The buffer took the first of them.
    let dropped = value(&metrics, "lockgate_audit_log_dropped_total ");
    assert!((50..100).contains(&dropped), "{dropped}");
    log.denied("not_in_task", || deed("anna", "after its end"));
    assert_eq!(
        value(&metrics, "lockgate_audit_log_dropped_total "),
        dropped + 1
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_named() {
    let config = AuditConfig {
        path: "/no/such/directory/audit.log".into(),
        ..config(&tempfile::tempdir().unwrap())
    };
    let error = AuditLog::start(Some(&config), &Metrics::new().unwrap()).unwrap_err();
    assert!(error.to_string().contains("/no/such/directory/audit.log"));
}
