//! The corpus of the fuzzer (`tests/fuzz/corpus`) without one: what made a parser fail once is put there and stays mended.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "ends the test at what is wrong")]

#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "to the fuzzer it is a library")]
mod properties;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use properties::TARGETS;

fn entries(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_input_has_the_properties_of_its_target() {
    for (target, property) in TARGETS {
        let inputs = entries(&format!("corpus/{target}"));
        assert!(!inputs.is_empty(), "{target} has no inputs");
        for input in inputs {
            // The last one that is named is the one that fails.
            println!("{}", input.display());
            property(&fs::read(input).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_dictionary() {
    let names = |folder| -> BTreeSet<String> {
        entries(folder).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let targets = TARGETS.map(|(target, _)| target.to_owned()).into();
    for folder in ["fuzz_targets", "corpus", "dictionaries"] {
        assert_eq!(names(folder), targets, "{folder}");
    }
}
