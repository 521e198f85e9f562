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
    assert_eq!(links.len(), TEMPLATE.matches("Type: AWS::CloudWatch::Alarm").count());
    for link in links {
        assert!(sections.contains(link), "no section of {} is #{link}", OPERATIONS.path);
    }
}

#[test]
fn the_table_of_alarms_lists_every_alarm() {
    let alarms: BTreeSet<_> = TEMPLATE
        .lines()
        .collect::<Vec<_>>()
        .windows(2)
        .filter(|pair| pair[1] == "    Type: AWS::CloudWatch::Alarm")
        .map(|pair| pair[0].trim().trim_end_matches(':'))
        .collect();
    let listed = OPERATIONS
        .text
        .split('`')
        .filter(|name| name.ends_with("Alarm") && name.chars().all(char::is_alphanumeric));
    assert_eq!(listed.collect::<BTreeSet<_>>(), alarms);
}
