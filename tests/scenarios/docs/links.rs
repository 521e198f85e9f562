//! Every relative link of the documentation leads to a file, and every anchor to a heading.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::pages::ROOT;

/// The lines of a page outside fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// The anchors of a page's headings, as GitHub forms them.
pub(super) fn anchors(page: &str) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let headings = prose(page).filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let count = counts.entry(anchor.clone()).or_default();
            *count += 1;
            if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
        })
        .collect()
}

/// The targets of a page's links and images, without those in code spans.
fn targets(page: &str) -> Vec<String> {
    let lines = prose(page).filter(|line| !line.starts_with("    "));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let text: Vec<_> = text.split("](").collect();
    let rest = text.iter().skip(1);
    rest.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The Markdown files in a directory and, if `deep`, below it.
fn markdown(directory: &Path, deep: bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && deep {
            markdown(&path, deep, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// What is wrong with a link of the page at `path`.
fn problem(path: &Path, page: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
    let linked = path.parent().unwrap().join(file);
    if !file.is_empty() && !linked.exists() {
        return Some("file not found");
    }
    let anchor = anchor?;
    let is_found = if file.is_empty() {
        anchors(page).contains(anchor)
    } else {
        anchors(&std::fs::read_to_string(linked).unwrap()).contains(anchor)
    };
    (!is_found).then_some("heading not found")
}

#[test]
fn every_relative_link_and_anchor_resolves() {
    let root = Path::new(ROOT);
    let mut pages = vec![root.join("infra/sql/README.md")];
    markdown(root, false, &mut pages);
    markdown(&root.join("docs"), true, &mut pages);
    assert!(pages.len() > 15, "{pages:?}");
    let (mut links, mut broken) = (0, vec![]);
    for path in pages {
        let page = std::fs::read_to_string(&path).unwrap();
        for target in targets(&page) {
            links += 1;
            if let Some(problem) = problem(&path, &page, &target) {
                broken.push(format!("{}: {target}: {problem}", path.display()));
            }
        }
    }
    assert!(links > 60, "{links}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn broken_links_are_detected() {
    let path = Path::new(ROOT).join("README.md");
    let page = "# A `b` & c\n## Twice\n## Twice\n";
    let found = |target| problem(&path, page, target);
    for good in ["https://x/y", "#a-b--c", "#twice-1", "docs/api.md", "docs/api.md#local-stack"] {
        assert_eq!(found(good), None, "{good}");
    }
    assert_eq!(found("docs/none.md"), Some("file not found"));
    assert_eq!(found("#twice-2"), Some("heading not found"));
    assert_eq!(found("docs/api.md#none"), Some("heading not found"));
    assert_eq!(targets("[a](b) ![c](d#e)\n```\n[f](g)\n```\n"), ["b", "d#e"]);
}
