//! The modules' structure, as ARCHITECTURE.md describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const CRATES: [&str; 9] = [
    "functions/cleanup-expired-bdrs",
    "functions/presign-bdr-download",
    "functions/run-canary",
    "functions/process-bdr-job",
    "infra/bdrctl",
    "infra/local-stack",
    "shared",
    "tests",
    "tests/bench",
];

/// Returns the Rust files below `path`, or `path` itself.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let is_rust = |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|it| it == "rs");
    entries.filter(is_rust).flat_map(|path| files(&path)).collect()
}

/// Returns the modules of a folder, each with its files.
fn modules(folder: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut modules: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_module = path.is_dir() || path.extension().is_some_and(|it| it == "rs");
        if is_module && !["lib", "main", "mod", "bin"].contains(&&*name) {
            modules.entry(name).or_default().extend(files(&path));
        }
    }
    modules
}

/// Returns whether a file names the module at `crate::path`, or, from directly beside it, `super::name`.
fn uses(file: &Path, path: &str, name: &str, folder: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap();
    let is_beside = file.parent() == Some(folder);
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
    let code = code.join("\n");
    // Names in braces: `use crate::{a, b::C};`.
    let nested = |prefix: &str| {
        code.match_indices(&format!("{prefix}::{{")).any(|(at, _)| {
            let list = code[at..].split(';').next().unwrap_or_default();
            let list = list.split_once('{').map_or("", |(_, list)| list);
            list.split([',', '{', '}']).any(|item| item.trim().split("::").next() == Some(name))
        })
    };
    let parent = path.rsplit_once("::").map_or("crate", |(parent, _)| parent);
    code.contains(&format!("{path}::"))
        || nested(parent)
        || (is_beside && (code.contains(&format!("super::{name}::")) || nested("super")))
}

/// Checks that the modules of `folder` and of the folders in it import one another in no circle.
fn check(folder: &Path, path: &str) {
    let modules = modules(folder);
    let mut above: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, files) in &modules {
        let imports = modules.keys().filter(|other| {
            let other_path = format!("{path}::{other}");
            *other != name && files.iter().any(|file| uses(file, &other_path, other, folder))
        });
        above.insert(name, imports.map(String::as_str).collect());
    }
    // Modules that import none of the others are removed until none is left.
    while let Some(name) = above.iter().find(|(_, it)| it.is_empty()).map(|(name, _)| *name) {
        above.remove(name);
        for imports in above.values_mut() {
            imports.remove(name);
        }
    }
    assert!(above.is_empty(), "a circle of imports in {}: {above:?}", folder.display());
    for name in modules.keys() {
        let inner = folder.join(name);
        if inner.is_dir() {
            check(&inner, &format!("{path}::{name}"));
        }
    }
}

#[test]
fn sibling_modules_import_one_another_in_no_circle() {
    for name in CRATES {
        check(&Path::new(ROOT).join(name).join("src"), "crate");
    }
}
