//! Common ZIP readers unpack a ZIP of hostile rows: every file arrives, and no file lands outside
//! the target folder. The test skips a reader that is not installed, unless `CI` is set.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bdr_properties::hostile;
use bdr_properties::names::{Made, check_rows};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tempfile::TempDir;

use crate::process::archives_open_everywhere::run;

/// Number of archives to unpack.
const ARCHIVES: usize = 8;

/// Unpacks a ZIP into a folder; returns `None` if the reader is not installed.
type Unpack = fn(&Path, &Path) -> Option<String>;

const READERS: [(&str, Unpack); 5] = [
    ("Info-ZIP", |zip, into| run(Command::new("unzip").arg("-q").arg(zip).arg("-d").arg(into))),
    ("7-Zip", |zip, into| {
        let into = format!("-o{}", into.display());
        let unpack = |name: &&str| run(Command::new(name).args(["x", "-y", &into]).arg(zip));
        ["7z", "7zz"].iter().find_map(unpack)
    }),
    ("libarchive", |zip, into| run(Command::new("bsdtar").arg("-xf").arg(zip).arg("-C").arg(into))),
    ("Python", |zip, into| {
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(zip).arg(into))
    }),
    ("Java", |zip, into| run(Command::new("jar").arg("xf").arg(zip).current_dir(into))),
];

#[test]
fn every_reader_unpacks_all_entries_into_the_target_folder_only() {
    let config =
        Config { rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let request = (hostile::text(), hostile::rows());
    let mut artworks = 0;
    for _ in 0..ARCHIVES {
        let (handle, rows) = request.new_tree(&mut runner).unwrap().current();
        let made = check_rows(&handle, &rows);
        artworks += made.entries.len() - 1;
        let read: Vec<_> =
            READERS.into_iter().filter(|(_, unpack)| unpacks(&made, *unpack)).collect();
        let all = read.len() == READERS.len();
        assert!(all || std::env::var_os("CI").is_none(), "CI lacks a reader");
    }
    assert!(artworks > ARCHIVES, "only {artworks} rows produced an entry");
}

/// Unpacks the ZIP and compares the files. Returns whether the reader is installed.
fn unpacks(made: &Made, unpack: Unpack) -> bool {
    let around = TempDir::new().unwrap();
    let (zip, into) = (around.path().join("a.zip"), around.path().join("into"));
    fs::write(&zip, &made.zip).unwrap();
    fs::create_dir(&into).unwrap();
    if unpack(&zip, &into).is_none() {
        return false;
    }
    let files = |folder: &Path| {
        let mut found = BTreeMap::new();
        collect(folder, folder, &mut found);
        found
    };
    let expected: BTreeMap<PathBuf, Vec<u8>> =
        made.entries.iter().map(|(name, content)| (name.into(), content.clone())).collect();
    assert_eq!(files(&into), expected);
    // No file was written outside the target folder.
    fs::remove_dir_all(&into).unwrap();
    assert_eq!(files(around.path()).into_keys().collect::<Vec<_>>(), [PathBuf::from("a.zip")]);
    true
}

/// Collects all files below a folder by their relative paths.
fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
}
