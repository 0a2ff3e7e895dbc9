//! Limits of projects, TLS's further keys, the sandbox, the admin listener's names, the audit log.

use super::*;

#[test]
fn what_is_left_out_is_safe() {
    let config = config(SMALL, &[]);
    let server = &config.server;
    assert!(server.sandbox && server.sandbox_paths.is_empty() && server.admin_hosts.is_empty());
    assert!(server.trusted_proxies.0.is_empty());
    assert_eq!(server.hsts, None, "without TLS it would shut browsers out");
    assert_eq!(server.project_limits, Default::default());
    assert_eq!(config.log.audit, None);
}

#[test]
fn an_audit_log_has_its_defaults() {
    let audit = config(&format!("{SMALL}[log]\naudit = 'audit.log'\n"), &[]);
    let audit = audit.log.audit.expect("an audit log");
    assert_eq!(audit.path, Path::new("etc/audit.log"));
    assert_eq!(audit.window, Duration::from_secs(3600));
    assert_eq!((audit.max_size, audit.keep), (100 << 20, 10));
}

#[test]
fn trusted_proxies_are_networks_or_addresses() {
    let text = SMALL.replace(
        "[server]\n",
        "[server]\ntrusted_proxies = ['10.0.0.0/8', '::1', 'fd00::/8']\n",
    );
    let networks = config(&text, &[]).server.trusted_proxies.0;
    let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128", "fd00::/8"]);
}

#[test]
fn each_mistake_is_named() {
    let server = |line: &str| SMALL.replace("[server]\n", &format!("[server]\n{line}\n"));
    for (text, key) in [
        (
            server("limits = { project = { bandwidth = '0' } }"),
            "server.limits.project.bandwidth",
        ),
        (server("limits = { project = { burst = 1 } }"), "burst"),
        (
            server("trusted_proxies = ['10.0.0.0/8', 'nginx']"),
            "server.trusted_proxies[1]",
        ),
        (
            server(
                "tls = { certificate = 'a', private_key = 'b', client_certificate = 'optional' }",
            ),
            "server.tls.client_certificate",
        ),
        (
            server("tls = { certificate = 'a', private_key = 'b', hsts = '9999d' }"),
            "server.tls.hsts",
        ),
        (
            format!("{SMALL}[log]\naudit = 'a'\naudit_max_size = '1KiB'\n"),
            "log.audit_max_size",
        ),
        (
            format!("{SMALL}[log]\naudit = 'a'\naudit_keep = 0\n"),
            "log.audit_keep",
        ),
    ] {
        let problems = load_text(&text, &[]).expect_err(key).to_string();
        assert!(problems.contains(key), "{key} in {problems}");
    }
}
