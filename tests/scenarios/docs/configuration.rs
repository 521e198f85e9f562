//! `docs/configuration.md` describes the parameters of the template, and no others.

use std::collections::BTreeSet;

use super::pages::CONFIGURATION;

const TEMPLATE: &str = include_str!("../../../template.yaml");

/// The names in backticks that begin the table rows between two headings.
fn described(from: &str, to: &str) -> BTreeSet<&'static str> {
    let (_, section) = CONFIGURATION.text.split_once(from).unwrap();
    let (section, _) = section.split_once(to).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').unwrap().0).collect()
}

#[test]
fn the_page_describes_exactly_the_templates_parameters() {
    let (_, parameters) = TEMPLATE.split_once("\nParameters:\n").unwrap();
    let (parameters, _) = parameters.split_once("\nRules:\n").unwrap();
    let names = parameters.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let names: BTreeSet<_> = names.filter(|name| !name.starts_with([' ', '#'])).collect();
    assert!(names.contains("DatabaseSecretArn"), "{names:?}");
    assert_eq!(described("\n## Template parameters\n", "\n## Environment variables\n"), names);
}
