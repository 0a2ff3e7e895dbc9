//! The audit log, written to files.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::telemetry::access_log::tests::unread_pipe;

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
        request_id: RequestId::new(0x123),
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

#[tokio::test]
async fn a_disk_that_stands_still_holds_up_neither_a_reopening_nor_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let _unread = unread_pipe(&directory.path().join("audit.log"));
    let log = AuditLog::start(Some(&config(&directory)), &Metrics::new().unwrap()).unwrap();
    for _ in 0..WAITING_LINES + 1000 {
        log.denied("not_in_task", || deed("anna", "s3://media/a.mp4"));
    }
    log.reopen();
    let ended = tokio::time::timeout(Duration::from_secs(20), log.close()).await;
    assert!(ended.is_ok());
}

/// A directory in which files were put aside before, and a log of 1000 bytes a file.
fn with_files_put_aside() -> (TempDir, AuditConfig) {
    let directory = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        let name = format!("audit.log.{number}");
        fs::write(directory.path().join(name), format!("{{\"n\":{number}}}\n")).unwrap();
    }
    let config = AuditConfig {
        max_size: 1000,
        ..config(&directory)
    };
    (directory, config)
}

#[tokio::test]
async fn a_log_that_was_moved_away_comes_back_to_its_name_and_pushes_no_file_out() {
    let (directory, config) = with_files_put_aside();
    let at = |name: &str| directory.path().join(name);
    let metrics = Metrics::new().unwrap();
    let log = AuditLog::start(Some(&config), &metrics).unwrap();
    fs::rename(at("audit.log"), at("moved.log")).unwrap();
    for number in 0..6 {
        let object = format!("s3://media/{number}");
        log.denied("not_in_task", || deed("anna", &object));
    }
    log.close().await;
    let (moved, new) = (
        lines(&directory, "moved.log"),
        lines(&directory, "audit.log"),
    );
    assert_eq!(moved.len() + new.len(), 6);
    assert!(!moved.is_empty() && !new.is_empty());
    for number in 1..=3 {
        assert_eq!(
            lines(&directory, &format!("audit.log.{number}"))[0]["n"],
            number
        );
    }
    assert_eq!(value(&metrics, "lockgate_audit_log_writable "), 1);
}

#[tokio::test]
async fn while_its_name_is_taken_the_log_grows_on_and_no_file_is_pushed_out() {
    let (directory, config) = with_files_put_aside();
    let at = |name: &str| directory.path().join(name);
    let metrics = Metrics::new().unwrap();
    let log = AuditLog::start(Some(&config), &metrics).unwrap();
    fs::rename(at("audit.log"), at("moved.log")).unwrap();
    fs::create_dir(at("audit.log")).unwrap();
    for _ in 0..30 {
        log.denied("not_in_task", || deed("anna", "s3://media/a.mp4"));
    }
    log.close().await;
    assert_eq!(lines(&directory, "moved.log").len(), 30);
    for number in 1..=3 {
        assert_eq!(
            lines(&directory, &format!("audit.log.{number}"))[0]["n"],
            number
        );
    }
    assert_eq!(value(&metrics, "lockgate_audit_log_dropped_total "), 0);
}

#[tokio::test]
async fn nobody_known_fills_no_log_and_what_is_left_out_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let log = AuditLog::start(Some(&config(&directory)), &Metrics::new().unwrap()).unwrap();
    let anonymous = || Deed {
        subject: None,
        ..deed("", "s3://media/a.mp4")
    };
    for _ in 0..500 {
        log.denied("unauthenticated", anonymous);
        log.denied("not_member", || deed("eve", "s3://media/a.mp4"));
    }
    log.close().await;
    let lines = lines(&directory, "audit.log");
    let by = |subject: Value| {
        let denied = lines.iter().filter(|line| line["event"] == "denied");
        denied.filter(|line| line["subject"] == subject).count()
    };
    assert_eq!(by("eve".into()), 500);
    let told = by(Value::Null) as u64;
    let omitted = lines.iter().filter(|line| line["event"] == "omitted");
    let omitted: u64 = omitted.map(|line| line["count"].as_u64().unwrap()).sum();
    assert!((60..=120).contains(&told), "{told}");
    assert_eq!(told + omitted, 500);
}

#[tokio::test]
async fn of_what_nobody_known_asks_for_the_beginning_is_written_and_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let log = AuditLog::start(Some(&config(&directory)), &Metrics::new().unwrap()).unwrap();
    // 15 bytes, and then letters of two: the 512th byte is the middle of one.
    let (long, short) = (
        format!("s3://media/a/b/{}", "\u{e9}".repeat(4000)),
        "s3://media/a",
    );
    for object in [&long, short] {
        let of = |subject: Option<&str>| Deed {
            subject: subject.map(Subject::from),
            ..deed("", object)
        };
        log.denied("unauthenticated", || of(None));
        log.denied("not_member", || of(Some("eve")));
    }
    log.close().await;
    let lines = lines(&directory, "audit.log");
    let written = |index: usize| lines[index]["object"].as_str().unwrap();
    assert_eq!(written(0).len(), 511);
    assert!(long.starts_with(written(0)));
    assert_eq!(lines[0]["object_cut_from"], long.len());
    // Whoever is known is told of in full.
    assert_eq!(written(1), long);
    assert_eq!((written(2), written(3)), (short, short));
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.get("object_cut_from").is_none())
    );
}
