//! The policies of a role, as far as the template's go: they allow, and name every action. What
//! goes beyond is an error here, so that nothing is overlooked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::need::Need;

/// One action on one pattern of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The action.
    pub action: String,
    /// An ARN, or the beginning of one and a `*`.
    pub resource: String,
    /// Condition keys, and what they must equal.
    pub conditions: BTreeMap<String, String>,
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

#[derive(Deserialize)]
enum Effect {
    Allow,
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
    string_equals: BTreeMap<String, String>,
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
/// When it holds what the template's policies do not: denials, other conditions than
/// `StringEquals`, wildcards in actions or within ARNs.
#[must_use]
pub fn grants(document: Value) -> Vec<Grant> {
    let document: Document = serde_json::from_value(document).expect("a policy of the known form");
    let mut grants = Vec::new();
    for Statement { effect: Effect::Allow, action, resource, condition } in document.statement {
        let (actions, resources) = (action.into_vec(), resource.into_vec());
        for action in actions {
            assert!(!action.contains(['*', '?']), "{action} is no exact action");
            for resource in &resources {
                let exact = resource.strip_suffix('*').unwrap_or(resource);
                assert!(!exact.contains(['*', '?']), "{resource} has a wildcard within");
                assert!(
                    exact.ends_with(['/', ':']) || exact == resource,
                    "{resource} ends in mid-name"
                );
                grants.push(Grant {
                    action: action.clone(),
                    resource: resource.clone(),
                    conditions: condition.string_equals.clone(),
                });
            }
        }
    }
    grants
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
        self.action == need.action && named && self.conditions.iter().all(met)
    }
}
