//! The policies of a role, as far as the template's go: they allow, and name every action, and may
//! deny some to the function's code, so that Lambda alone has them. What goes beyond is an error
//! here, so that nothing is overlooked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::need::Need;

/// One action on one pattern of resources under one value of each condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The action.
    pub action: String,
    /// An ARN, or the beginning of one and a `*`.
    pub resource: String,
    /// Condition keys, and what they must equal.
    pub conditions: BTreeMap<String, String>,
    /// Whether it is for Lambda itself, which acts with the function's role, and denied to what the
    /// function's code calls.
    pub denied_to_code: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Document {
    #[serde(rename = "Version")]
    _version: String,
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Statement {
    effect: Effect,
    action: OneOrMany,
    resource: OneOrMany,
    #[serde(default)]
    condition: Condition,
}

#[derive(Deserialize, PartialEq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Condition {
    #[serde(default)]
    string_equals: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    null: BTreeMap<String, String>,
}

impl Condition {
    /// Whether the request comes from a function's code: only then there is such a key.
    fn is_code(&self) -> bool {
        let present = BTreeMap::from([("lambda:SourceFunctionArn".into(), "false".into())]);
        self.string_equals.is_empty() && self.null == present
    }

    /// Each choice of one value for every key.
    fn choices(self) -> Vec<BTreeMap<String, String>> {
        assert!(self.null.is_empty(), "nothing is allowed for want of a key");
        self.string_equals.into_iter().fold(vec![BTreeMap::new()], |choices, (key, values)| {
            let values = values.into_vec();
            let with = |choice: &BTreeMap<_, _>, value: &String| {
                let mut choice = choice.clone();
                choice.insert(key.clone(), value.clone());
                choice
            };
            choices.iter().flat_map(|c| values.iter().map(move |v| with(c, v))).collect()
        })
    }
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// What a policy document grants.
///
/// # Panics
/// When it holds what the template's policies do not: denials but to the function's code, other
/// conditions than `StringEquals`, wildcards in actions or within ARNs.
#[must_use]
pub fn grants(document: Value) -> Vec<Grant> {
    let document: Document = serde_json::from_value(document).expect("a policy of the known form");
    let (denied, allowed): (Vec<_>, Vec<_>) =
        document.statement.into_iter().partition(|statement| statement.effect == Effect::Deny);
    let mut denied_to_code = BTreeSet::new();
    for Statement { action, resource, condition, .. } in denied {
        assert!(condition.is_code(), "what is denied is denied to the function's code alone");
        assert_eq!(resource.into_vec(), ["*"], "it is denied on everything");
        denied_to_code.extend(action.into_vec());
    }
    let mut grants = Vec::new();
    for Statement { action, resource, condition, .. } in allowed {
        let (resources, choices) = (resource.into_vec(), condition.choices());
        for action in action.into_vec() {
            assert!(!action.contains(['*', '?']), "{action} is no exact action");
            let denied_to_code = denied_to_code.contains(&action);
            for resource in &resources {
                if !denied_to_code {
                    assert_narrow(resource);
                }
                grants.extend(choices.iter().map(|conditions| Grant {
                    action: action.clone(),
                    resource: resource.clone(),
                    conditions: conditions.clone(),
                    denied_to_code,
                }));
            }
        }
    }
    grants
}

/// An ARN, or all that begins like this up to a separator.
fn assert_narrow(resource: &str) {
    let exact = resource.strip_suffix('*').unwrap_or(resource);
    assert!(!exact.contains(['*', '?']), "{resource} has a wildcard within");
    assert!(exact.ends_with(['/', ':']) || exact == resource, "{resource} ends in mid-name");
}

impl Grant {
    /// Whether this grants what a call needs.
    #[must_use]
    pub fn allows(&self, need: &Need) -> bool {
        let named = match self.resource.strip_suffix('*') {
            Some(beginning) => need.resource.starts_with(beginning),
            None => need.resource == self.resource,
        };
        let met = |(key, value): (&String, &String)| {
            need.conditions.get(key.as_str()).is_some_and(|actual| actual == value)
        };
        let met = self.conditions.iter().all(met);
        !self.denied_to_code && self.action == need.action && named && met
    }
}
