//! Hostile rows: written by an attacker, or by accident.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};

use crate::names::PostRow;

/// Texts that some file system, ZIP reader or terminal does not treat as a plain name.
const TRAPS: [&str; 30] = [
    "",
    ".",
    "..",
    "../x",
    "..\\x",
    "/etc/passwd",
    "C:\\x",
    "C:",
    "\\\\host\\share",
    "a/b",
    "a\\b",
    "~",
    "-rf",
    "a.",
    "a ",
    " a",
    "a\0.png",
    "a\u{1b}[2J",
    "a\nb",
    "\u{202e}gnp.exe",
    "\u{feff}a",
    "con",
    "NUL",
    "Com1",
    "COM\u{b9}",
    "lpt9",
    "CONIN$",
    "conout$",
    "con.x",
    "a:stream",
];

/// Returns the configuration of the tests with random input: the same cases in every run.
#[must_use]
pub fn config() -> Config {
    Config {
        cases: 300,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Returns hostile texts.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(TRAPS.to_vec()).prop_map(str::to_owned),
        vec(any::<char>(), 0..20).prop_map(String::from_iter),
        (select(TRAPS.to_vec()), select(TRAPS.to_vec())).prop_map(|(a, b)| format!("{a}{b}")),
        (any::<char>(), 1..400_usize).prop_map(|(c, count)| String::from_iter(vec![c; count])),
    ]
}

/// Returns values for a public id, with short ones among them that differ only in case.
fn sqid() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        4 => "[aAbBkK1_]{1,2}".prop_map(Some),
        // The name that a duplicate id gets.
        1 => "[aA]_[0-9]".prop_map(Some),
        1 => "(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])".prop_map(Some),
        1 => "[a-zA-Z0-9]{60,66}".prop_map(Some),
        2 => text().prop_map(Some),
    ]
}

/// Returns values for a format.
fn file_format() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        4 => select(vec!["png", "PNG", ".png", "bmp", "gif", "k", "\u{212a}"])
            .prop_map(|format| Some(format.to_owned())),
        1 => "[.a-zA-Z0-9]{0,12}".prop_map(Some),
        1 => "(?i)\\.?(exe|com|bat|scr|lnk|js|vbs|ps1|jar|app|desktop|html|svg)".prop_map(Some),
        2 => text().prop_map(Some),
    ]
}

/// Returns the posts of a request, each with a different id.
pub fn rows() -> impl Strategy<Value = Vec<PostRow>> {
    vec((sqid(), file_format(), text()), 0..24).prop_map(|rows| {
        let with_ids = (-2..).zip(rows);
        let row = |(id, (sqid, file_format, title))| PostRow { id, sqid, file_format, title };
        with_ids.map(row).collect()
    })
}
