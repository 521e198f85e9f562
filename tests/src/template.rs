//! `template.yaml` as CloudFormation evaluates it before it creates anything: rules, conditions and
//! intrinsic functions. What only exists afterwards, such as the ARN of a bucket, stays a reference.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::scenario::Scenario;

/// A template, with intrinsic functions in their long form.
#[derive(Deserialize)]
pub struct Template(pub Value);

/// A template as the SAM transform translates it, for one combination of optional parameters.
#[derive(Deserialize)]
pub struct Translation {
    /// The parameters of the combination.
    pub parameters: BTreeMap<String, String>,
    /// The translated template.
    pub template: Template,
}

impl Translation {
    /// Returns what CloudFormation evaluates for the combination, as [`Template::with`] does.
    ///
    /// # Panics
    /// When the parameters violate a rule.
    #[must_use]
    pub fn stack(&self) -> Value {
        let parameters: Vec<_> = self.parameters.iter().map(|(k, v)| (&**k, &**v)).collect();
        self.template.with(&parameters).unwrap()
    }
}

/// Translates a template for combinations of its optional parameters that contain every pair of
/// alternatives (`tests/template/translate.py`).
///
/// # Panics
/// When the template cannot be translated.
pub async fn translations(s: &Scenario, template: &Value) -> Vec<Translation> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/template/translate.py");
    let mut python = Command::new(s.stack.python());
    python.args(["-B", script]).envs(s.stack.environment());
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = python.stdin.take().unwrap();
    input.write_all(template.to_string().as_bytes()).await.unwrap();
    drop(input);
    let output = python.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{script} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Template {
    /// Returns `Globals`, `Resources` and `Outputs` for these parameters, the others at their defaults.
    /// Resources and outputs whose condition is false are missing.
    ///
    /// # Errors
    /// The descriptions of the rules that the parameters violate.
    ///
    /// # Panics
    /// When the template has no such parameter, or uses a function that is not supported here.
    pub fn with(&self, parameters: &[(&str, &str)]) -> Result<Value, Vec<String>> {
        let declared = self.0["Parameters"].as_object().unwrap().iter();
        let defaults = declared.map(|(name, it)| (name.clone(), text(&it["Default"])));
        let mut evaluation = Evaluation { template: &self.0, parameters: defaults.collect() };
        for (name, value) in parameters {
            let replaced = evaluation.parameters.insert((*name).to_owned(), (*value).to_owned());
            assert!(replaced.is_some(), "the template has no parameter {name}");
        }
        let violated = evaluation.violated_rules();
        if !violated.is_empty() {
            return Err(violated);
        }
        let section = |name: &str| {
            let mut parts = self.0[name].clone();
            let exists = |part: &Value| part.get("Condition").is_none_or(|c| evaluation.holds(c));
            parts.as_object_mut().unwrap().retain(|_, part| exists(part));
            evaluation.evaluate(&parts)
        };
        Ok(json!({
            "Globals": evaluation.evaluate(&self.0["Globals"]),
            "Resources": section("Resources"),
            "Outputs": section("Outputs"),
        }))
    }
}

/// Returns the names to which a value refers by `Ref`, `Fn::GetAtt` or `Fn::Sub`.
#[must_use]
pub fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => match function(value) {
            Some(("Ref", name)) => BTreeSet::from([text(name)]),
            Some(("Fn::GetAtt", path)) => BTreeSet::from([text(&path[0])]),
            Some(("Fn::Sub", Value::Array(of_text))) => {
                let mut names = references(&of_text[0]);
                let values = of_text[1].as_object().unwrap();
                names.retain(|name| !values.contains_key(name));
                names.extend(values.values().flat_map(references));
                names
            }
            _ => members.values().flat_map(references).collect(),
        },
        Value::Array(elements) => elements.iter().flat_map(references).collect(),
        Value::String(text) => {
            let variables = text.split("${").skip(1);
            variables.map(|v| v.split(['}', '.']).next().unwrap().to_owned()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Returns a scalar as text, because CloudFormation does not distinguish `"1"` and `1`.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the name and the argument of an intrinsic function.
fn function(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, argument) = members.iter().next()?;
    let is_function = name.starts_with("Fn::") || name == "Ref" || name == "Condition";
    is_function.then_some((name, argument))
}

/// The template with a value for each parameter.
struct Evaluation<'a> {
    template: &'a Value,
    parameters: BTreeMap<String, String>,
}

impl Evaluation<'_> {
    fn violated_rules(&self) -> Vec<String> {
        let rules = self.template["Rules"].as_object().unwrap().values();
        let assertions = rules.flat_map(|rule| rule["Assertions"].as_array().unwrap());
        let violated = assertions.filter(|assertion| !self.is_true(&assertion["Assert"]));
        violated.map(|assertion| text(&assertion["AssertDescription"])).collect()
    }

    fn holds(&self, condition: &Value) -> bool {
        self.is_true(&self.template["Conditions"][text(condition)])
    }

    fn is_true(&self, value: &Value) -> bool {
        self.evaluate(value).and_then(|value| value.as_bool()).expect("a condition")
    }

    /// Returns nothing for `AWS::NoValue`.
    fn evaluate(&self, value: &Value) -> Option<Value> {
        if let Some((name, argument)) = function(value) {
            return self.call(name, argument);
        }
        Some(match value {
            Value::Object(members) => {
                let evaluated =
                    |(key, value): (&String, _)| Some((key.clone(), self.evaluate(value)?));
                Value::Object(members.iter().filter_map(evaluated).collect::<Map<_, _>>())
            }
            Value::Array(elements) => elements.iter().filter_map(|it| self.evaluate(it)).collect(),
            scalar => scalar.clone(),
        })
    }

    fn call(&self, name: &str, argument: &Value) -> Option<Value> {
        if name == "Fn::If" {
            let chosen = if self.holds(&argument[0]) { 1 } else { 2 };
            return self.evaluate(&argument[chosen]);
        }
        let argument = self.evaluate(argument)?;
        let of = |index: usize| text(&argument[index]);
        let mut conditions = argument.as_array().into_iter().flatten();
        let is_true = |value: &Value| value.as_bool().expect("a condition");
        Some(match name {
            "Ref" if argument == "AWS::NoValue" => return None,
            "Ref" => {
                let value = self.named(&text(&argument));
                value.map_or_else(|| json!({ "Ref": argument }), Value::from)
            }
            "Condition" => self.holds(&argument).into(),
            "Fn::Equals" => (of(0) == of(1)).into(),
            "Fn::Not" => (!is_true(&argument[0])).into(),
            "Fn::And" => conditions.all(is_true).into(),
            "Fn::Or" => conditions.any(is_true).into(),
            "Fn::Contains" => argument[0].as_array().unwrap().contains(&argument[1]).into(),
            "Fn::FindInMap" => self.template["Mappings"][of(0)][of(1)][of(2)].clone(),
            // Of what only exists afterwards.
            "Fn::Split" | "Fn::Select" if argument[1].is_object() => json!({ name: argument }),
            "Fn::Split" => of(1).split(&of(0)).collect(),
            "Fn::Select" => argument[1][of(0).parse::<usize>().unwrap()].clone(),
            "Fn::Sub" => match argument.as_array() {
                None => self.substitute(&text(&argument)).into(),
                // Values that are known with the deployment only stay in their place.
                Some(of_text) => {
                    json!({ "Fn::Sub": [self.substitute(&text(&of_text[0])), of_text[1]] })
                }
            },
            "Fn::GetAtt" => json!({ "Fn::GetAtt": argument }),
            other => panic!("{other} is not supported here"),
        })
    }

    fn substitute(&self, template: &str) -> String {
        let (beginning, rest) = template.split_once("${").unwrap_or((template, ""));
        let Some((name, rest)) = rest.split_once('}') else { return beginning.to_owned() };
        let value = self.named(name).unwrap_or_else(|| format!("${{{name}}}"));
        format!("{beginning}{value}{}", self.substitute(rest))
    }

    /// Returns the value of a parameter, or of a pseudo parameter in the stand-in's account.
    fn named(&self, name: &str) -> Option<String> {
        Some(match name {
            "AWS::Partition" => "aws".to_owned(),
            "AWS::Region" => "us-east-1".to_owned(),
            "AWS::AccountId" => "000000000000".to_owned(),
            "AWS::StackName" => "makapix-bdr".to_owned(),
            other => return self.parameters.get(other).cloned(),
        })
    }
}
