//! What was found to be as it should, and what was not.

use std::fmt::Debug;

use serde_json::Value;

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
    pub(crate) fn equal<T: PartialEq + Debug>(&mut self, what: &str, expected: &T, actual: &T) {
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

    /// Checks two JSON values, and names every place where they differ.
    pub(crate) fn same_json(&mut self, what: &str, expected: &Value, actual: &Value) {
        self.made += 1;
        compare(what, expected, actual, &mut self.failures);
    }

    /// Sums up a group of checks in words; shown when all of them held.
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
            let added = right.keys().filter(|name| !left.contains_key(*name));
            for name in left.keys().chain(added) {
                let side = |object: &serde_json::Map<String, Value>| {
                    object.get(name).cloned().unwrap_or(Value::String("(no such member)".into()))
                };
                compare(&format!("{place} /{name}"), &side(left), &side(right), differences);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{place} /{index}"), left, right, differences);
            }
        }
        _ if expected == actual => {}
        _ => differences.push(format!("{place}\n    expected {expected}\n    got      {actual}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_named_with_what_was_expected_and_what_came() {
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
    fn a_group_is_praised_only_when_all_of_it_holds() {
        let mut checks = Checks::default();
        checks.group("good", |checks| checks.equal("one", &1, &1));
        checks.group("bad", |checks| checks.equal("two", &2, &3));
        assert_eq!(checks.good, ["good"]);
        assert_eq!(checks.failures, ["two\n    expected 2\n    got      3"]);
    }

    #[test]
    fn no_check_at_all_is_no_success() {
        assert!(!Checks::default().all_hold());
    }
}
