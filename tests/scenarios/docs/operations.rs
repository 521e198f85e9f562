//! `docs/operations.md` and the alarms of the template.

use std::collections::BTreeSet;

use super::links::anchors;
use super::pages::OPERATIONS;

const TEMPLATE: &str = include_str!("../../../template.yaml");

#[test]
fn every_alarm_links_to_a_section_of_the_page() {
    let default = format!("\n  RunbookUrl:\n    Type: String\n    Default: {}\n", OPERATIONS.path);
    assert!(TEMPLATE.contains(&default), "RunbookUrl does not default to {}", OPERATIONS.path);
    let sections = anchors(OPERATIONS.text);
    let links: Vec<_> = TEMPLATE
        .split("${RunbookUrl}#")
        .skip(1)
        .map(|rest| rest.split(char::is_whitespace).next().unwrap())
        .collect();
    assert_eq!(links.len(), alarms().len());
    for link in links {
        assert!(sections.contains(link), "no section of {} is #{link}", OPERATIONS.path);
    }
}

/// Returns the names of the alarms in the template, composite alarms included.
fn alarms() -> BTreeSet<&'static str> {
    let types = ["    Type: AWS::CloudWatch::Alarm", "    Type: AWS::CloudWatch::CompositeAlarm"];
    let lines: Vec<_> = TEMPLATE.lines().collect();
    let alarms = lines.windows(2).filter(|pair| types.contains(&pair[1]));
    alarms.map(|pair| pair[0].trim().trim_end_matches(':')).collect()
}

#[test]
fn the_table_of_alarms_lists_every_alarm() {
    let listed = OPERATIONS
        .text
        .split('`')
        .filter(|name| name.ends_with("Alarm") && name.chars().all(char::is_alphanumeric));
    assert_eq!(listed.collect::<BTreeSet<_>>(), alarms());
}
