//! Local files: no spelling of a path leads out of the root. What the file system itself can do (links, loops, fifos,
//! directories, `/proc`) is in `local_files.rs`.

use std::os::unix::fs::symlink;

use crate::support::disk::Disk;
use crate::support::shop::Shop;
use crate::support::{raw, token, uri};

/// As the request's target has them, so encoded.
const CLIMBING: &[&str] = &[
    "../secret.txt",
    "..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "%2e%2e%2fsecret.txt",
    "%2E%2E%2Fsecret.txt",
    ".%2e/secret.txt",
    "dir/../../secret.txt",
    "dir/..%2f..%2fsecret.txt",
    "dir%2f..%2f..%2fsecret.txt",
    "./../secret.txt",
    "..//secret.txt",
    "....//secret.txt",
    "..././secret.txt",
    "..;/secret.txt",
    "..%00/secret.txt",
    "..%5csecret.txt",
    "..\\secret.txt",
    "%252e%252e%252fsecret.txt",
    "..%252fsecret.txt",
    "%25252e%25252e%25252fsecret.txt",
    "%c0%ae%c0%ae%c0%afsecret.txt",
    "..%c0%afsecret.txt",
    "..%e0%80%afsecret.txt",
    "%uff0e%uff0e%u2215secret.txt",
    "%ef%bc%8e%ef%bc%8e%ef%bc%8fsecret.txt",
    "%e2%80%a5/secret.txt",
    "secret.txt%00.png",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "/proc/self/environ",
    "..%2f..%2f..%2f..%2f..%2f..%2f..%2fproc%2fself%2fenviron",
    "~/secret.txt",
    "$HOME/secret.txt",
    "*",
    "",
    ".",
    "..",
];

#[tokio::test]
async fn no_spelling_of_a_local_path_leads_out_of_its_root() {
    let disk = Disk::new();
    disk.put("dir/a.txt", b"inside".to_vec()).await;
    let gateway = disk.gateway().await;
    let token = token::of("anna");
    let inside = gateway.get("/data/local-files/?d=dir/a.txt").answer().await;
    assert_eq!(inside.text(), "inside");
    for path in CLIMBING {
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        for target in [
            format!("/data/local-files/?d={path}"),
            format!("/data/local-files?d={path}"),
            format!("/data/local-files/{path}"),
            format!("/data/local-files/..%2f{path}?d={path}"),
            uri::project("1", &format!("local://media/{path}")),
            uri::project("1", &format!("local://media/{decoded}")),
            uri::project("1", &format!("/data/local-files/?d={path}")),
        ] {
            let answer = raw::Raw::answer(gateway.address(), &target, &token).await;
            let status = raw::status(&answer);
            assert!(matches!(status, 400 | 403 | 404), "{target}: {status}");
            let text = String::from_utf8_lossy(&answer).into_owned();
            for secret in ["a secret", "root:", "PATH="] {
                assert!(!text.contains(secret), "{target}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_loop_of_links_and_a_device_end_at_once() {
    let disk = Disk::new();
    symlink("b", disk.at("a")).expect("a link");
    symlink("a", disk.at("b")).expect("a link");
    symlink(".", disk.at("here")).expect("a link");
    symlink("/dev/zero", disk.at("zero")).expect("a link");
    symlink("/proc/self/fd/0", disk.at("stdin")).expect("a link");
    disk.put("real.txt", b"inside".to_vec()).await;
    let gateway = disk.gateway().await;
    let deep = "here/".repeat(60) + "real.txt";
    for key in ["a", "b/x", "zero", "stdin", deep.as_str()] {
        let answer = gateway
            .get(uri::project("1", &disk.uri(key)))
            .answer()
            .await;
        assert_eq!(answer.status, 404, "{key}");
    }
    let short = gateway.get(uri::project("1", &disk.uri("here/here/real.txt")));
    assert_eq!(short.answer().await.text(), "inside");
}
