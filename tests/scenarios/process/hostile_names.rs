//! A ZIP of hostile rows, unpacked by the readers that people have: every file of it arrives, and
//! nothing lands beside the folder it is unpacked into. A reader that is not installed is passed
//! over, except where `CI` is set.

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

/// Archives unpacked.
const ARCHIVES: usize = 8;

/// Unpacks a ZIP into a folder; `None` when the reader is not installed.
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
fn readers_unpack_all_of_it_and_only_into_its_folder() {
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
    assert!(artworks > ARCHIVES, "hardly any row made an entry");
}

/// Unpacks and looks; says whether the reader is installed.
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
    // And nothing beside it.
    fs::remove_dir_all(&into).unwrap();
    assert_eq!(files(around.path()).into_keys().collect::<Vec<_>>(), [PathBuf::from("a.zip")]);
    true
}

/// All files below a folder, by their paths in it.
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
