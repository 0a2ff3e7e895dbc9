//! The corpus that libFuzzer left, run without libFuzzer.

use std::path::Path;

use super::TARGETS;

#[test]
fn every_target_holds_over_its_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let inputs = std::fs::read_dir(corpora.join(name)).expect(name);
        let mut count = 0;
        for input in inputs {
            let path = input.expect(name).path();
            // The harness shows it where the target panics.
            println!("{}", path.display());
            target(&std::fs::read(&path).expect(name));
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}

#[test]
fn every_target_is_one_of_libfuzzers_too() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    for (name, _) in TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("path = {path:?}")), "{name}");
        let text = std::fs::read_to_string(fuzz.join(path)).expect(name);
        assert!(
            text.contains(&format!("lockgate::fuzzing::{name}(")),
            "{name}"
        );
    }
}
