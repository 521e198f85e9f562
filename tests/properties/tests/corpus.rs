//! The properties hold on the corpus that fuzzing has produced.

use std::fs;
use std::path::Path;

use bdr_properties::PROPERTIES;

#[test]
fn every_property_holds_on_its_corpus() {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"));
    for (name, property) in PROPERTIES {
        let files: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().collect();
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            property(&fs::read(file.unwrap().path()).unwrap());
        }
    }
}
