//! The table of mistakes: each an error that names file, line and key.

use super::{SMALL, load_text};

/// What is replaced in [`SMALL`], by what; the line, the key, and a word of the message.
type Mistake = (
    &'static str,
    &'static str,
    usize,
    &'static str,
    &'static str,
);

// One mistake a line reads better than eight lines each.
#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    ("listen =", "lisen =", 2, "server.lisen", "did you mean `listen`"),
    ("127.0.0.1:0", "localhost", 2, "server.listen", "not an IP address and port"),
    ("\"127.0.0.1:0\"", "8080", 2, "server.listen", "expected a string"),
    ("\"127.0.0.1:0\"", "", 2, "listen", ""),
    ("[server]", "[sever]", 1, "sever", "did you mean `server`"),
    ("[[storage]]", "[[storage]]\nid = \"l\"\nkind = \"local\"\nroot = \".\"\n[[storage]]", 15, "storage[0].root", "own files"),
    ("{ env = \"LOCKGATE_JWT_SECRET\" }", "987654", 7, "auth.jwt.hmac_secret", "must be a quoted string"),
    ("[server]", "[server]\ndrain = 30", 2, "server.drain", "\"30s\""),
    ("[server]", "[server]\ndrain = \"30 secs\"", 2, "server.drain", "one of ms, s, m, h, d"),
    ("[server]", "[server]\ndrain = \"2d\"", 2, "server.drain", "must be from"),
    ("[server]", "[server]\nadmin_listen = \"9090\"", 2, "server.admin_listen", "IP address"),
    ("[server]", "[server]\ntls = { certificate = \"tls.crt\" }", 2, "server.tls.private_key", "missing"),
    ("[server]", "[server]\ntls = { certificate = \"no.crt\", private_key = \"no.key\" }", 2, "server.tls.certificate", "no such file"),
    ("[server]", "[server]\nupstream = \"127.0.0.1\"", 2, "server.upstream", "http://"),
    ("[server]", "[server]\nupstream = \"http://127.0.0.1:8081/base\"", 2, "server.upstream", "host and port alone"),
    ("[server]", "[server]\ncors.allowed_origins = [\"*\"]", 2, "server.cors.allowed_origins[0]", "name each origin"),
    ("[server]", "[server]\ncors.allowed_origins = [\n\"https://a.example\",\n\"https://b.example/\"]", 4, "server.cors.allowed_origins[1]", "did you mean \"https://b.example\""),
    ("[server]", "[server]\ncors.allowed_origins = \"https://a.example\"", 2, "server.cors.allowed_origins", "sequence"),
    ("[server]", "[server]\nlimits.bandwidth = 50", 2, "server.limits.bandwidth", "not a size"),
    ("[server]", "[server]\nlimits.concurrent_streams = 0", 2, "server.limits.concurrent_streams", "no limit"),
    ("[server]", "[server]\nlimits.total_connections = 0", 2, "server.limits.total_connections", "nobody in"),
    ("[server]", "[server]\nlimits.total_streams = 0", 2, "server.limits.total_streams", "nobody in"),
    ("[server]", "[server]\nlimits.total_memory = \"1KiB\"", 2, "server.limits.total_memory", "1MiB"),
    ("[server]", "[server]\nlimits.requests_per_second = -1", 2, "server.limits.requests_per_second", "-1"),
    ("issuer = \"https://platform.example.com\"\n", "", 3, "auth.jwt.issuer", "is missing"),
    ("audience = \"lockgate\"", "audience = \"\"", 5, "auth.jwt.audience", "empty"),
    ("\"HS256\"", "\"none\"", 6, "auth.jwt.algorithms[0]", "`HS256`"),
    ("\"HS256\"", "", 6, "auth.jwt.algorithms", "at least one"),
    ("\"HS256\"", "\"ES256\"", 7, "auth.jwt.hmac_secret", "no algorithm"),
    ("\"HS256\"", "\"HS256\", \"RS256\"", 3, "auth.jwt.public_key", "RS256 needs"),
    ("hmac_secret = { env = \"LOCKGATE_JWT_SECRET\" }\n", "", 3, "auth.jwt.hmac_secret", "HS256 needs it"),
    ("LOCKGATE_JWT_SECRET", "NOT_SET", 7, "auth.jwt.hmac_secret", "NOT_SET is not set"),
    ("LOCKGATE_JWT_SECRET", "EMPTY", 7, "auth.jwt.hmac_secret", "empty"),
    ("env = \"LOCKGATE_JWT_SECRET\"", "file = \"no-secret\"", 7, "auth.jwt.hmac_secret", "no-secret cannot be read"),
    ("env = \"LOCKGATE_JWT_SECRET\"", "evn = \"A\"", 7, "auth.jwt.hmac_secret.evn", "did you mean `env`"),
    ("env = \"LOCKGATE_JWT_SECRET\"", "", 7, "auth.jwt.hmac_secret", "one of the two"),
    ("LOCKGATE_JWT_SECRET", "PEM", 7, "auth.jwt.hmac_secret", "PEM key, not a secret"),
    ("[access]", "public_key = { env = \"PEM\" }\n[access]", 8, "auth.jwt.public_key", "no algorithm"),
    ("[access]", "jwks_url = \"ftp://keys\"\n[access]", 8, "auth.jwt.jwks_url", "http"),
    ("[access]", "leeway = \"5m\"\n[access]", 8, "auth.jwt.leeway", "60s"),
    ("[access]", "[access]\nsource = \"postgres\"", 8, "access.postgres.url", "LOCKGATE_DATABASE_URL"),
    ("[access]", "[access]\nsource = \"postgres\"\npostgres = { url = \"mysql://u@h/d\" }", 10, "access.postgres.url", "postgres://user"),
    ("[access]", "[access]\nsource = \"postgres\"\npostgres = { url = \"postgres://u@h/d?sslmode=allow\" }", 10, "access.postgres.url", "verify-full"),
    ("[access]", "[access]\nsource = \"postgres\"\npostgres = { url = \"postgres://u@h/d\", connections = 0 }", 10, "access.postgres.connections", "from 1 to 100"),
    ("[access]", "[access]\nsource = \"postgres\"\npostgres = { url = \"postgres://u@h/d\", ca_file = \"none\" }", 10, "access.postgres.ca_file", "no such file"),
    ("[access]", "[access]\nsource = \"label-studio\"", 8, "access.label_studio.url", "--label-studio"),
    ("[access]", "[access]\nsource = \"ldap\"", 9, "access.source", "`postgres`"),
    ("[access]", "[access]\nmedia = \"any\"", 9, "access.media", "`storage`"),
    ("file = \"projects.toml\"", "", 8, "access.file", "is missing"),
    ("[delivery]", "[cache]\ndisk = { path = \"cache\", capacity = \"1MiB\" }\n[delivery]", 11, "cache.disk.capacity", "at least 64MiB"),
    ("[delivery]", "[cache]\ndisk = { path = \"cache\" }\n[delivery]", 11, "cache.disk.capacity", "is missing"),
    ("[delivery]", "[cache]\ndisk = { path = \"/dev/null\", capacity = \"1GiB\" }\n[delivery]", 11, "cache.disk.path", "no directory"),
    ("[delivery]", "[cache]\nmemory = 512\n[delivery]", 11, "cache.memory", "\"8MiB\""),
    ("[delivery]", "[cache]\nmemory = \"512M\"\n[delivery]", 11, "cache.memory", "MiB"),
    ("[delivery]", "[delivery]\nmax_range_size = \"8s\"", 11, "delivery.max_range_size", "not a size"),
    ("[delivery]", "[delivery]\ncross_origin_resource_policy = \"any\"", 11, "delivery.cross_origin_resource_policy", "same-origin"),
    ("[delivery]", "[delivery]\nallow_proxy = false", 13, "storage[0].delivery", "redirect"),
    ("[delivery]", "[delivery]\nallow_proxy = \"no\"", 11, "delivery.allow_proxy", "boolean"),
    ("[delivery]", "[log]\nlevel = \"loud\"\n[delivery]", 11, "log.level", "debug"),
    ("\"1h\"", "\"8d\"", 11, "delivery.presign_expiry", "1s to 7d"),
    ("\"1h\"", "\"500ms\"", 11, "delivery.presign_expiry", "1s to 7d"),
    ("[[storage]]", "[storage]", 12, "storage", "is written [[storage]]"),
    ("id = \"recordings\"\n", "", 12, "storage[0].id", "is missing"),
    ("kind = \"s3\"\n", "", 12, "storage[0].kind", "is missing"),
    ("kind = \"s3\"", "kind = \"minio\"", 14, "storage[0].kind", "`local`"),
    ("kind = \"s3\"", "kind = \"local\"", 15, "storage[0].bucket", "unknown key `bucket`"),
    ("bucket = \"acme-recordings\"\n", "", 12, "storage[0].bucket", "is missing"),
    ("bucket = \"acme-recordings\"", "buket = \"a\"", 15, "storage[0].buket", "did you mean `bucket`"),
    ("acme-recordings", "acme/recordings", 15, "storage[0].bucket", "prefix"),
    ("kind = \"s3\"", "kind = \"s3\"\nprefix = \"/data\"", 15, "storage[0].prefix", "slash"),
    ("kind = \"s3\"", "kind = \"s3\"\npattern = \"(\"", 15, "storage[0].pattern", "regular expression"),
    ("kind = \"s3\"", "kind = \"s3\"\npresign_expiry = \"8d\"", 15, "storage[0].presign_expiry", "1s to 7d"),
    ("kind = \"s3\"", "kind = \"s3\"\nhedge = \"p50\"", 15, "storage[0].hedge", "neither \"p95\" nor"),
    ("kind = \"s3\"", "kind = \"s3\"\nhedge = \"0\"", 15, "storage[0].hedge", "1ms to 5s"),
    ("[[storage]]", "[[storage]]\nid = \"l\"\nkind = \"local\"\nroot = \"m\"\nhedge = \"p95\"\n[[storage]]", 16, "storage[0].hedge", "over HTTP"),
    ("kind = \"s3\"", "kind = \"s3\"\ndelivery = \"direct\"", 15, "storage[0].delivery", "`redirect`"),
    ("kind = \"s3\"", "kind = \"s3\"\nendpoint = \"127.0.0.1:9000\"", 15, "storage[0].endpoint", "http://"),
    ("kind = \"s3\"", "kind = \"s3\"\naccess_key_id = \"AKIA\"", 12, "storage[0].secret_access_key", "is missing"),
    ("kind = \"s3\"", "kind = \"s3\"\nexternal_id = \"7\"", 12, "storage[0].role_arn", "is missing"),
    ("kind = \"s3\"", "kind = \"s3\"\nsts_endpoint = \"https://sts.test\"", 12, "storage[0].role_arn", "is missing"),
    ("kind = \"s3\"", "kind = \"s3\"\nrole_arn = \"r\"\nrole_duration = \"1m\"", 16, "storage[0].role_duration", "15 minutes to 12 hours"),
    ("kind = \"s3\"", "kind = \"s3\"\nrole_arn = \"r\"\nrole_session_name = \"a b\"", 16, "storage[0].role_session_name", "2 to 64"),
    ("kind = \"s3\"", "kind = \"s3\"\nrole_arn = \"\"", 15, "storage[0].role_arn", "is empty"),
    ("kind = \"s3\"", "kind = \"s3\"\nregion = \"\"", 15, "storage[0].region", "is empty"),
    ("kind = \"s3\"", "kind = \"s3\"\nprofile = \"\"", 15, "storage[0].profile", "is empty"),
    ("kind = \"s3\"", "kind = \"s3\"\nrole_arn = \"r\"\nexternal_id = \"\"", 16, "storage[0].external_id", "is empty"),
    ("[[storage]]", "[[storage]]\nid = \"l\"\nkind = \"local\"\nroot = \"\"\n[[storage]]", 15, "storage[0].root", "is empty"),
    ("kind = \"s3\"", "kind = \"s3\"\nca_file = \"no.pem\"", 15, "storage[0].ca_file", "no such file"),
    ("[[storage]]", "[[storage]]\nid = \"recordings\"\nkind = \"local\"\nroot = \"m\"\n[[storage]]", 17, "storage[1].id", "two storages"),
    ("[[storage]]", "[[storage]]\nid = \"l\"\nkind = \"local\"\nroot = \"m\"\ndelivery = \"redirect\"\n[[storage]]", 16, "storage[0].delivery", "no URL"),
    ("[[storage]]", "[[storage]]\nid = \"d\"\nkind = \"databricks\"\nhost = \"https://h\"\ntoken = { env = \"DATABRICKS_TOKEN\" }\nvolume = \"a/b/c\"\ndelivery = \"redirect\"\n[[storage]]", 18, "storage[0].delivery", "proxy only"),
    ("id = \"recordings\"", "id = \"recordings\"\nid = \"again\"", 14, "id", "duplicate"),
];

#[test]
fn a_mistake_is_an_error_that_names_file_line_and_key() {
    let variables = [("PEM", "-----BEGIN PUBLIC KEY-----\nx"), ("EMPTY", "")];
    for (written, mistake, line, key, word) in MISTAKES {
        assert!(SMALL.contains(written), "{written}");
        let text = SMALL.replacen(written, mistake, 1);
        let problems = load_text(&text, &variables).expect_err(mistake);
        let found = problems.0.iter().any(|problem| {
            problem.file.as_deref() == Some("etc/lockgate.toml")
                && (problem.line, problem.key.as_str()) == (Some(*line), *key)
                && problem.message.contains(word)
        });
        assert!(
            found,
            "{mistake}\nexpected {line}: {key}: {word}\n{problems}"
        );
    }
}
