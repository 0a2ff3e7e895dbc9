//! The table of odd keys: each is served by every store that can have it; the rest is refused, and here is why.

use crate::support::shop::Kind;

/// What a key has that a provider cannot name, and the status that its URIs are answered with there.
pub struct Lack {
    pub why: &'static str,
    pub of: &'static [(Kind, u16)],
}

const NONE: &Lack = &Lack {
    why: "every store has it",
    of: &[],
};

/// Contract §2: refused, not looked for.
const EMPTY: &Lack = &Lack {
    why: "a component of a file's path is not empty",
    of: &[(Kind::Local, 400), (Kind::Databricks, 400)],
};

const BEGINS_EMPTY: &Lack = &Lack {
    why: "a file's path does not begin with a slash, and Garage drops those that a key begins with",
    of: &[
        (Kind::Local, 400),
        (Kind::Databricks, 400),
        (Kind::Garage, 404),
    ],
};

const SLASH: &Lack = &Lack {
    why: "no file has this name, and to Garage it is the bucket",
    of: &[
        (Kind::Local, 400),
        (Kind::Databricks, 400),
        (Kind::Garage, 502),
    ],
};

/// Azure resolves them as a browser would (RFC 3986 §5.2.4), so that they would name another blob.
const DOTS: &Lack = &Lack {
    why: "`.` and `..` are ways in a file system, and Azure folds them",
    of: &[
        (Kind::Local, 400),
        (Kind::Databricks, 400),
        (Kind::Azure, 404),
    ],
};

const NUL: &Lack = &Lack {
    why: "a NUL ends a file's name, and no blob has one",
    of: &[
        (Kind::Local, 400),
        (Kind::Databricks, 400),
        (Kind::Azure, 404),
    ],
};

/// "Naming and referencing containers, blobs, and metadata": no control characters. What is never there is not found.
const CONTROL: &Lack = &Lack {
    why: "no name of a blob has control characters",
    of: &[(Kind::Azure, 404)],
};

const BACKSLASH: &Lack = &Lack {
    why: "Azure takes a backslash for a slash",
    of: &[(Kind::Azure, 404)],
};

const LONG_NAME: &Lack = &Lack {
    why: "a component of a Linux path has at most 255 bytes",
    of: &[(Kind::Local, 404)],
};

const WRITTEN: &[(&str, &Lack)] = &[
    ("plain.mp4", NONE),
    ("x", NONE),
    ("0", NONE),
    // Blanks.
    ("with space.mp4", NONE),
    ("two  spaces.mp4", NONE),
    (" begins and ends with a space ", NONE),
    (" ", NONE),
    ("tab\there.mp4", CONTROL),
    ("line\nbreak.mp4", CONTROL),
    ("carriage\r\nreturn.mp4", CONTROL),
    ("no\u{a0}break.mp4", NONE),
    ("\u{1}control\u{1f}\u{7f}.mp4", CONTROL),
    ("nul\0.mp4", NUL),
    // What means something in a URL, in a query, or once decoded.
    ("a+b.mp4", NONE),
    ("a%2Bb.mp4", NONE),
    ("a%2bb.mp4", NONE),
    ("a%20b.mp4", NONE),
    ("a%2Fb.mp4", NONE),
    ("a%252Fb.mp4", NONE),
    ("100%.mp4", NONE),
    ("%", NONE),
    ("%41.mp4", NONE),
    ("%zz%1.mp4", NONE),
    ("%2e%2e/up.mp4", NONE),
    ("a%00b.mp4", NONE),
    ("a#b.mp4", NONE),
    ("#", NONE),
    ("a?b=c.mp4", NONE),
    ("?versionId=1", NONE),
    ("a&d=b.mp4", NONE),
    ("a=b&uploads.mp4", NONE),
    ("d=x&fileuri=y.mp4", NONE),
    ("https://example.com:80/a.mp4", EMPTY),
    ("s3:/other/a.mp4", NONE),
    ("user@host:80/a.mp4", NONE),
    ("semi;colon,comma:colon@at=is!bang$dollar*star.mp4", NONE),
    ("(1) [2] {3}.mp4", NONE),
    ("~tilde_under-dash.mp4", NONE),
    ("pipe|caret^.mp4", NONE),
    ("quote\"s' and `ticks`.mp4", NONE),
    ("<angle>&amp;.mp4", NONE),
    ("]]><!--.mp4", NONE),
    ("glob*?[a-z].mp4", NONE),
    ("-begins-with-a-dash.mp4", NONE),
    ("back\\slash.mp4", BACKSLASH),
    ("a\\..\\b.mp4", BACKSLASH),
    // Slashes and dots.
    ("deep/er/and/deeper.mp4", NONE),
    ("deep/er/and/shallower.mp4", NONE),
    ("deep/er.mp4", NONE),
    ("deep.mp4", NONE),
    ("a//b.mp4", EMPTY),
    ("/begins with a slash.mp4", BEGINS_EMPTY),
    ("//two.mp4", BEGINS_EMPTY),
    ("/", SLASH),
    ("ends with a slash/", EMPTY),
    ("a/../b.mp4", DOTS),
    ("a/./b.mp4", DOTS),
    ("../a.mp4", DOTS),
    ("./a.mp4", DOTS),
    ("a/..", DOTS),
    ("a/.", DOTS),
    ("...", NONE),
    (".hidden", NONE),
    ("a/..b/c..mp4", NONE),
    ("2024/begins with a number.mp4", NONE),
    ("images:7:front.png", NONE),
    // Letters: what looks alike is not the same.
    ("CaseMatters.mp4", NONE),
    ("casematters.mp4", NONE),
    ("ünïcödé/日本語/🎬.mp4", NONE),
    ("e\u{301}.mp4", NONE),
    ("\u{e9}.mp4", NONE),
    ("עברית ‏العربية.mp4", NONE),
    ("\u{feff}mark.mp4", NONE),
    ("zero\u{200b}width.mp4", NONE),
    ("replaced\u{fffd}.mp4", NONE),
    ("\u{2215}slash\u{2044}like.mp4", NONE),
];

/// All of them; the last are of 1,024 bytes, a key's limit in S3 and Google Cloud Storage.
pub fn table() -> Vec<(String, &'static Lack)> {
    let written = WRITTEN.iter().map(|(key, lack)| ((*key).to_owned(), *lack));
    let component = format!("{}/", "é".repeat(63));
    let longest = [
        (format!("{}.mp4", "é".repeat(510)), LONG_NAME),
        (
            format!("{}{}.mp4", component.repeat(8), "x".repeat(4)),
            NONE,
        ),
    ];
    written.chain(longest).collect()
}

/// The keys that a store of this kind can have.
pub fn of(kind: Kind) -> Vec<String> {
    let all = table().into_iter();
    all.filter(|(_, lack)| !lack.of.iter().any(|(lacking, _)| *lacking == kind))
        .map(|(key, _)| key)
        .collect()
}

/// The keys that it cannot have: the status of their URIs, and why.
pub fn refused(kind: Kind) -> Vec<(String, u16, &'static str)> {
    let refusal = |(key, lack): (String, &'static Lack)| {
        let (_, status) = lack.of.iter().find(|(lacking, _)| *lacking == kind)?;
        Some((key, *status, lack.why))
    };
    table().into_iter().filter_map(refusal).collect()
}

#[test]
fn the_table_has_sixty_keys_and_none_twice() {
    let mut keys: Vec<_> = table().into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    let written = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), written);
    assert!(written >= 60, "{written}");
    assert!(keys.iter().any(|key| key.len() == 1024));
}
