//! Comparison of what was expected with what was found.

use std::fmt::Debug;

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::console::Console;

/// The checks made so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    made: usize,
    good: Vec<String>,
    failures: Vec<String>,
}

impl Checks {
    pub(crate) fn all_hold(&self) -> bool {
        self.failures.is_empty() && self.made > 0
    }

    /// Checks that `actual` is what was `expected`.
    pub(crate) fn equal<T: PartialEq + Debug>(&mut self, what: &str, expected: T, actual: T) {
        self.holds(what, expected == actual, expected, actual);
    }

    /// Checks what is not a matter of equality; `expected` describes it.
    pub(crate) fn holds(
        &mut self,
        what: &str,
        holds: bool,
        expected: impl Debug,
        actual: impl Debug,
    ) {
        self.made += 1;
        if !holds {
            self.failures
                .push(format!("{what}\n    expected {expected:?}\n    got      {actual:?}"));
        }
    }

    /// Checks two JSON values, and names every place where they differ. Each `created_at` may be
    /// another form of the same time.
    pub(crate) fn same_json(&mut self, what: &str, expected: &Value, actual: &Value) {
        self.made += 1;
        compare(what, expected, actual, &mut self.failures);
    }

    /// Sums up a group of checks; the summary is shown when all of them hold.
    pub(crate) fn group(&mut self, summary: &str, checks: impl FnOnce(&mut Self)) {
        let before = self.failures.len();
        checks(self);
        if self.failures.len() == before {
            self.good.push(summary.to_owned());
        }
    }

    pub(crate) fn report(&self, console: &Console) {
        for summary in &self.good {
            console.line(&format!("  ✓ {summary}"));
        }
        for failure in &self.failures {
            console.line(&format!("  ✗ {failure}"));
        }
        let made = self.made;
        match self.failures.len() {
            0 => console.line(&format!("All {made} checks hold.")),
            failed => console.line(&format!("{failed} of {made} checks failed.")),
        }
    }
}

fn compare(place: &str, expected: &Value, actual: &Value, differences: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(left), Value::Object(right)) => {
            let missing = Value::from("(no such member)");
            let added = right.keys().filter(|name| !left.contains_key(*name));
            for name in left.keys().chain(added) {
                let [left, right] = [left, right].map(|object| object.get(name));
                let [left, right] = [left, right].map(|member| member.unwrap_or(&missing));
                compare(&format!("{place} /{name}"), left, right, differences);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{place} /{index}"), left, right, differences);
            }
        }
        _ if expected == actual => {}
        _ if place.ends_with(" /created_at")
            && time(expected).is_some_and(|expected| time(actual) == Some(expected)) => {}
        _ => differences.push(format!("{place}\n    expected {expected}\n    got      {actual}")),
    }
}

/// Reads a time in the form of RFC 3339.
pub(crate) fn time(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()
}

/// Removes a member of an object and returns it; null if there is none.
pub(crate) fn take(object: &mut Value, name: &str) -> Value {
    object.as_object_mut().and_then(|members| members.remove(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_named_with_both_values() {
        let mut checks = Checks::default();
        checks.same_json(
            "a.json",
            &json!({"same": 1, "list": [{"x": 1}, {"x": 2}], "gone": true}),
            &json!({"same": 1, "list": [{"x": 1}, {"x": 3}], "new": null}),
        );
        checks.failures.sort();
        assert_eq!(
            checks.failures,
            [
                "a.json /gone\n    expected true\n    got      \"(no such member)\"",
                "a.json /list /1 /x\n    expected 2\n    got      3",
                "a.json /new\n    expected \"(no such member)\"\n    got      null",
            ]
        );
        assert!(!checks.all_hold());
    }

    #[test]
    fn only_created_at_may_have_another_form() {
        let same = |name: &str, actual: &str| {
            let mut checks = Checks::default();
            let expected = json!({name: "2024-05-01T10:00:00Z"});
            checks.same_json("a.json", &expected, &json!({name: actual}));
            checks.all_hold()
        };
        assert!(same("created_at", "2024-05-01T12:00:00+02:00"));
        assert!(!same("created_at", "2024-05-01T10:00:01Z"));
        assert!(!same("created_at", "soon"));
        assert!(!same("title", "2024-05-01T12:00:00+02:00"));
    }

    #[test]
    fn a_group_is_summed_up_only_when_all_of_it_holds() {
        let mut checks = Checks::default();
        checks.group("good", |checks| checks.equal("one", 1, 1));
        checks.group("bad", |checks| checks.equal("two", 2, 3));
        assert_eq!(checks.good, ["good"]);
        assert_eq!(checks.failures, ["two\n    expected 2\n    got      3"]);
    }

    #[test]
    fn no_check_at_all_is_no_success() {
        assert!(!Checks::default().all_hold());
    }
}
