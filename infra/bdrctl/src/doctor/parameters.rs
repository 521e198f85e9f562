//! The parameters of the deployed stack, against those that `sam deploy` would send from samconfig.toml.
//!
//! For a parameter that the file does not contain, SAM sends the previous value: a removed line changes
//! nothing. Values that CloudFormation hides are not compared, and values that contain an e-mail address
//! are not printed.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::diagnosis::Diagnosis;
use crate::advised::Advised;
use crate::arguments::DoctorArguments;
use crate::operator::Operator;
use crate::output::escaped;
use crate::samconfig::{self, Deployment};
use crate::stack_outputs::{Parameter, Parameters};

const CHECK: &str = "parameters";
/// SAM's name of the file, in the folder from which it deploys.
const DEFAULT_FILE: &str = "samconfig.toml";

pub(super) async fn check(
    operator: &Operator,
    arguments: &DoctorArguments,
    diagnosis: &mut Diagnosis,
) {
    let file = arguments.samconfig.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let deployment = match deployment(operator, arguments, file) {
        Ok(Some(deployment)) => deployment,
        Ok(None) => return,
        Err(error) => {
            return diagnosis.not_checked(CHECK, &error, "Check --samconfig and --config-env.");
        }
    };
    let source = format!("{} ({})", file.display(), deployment.environment);
    match operator.outputs.parameters().await {
        Ok(parameters) => compare(diagnosis, &parameters, &deployment.overrides, &source),
        Err(error) => {
            let advice = "To check them, allow cloudformation:DescribeStacks and \
                          cloudformation:GetTemplateSummary.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
    }
}

/// Returns what the file deploys. Returns `None` for the default file if it does not exist or does not
/// deploy the stack, as on the local stack, which no file deploys.
fn deployment(
    operator: &Operator,
    arguments: &DoctorArguments,
    file: &Path,
) -> Result<Option<Deployment>> {
    let is_asked_for = arguments.samconfig.is_some() || arguments.config_env.is_some();
    if !is_asked_for && operator.connection.aws.endpoint_url().is_some() {
        return Ok(None);
    }
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound && !is_asked_for => return Ok(None),
        text => text.with_context(|| format!("failed to read {}", file.display()))?,
    };
    let (stack, region) = (operator.outputs.stack(), operator.outputs.region());
    let environment = arguments.config_env.as_deref();
    let found = samconfig::find(&text, stack, region, environment);
    let found = found.with_context(|| format!("failed to use {}", file.display()))?;
    if found.is_none() && is_asked_for {
        let problem = format!("{} does not deploy the stack {stack} in {region}", file.display());
        return Err(Advised::new(problem, "Check --samconfig, --stack and AWS_REGION.").into());
    }
    Ok(found)
}

fn compare(
    diagnosis: &mut Diagnosis,
    parameters: &Parameters,
    overrides: &BTreeMap<String, String>,
    source: &str,
) {
    let mut differ = false;
    for parameter in &parameters.shown {
        let finding = match (overrides.get(&parameter.name), &parameter.default) {
            (Some(set), _) if *set != parameter.value => of_other_value(parameter, set, source),
            (None, Some(default)) if *default != parameter.value => {
                of_previous_value(parameter, default, source)
            }
            _ => continue,
        };
        diagnosis.warning(CHECK, finding.found, &finding.advice);
        differ = true;
    }
    let is_known = |name: &String| {
        parameters.hidden.contains(name) || parameters.shown.iter().any(|it| it.name == *name)
    };
    for name in overrides.keys().filter(|name| !is_known(name)) {
        let found = format!("{source} sets {name}, which the deployed template does not have");
        let advice = "Correct the name, or deploy the template that has it.";
        diagnosis.warning(CHECK, found, advice);
        differ = true;
    }
    if !differ {
        diagnosis.ok(CHECK, format!("are those of {source}"));
    }
}

struct Finding {
    found: String,
    advice: String,
}

fn of_other_value(Parameter { name, value, .. }: &Parameter, set: &str, source: &str) -> Finding {
    let found = match (printable(value), printable(set)) {
        (Some(value), Some(set)) => format!("{name} is {value}, {source} sets {set}"),
        _ => format!("{name} is not what {source} sets"),
    };
    Finding { found, advice: "Deploy again, or correct the file.".to_owned() }
}

fn of_previous_value(
    Parameter { name, value, .. }: &Parameter,
    default: &str,
    source: &str,
) -> Finding {
    let printed = printable(value);
    let is = printed.as_ref().map_or("has a value".to_owned(), |value| format!("is {value}"));
    let keep = printed.map_or("its value".to_owned(), |value| format!("{name}={value}"));
    let default = printable(default).unwrap_or_default();
    Finding {
        found: format!("{name} {is}, which {source} does not set: SAM sends the previous value"),
        advice: format!(
            "To keep it, write {keep} into the file; to return to the default, {name}={default}."
        ),
    }
}

/// Returns a value as the file contains it, unless it holds an e-mail address.
fn printable(value: &str) -> Option<String> {
    (!value.contains('@')).then(|| format!("\"{}\"", escaped(value)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::diagnosis::Diagnosis;
    use super::compare;
    use crate::stack_outputs::{Parameter, Parameters};

    /// Returns the findings about a stack with these parameters (name, value, default), one hidden
    /// parameter, and a file that sets `overrides`.
    fn findings(parameters: &[(&str, &str, &str)], overrides: &[(&str, &str)]) -> String {
        let parameter = |(name, value, default): &(&str, &str, &str)| Parameter {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            default: Some((*default).to_owned()),
        };
        let parameters = Parameters {
            shown: parameters.iter().map(parameter).collect(),
            hidden: vec!["DatabaseUrl".to_owned()],
        };
        let overrides = overrides.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let overrides: BTreeMap<String, String> = overrides.collect();
        let mut diagnosis = Diagnosis::default();
        compare(&mut diagnosis, &parameters, &overrides, "samconfig.toml (prod)");
        let text = diagnosis.text(true, false);
        text.rsplit_once('\n').unwrap().0.to_owned()
    }

    #[test]
    fn a_value_of_the_file_or_the_default_agrees() {
        let deployed = [("LogLevel", "DEBUG", "INFO"), ("AlarmEmail", "", "")];
        let agree = "ok: parameters: are those of samconfig.toml (prod)";
        assert_eq!(findings(&deployed, &[("LogLevel", "DEBUG")]), agree);
        assert_eq!(findings(&deployed, &[("LogLevel", "DEBUG"), ("DatabaseUrl", "none")]), agree);
    }

    #[test]
    fn another_value_is_reported_without_addresses() {
        let deployed = [("LogLevel", "DEBUG", "INFO"), ("AlarmEmail", "a@b.example", "")];
        let found = findings(&deployed, &[("LogLevel", "INFO"), ("AlarmEmail", "c@d.example")]);
        assert_eq!(
            found,
            "warning: parameters: LogLevel is \"DEBUG\", samconfig.toml (prod) sets \"INFO\"\n  \
             Deploy again, or correct the file.\n\
             warning: parameters: AlarmEmail is not what samconfig.toml (prod) sets\n  \
             Deploy again, or correct the file."
        );
    }

    #[test]
    fn a_previous_value_is_reported_with_the_way_back() {
        let deployed = [("LogLevel", "DEBUG", "INFO"), ("AlarmEmail", "a@b.example", "")];
        assert_eq!(
            findings(&deployed, &[]),
            "warning: parameters: LogLevel is \"DEBUG\", which samconfig.toml (prod) does not set: SAM \
             sends the previous value\n  \
             To keep it, write LogLevel=\"DEBUG\" into the file; to return to the default, \
             LogLevel=\"INFO\".\n\
             warning: parameters: AlarmEmail has a value, which samconfig.toml (prod) does not set: SAM \
             sends the previous value\n  \
             To keep it, write its value into the file; to return to the default, AlarmEmail=\"\"."
        );
    }

    #[test]
    fn a_name_that_the_template_does_not_have_is_reported() {
        assert!(findings(&[], &[("Loglevel", "INFO")]).starts_with(
            "warning: parameters: samconfig.toml (prod) sets Loglevel, which the deployed template \
             does not have"
        ));
    }
}
