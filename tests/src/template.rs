//! `template.yaml` as CloudFormation reads it: its rules judged, its conditions decided and its
//! functions answered, as far as that goes before anything is made. What is known only afterwards,
//! as the ARN of a bucket to be, stays as it is written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// A template, with intrinsic functions in their long form.
pub struct Template(pub Value);

/// Parameters by name.
type Parameters = BTreeMap<String, String>;

impl Template {
    /// The template with these parameters, and all others at their defaults: `Resources` and
    /// `Outputs` without those whose condition does not hold, `Globals` as they are for all.
    ///
    /// # Errors
    /// Every rule that the parameters break, by its description.
    ///
    /// # Panics
    /// When a parameter is not one of the template's, or the template uses what is not known here.
    pub fn with(&self, parameters: &[(&str, &str)]) -> Result<Value, Vec<String>> {
        let declared = self.0["Parameters"].as_object().unwrap();
        let mut values: Parameters = declared
            .iter()
            .map(|(name, parameter)| (name.clone(), text(&parameter["Default"])))
            .collect();
        for (name, value) in parameters {
            let known = values.insert((*name).to_owned(), (*value).to_owned());
            assert!(known.is_some(), "{name} is no parameter");
        }
        let reader = Reader { template: &self.0, values };
        let broken = reader.broken_rules();
        if !broken.is_empty() {
            return Err(broken);
        }
        let section = |name: &str| {
            let parts = self.0[name].as_object().unwrap().iter();
            let kept = parts.filter(|(_, part)| {
                part.get("Condition").is_none_or(|condition| reader.holds(&text(condition)))
            });
            let read = kept.map(|(id, part)| (id.clone(), reader.read(part).unwrap()));
            Value::Object(read.collect())
        };
        let globals = reader.read(&self.0["Globals"]).unwrap();
        Ok(json!({
            "Globals": globals, "Resources": section("Resources"), "Outputs": section("Outputs"),
        }))
    }
}

/// The names of resources that something refers to, by `Ref`, `Fn::GetAtt` or `Fn::Sub`.
#[must_use]
pub fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => match function(value) {
            Some(("Ref", name)) => BTreeSet::from([text(name)]),
            Some(("Fn::GetAtt", path)) => BTreeSet::from([text(&path[0])]),
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

struct Reader<'a> {
    template: &'a Value,
    values: Parameters,
}

/// The name and the argument of an intrinsic function.
fn function(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, argument) = members.iter().next()?;
    (name.starts_with("Fn::") || ["Ref", "Condition"].contains(&name.as_str()))
        .then_some((name, argument))
}

/// A scalar as text: CloudFormation makes no difference between `"1"` and `1`.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Reader<'_> {
    fn broken_rules(&self) -> Vec<String> {
        let rules = self.template["Rules"].as_object().unwrap().values();
        let assertions = rules.flat_map(|rule| rule["Assertions"].as_array().unwrap());
        let broken = assertions.filter(|assertion| !self.is_true(&assertion["Assert"]));
        broken.map(|assertion| text(&assertion["AssertDescription"])).collect()
    }

    fn holds(&self, condition: &str) -> bool {
        self.is_true(&self.template["Conditions"][condition])
    }

    fn is_true(&self, value: &Value) -> bool {
        self.read(value).and_then(|value| value.as_bool()).expect("a condition")
    }

    /// The value; none where it is `AWS::NoValue`.
    fn read(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Object(_) if function(value).is_some() => {
                let (name, argument) = function(value).unwrap();
                self.answer(name, argument)
            }
            Value::Object(members) => {
                let read = |(key, value): (&String, _)| Some((key.clone(), self.read(value)?));
                Some(Value::Object(members.iter().filter_map(read).collect::<Map<_, _>>()))
            }
            Value::Array(elements) => {
                Some(elements.iter().filter_map(|element| self.read(element)).collect())
            }
            plain => Some(plain.clone()),
        }
    }

    fn answer(&self, name: &str, argument: &Value) -> Option<Value> {
        if name == "Fn::If" {
            let chosen = if self.holds(argument[0].as_str().unwrap()) { 1 } else { 2 };
            return self.read(&argument[chosen]);
        }
        let read = self.read(argument).unwrap();
        let is_true = |value: &Value| value.as_bool().expect("a condition");
        Some(match name {
            "Ref" if read == "AWS::NoValue" => return None,
            "Ref" => self.named(&text(&read)).map_or_else(|| json!({ "Ref": read }), Value::from),
            "Condition" => self.holds(&text(&read)).into(),
            "Fn::Equals" => (text(&read[0]) == text(&read[1])).into(),
            "Fn::Not" => (!is_true(&read[0])).into(),
            "Fn::And" => read.as_array().unwrap().iter().all(is_true).into(),
            "Fn::Or" => read.as_array().unwrap().iter().any(is_true).into(),
            "Fn::Contains" => read[0].as_array().unwrap().contains(&read[1]).into(),
            "Fn::FindInMap" => {
                let of = |index: usize| text(&read[index]);
                self.template["Mappings"][of(0)][of(1)][of(2)].clone()
            }
            "Fn::Split" => text(&read[1]).split(&text(&read[0])).collect(),
            "Fn::Select" => read[1][text(&read[0]).parse::<usize>().unwrap()].clone(),
            "Fn::Sub" => self.substitute(&text(&read)).into(),
            "Fn::GetAtt" => json!({ "Fn::GetAtt": read }),
            other => panic!("{other} is not known here"),
        })
    }

    fn substitute(&self, template: &str) -> String {
        let mut parts = template.split("${");
        let mut whole = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap();
            whole += &self.named(name).unwrap_or_else(|| format!("${{{name}}}"));
            whole += rest;
        }
        whole
    }

    /// The value of a parameter, or of a pseudo parameter as in the stand-in's account.
    fn named(&self, name: &str) -> Option<String> {
        let pseudo = match name {
            "AWS::Partition" => "aws",
            "AWS::Region" => "us-east-1",
            "AWS::AccountId" => "000000000000",
            "AWS::StackName" => "makapix-bdr",
            other => return self.values.get(other).cloned(),
        };
        Some(pseudo.to_owned())
    }
}
