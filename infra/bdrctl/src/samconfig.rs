//! The configuration file of the SAM CLI, as far as it names a stack and its parameters
//! (SAM CLI, "samconfig").

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use toml::{Table, Value};

use crate::advised::Advised;

/// What `sam deploy --config-env <environment>` deploys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deployment {
    /// The environment.
    pub(crate) environment: String,
    /// The parameters that the file sets.
    pub(crate) overrides: BTreeMap<String, String>,
}

/// Returns the deployment of the stack `stack` in `region` from the text of a file: that of
/// `environment`, or else of the only environment that names the stack.
///
/// # Errors
/// When the text is not valid, when `environment` deploys another stack, and when more than one
/// environment names the stack.
pub(crate) fn find(
    text: &str,
    stack: &str,
    region: &str,
    environment: Option<&str>,
) -> Result<Option<Deployment>> {
    let file: Table =
        text.parse().map_err(|error| anyhow::anyhow!("{}", without_source(&error)))?;
    let deploys = |settings: &Value| {
        let is = |name, expected| {
            setting(settings, name).is_none_or(|value| value.as_str() == Some(expected))
        };
        setting(settings, "stack_name").is_some() && is("stack_name", stack) && is("region", region)
    };
    if let Some(environment) = environment {
        let settings = file.get(environment).filter(|settings| deploys(settings));
        return match settings {
            Some(settings) => deployment(environment, settings).map(Some),
            None => bail!(Advised::new(
                format!("environment {environment} does not deploy the stack {stack} in {region}"),
                "Check --config-env, --stack and AWS_REGION.",
            )),
        };
    }
    let mut found = file.iter().filter(|(_, settings)| deploys(settings));
    let Some((environment, settings)) = found.next() else { return Ok(None) };
    if let Some((other, _)) = found.next() {
        bail!(Advised::new(
            format!("the environments {environment} and {other} both deploy the stack {stack}"),
            "Specify one with --config-env.",
        ));
    }
    deployment(environment, settings).map(Some)
}

/// Returns a setting of `sam deploy`: its own, or else that of all commands.
fn setting<'a>(environment: &'a Value, name: &str) -> Option<&'a Value> {
    let mut commands = ["deploy", "global"].into_iter();
    commands.find_map(|command| environment.get(command)?.get("parameters")?.get(name))
}

fn deployment(environment: &str, settings: &Value) -> Result<Deployment> {
    let mut overrides = BTreeMap::new();
    let texts = match setting(settings, "parameter_overrides") {
        None => Some(Vec::new()),
        Some(Value::String(text)) => Some(vec![text.as_str()]),
        Some(Value::Array(elements)) => elements.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    let Some(texts) = texts else {
        bail!("parameter_overrides of {environment} is neither a string nor a list of strings");
    };
    for text in texts {
        ensure!(
            !text.trim_start().starts_with("file://"),
            "parameter_overrides of {environment} names another file, which bdrctl does not read"
        );
        overrides.extend(pairs(text));
    }
    Ok(Deployment { environment: environment.to_owned(), overrides })
}

/// Parses `Name=value` and `ParameterKey=Name,ParameterValue=value`, separated by spaces. Like SAM,
/// ends an unquoted value at a space, and ignores what is not a pair.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut rest = text.trim_start();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let long = rest.strip_prefix("ParameterKey=");
        let name = long.unwrap_or(rest);
        let separator = if long.is_some() { ",ParameterValue=" } else { "=" };
        let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        if let Some(after) = after.strip_prefix(separator).filter(|_| !name.is_empty()) {
            let (value, after) = value(after);
            pairs.push((name.to_owned(), value));
            rest = after.trim_start();
        } else {
            rest = rest.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
        }
    }
    pairs
}

/// Reads a value, in quotation marks or up to a space. A backslash escapes a space and a quotation mark.
/// Returns the value and the text after it.
fn value(text: &str) -> (String, &str) {
    let quoted = text.strip_prefix('"');
    let text = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        match character {
            '"' if quoted.is_some() => return (value, &text[at + 1..]),
            ' ' if quoted.is_none() => return (value, &text[at..]),
            '\\' if matches!(next, Some(' ' | '"')) => {
                value.extend(next);
                characters.next();
            }
            character => value.push(character),
        }
    }
    (value, "")
}

/// Returns the message of an error without the line of the file, which may hold an address.
fn without_source(error: &toml::de::Error) -> String {
    format!("the file is not valid TOML: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::{find, pairs};

    fn of(text: &str) -> Vec<(String, String)> {
        pairs(text)
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn pairs_are_read_as_sam_reads_them() {
        for (text, pairs) in [
            ("", &[][..]),
            ("A=1", &[("A", "1")]),
            ("  A=1   B=x=y,z ", &[("A", "1"), ("B", "x=y,z")]),
            (
                r#"A="" B="Makapix <a@b.example>" C=3"#,
                &[("A", ""), ("B", "Makapix <a@b.example>"), ("C", "3")],
            ),
            (r#"A="say \"hi\"" B=a\ b"#, &[("A", "say \"hi\""), ("B", "a b")]),
            (
                "ParameterKey=A,ParameterValue=1 ParameterKey=B,ParameterValue=\"2 3\"",
                &[("A", "1"), ("B", "2 3")],
            ),
            // SAM drops the rest of an unquoted value.
            (
                "CleanupSchedule=cron(30 3 * * ? *) A=1",
                &[("CleanupSchedule", "cron(30"), ("A", "1")],
            ),
            ("=1 nonsense A", &[]),
            ("A=", &[("A", "")]),
            (r#"A="open"#, &[("A", "open")]),
            ("A=ä\\", &[("A", "ä\\")]),
        ] {
            assert_eq!(of(text), expected(pairs), "{text}");
        }
    }

    const FILE: &str = r#"
        version = 0.1
        [default.global.parameters]
        stack_name = "bdr-dev"
        [default.deploy.parameters]
        parameter_overrides = "A=1 B=2"
        [prod.deploy.parameters]
        stack_name = "bdr"
        region = "eu-west-1"
        parameter_overrides = ["A=1", "B=\"2 3\""]
        [other.deploy.parameters]
        stack_name = "bdr"
        region = "us-east-1"
    "#;

    #[test]
    fn the_environment_is_the_one_that_deploys_the_stack() {
        let environment = |stack, region, environment| {
            let found = find(FILE, stack, region, environment).unwrap();
            found.map(|deployment| deployment.environment)
        };
        assert_eq!(environment("bdr-dev", "eu-west-1", None).as_deref(), Some("default"));
        assert_eq!(environment("bdr", "eu-west-1", None).as_deref(), Some("prod"));
        assert_eq!(environment("bdr", "us-east-1", None).as_deref(), Some("other"));
        assert_eq!(environment("bdr", "us-east-1", Some("other")).as_deref(), Some("other"));
        assert_eq!(environment("bdr", "us-west-2", None), None);
        assert_eq!(environment("bdr-test", "us-east-1", None), None);
        for wrong in ["prod", "default", "none", "version"] {
            let error = find(FILE, "bdr", "us-east-1", Some(wrong)).unwrap_err().to_string();
            assert!(error.contains("does not deploy the stack bdr in us-east-1"), "{error}");
        }
        let twice = FILE.replace("region", "# region");
        let error = find(&twice, "bdr", "us-east-1", None).unwrap_err().to_string();
        assert_eq!(error, "the environments other and prod both deploy the stack bdr");
    }

    #[test]
    fn overrides_are_a_string_or_a_list() {
        let overrides = |stack, region| {
            let found = find(FILE, stack, region, None).unwrap().unwrap();
            found.overrides.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(overrides("bdr-dev", "x"), expected(&[("A", "1"), ("B", "2")]));
        assert_eq!(overrides("bdr", "eu-west-1"), expected(&[("A", "1"), ("B", "2 3")]));
        assert_eq!(overrides("bdr", "us-east-1"), []);
        for wrong in ["1", "[1]", "{ A = 1 }", "\"file://parameters.json\""] {
            let file =
                format!("[a.deploy.parameters]\nstack_name = 'b'\nparameter_overrides = {wrong}");
            assert!(find(&file, "b", "x", None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_error_of_the_syntax_does_not_quote_the_file() {
        let error = find("a = somebody@example.org", "b", "x", None).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("the file is not valid TOML"), "{error}");
        assert!(!error.contains('@'), "{error}");
    }
}
