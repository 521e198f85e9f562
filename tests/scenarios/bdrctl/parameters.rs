//! `doctor`: the deployed parameters against those of samconfig.toml.

use std::path::Path;

use bdr_tests::scenario::unique;
use bdr_tests::{Scenario, scenario};
use serde_json::Value;

use super::doctor::of_level;
use super::{bdrctl, command, ran};
use crate::deploy::deployed_stack::{deploy, package};

/// Writes a file that sets these parameters of `stack`, as SAM's guided deployment does, and a second
/// environment.
fn write(file: &Path, stack: &str, overrides: &str) {
    let text = format!(
        "version = 0.1\n\
         [dev.deploy.parameters]\nstack_name = 'another'\n\
         [prod.global.parameters]\nstack_name = '{stack}'\nregion = 'us-east-1'\n\
         [prod.deploy.parameters]\nparameter_overrides = {overrides}\n"
    );
    std::fs::write(file, text).unwrap();
}

fn about_parameters(findings: &str) -> Vec<Value> {
    let findings: Vec<Value> =
        serde_json::from_str(findings).unwrap_or_else(|_| panic!("{findings}"));
    findings.into_iter().filter(|finding| finding["check"] == "parameters").collect()
}

async fn examine(s: &Scenario, arguments: &[&str]) -> Vec<Value> {
    about_parameters(&bdrctl(s, &[&["--json", "doctor"], arguments].concat()).await.out)
}

#[test]
fn parameters_that_a_deployment_would_not_change_as_the_file_reads_are_found() {
    scenario(async |s| {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("template.json");
        package(&s, &template).await;
        let stack = unique("parameters-");
        let database = format!("DatabaseUrl={}", s.database_url);
        let sender = format!("EmailFrom=Makapix <no-reply@{stack}.example>");
        let parameters = [&database, &sender, "LogLevel=DEBUG", "LogRetentionDays=90"];
        deploy(&s, &stack, &template, &parameters).await;

        let file = folder.path().join("samconfig.toml");
        write(&file, &stack, r#"["LogLevel=INFO", "DatabaseUrl=none", "MaxArtwork=9"]"#);
        let path = file.to_str().unwrap();
        let compare = ["--stack", &stack, "--samconfig", path];
        let found = examine(&s, &compare).await;
        let source = format!("{path} (prod)");
        let mut warnings = of_level(&found, "warning");
        warnings.sort();
        assert_eq!(
            warnings,
            [
                format!(
                    "parameters: {source} sets MaxArtwork, which the deployed template does not have"
                ),
                format!(
                    "parameters: EmailFrom has a value, which {source} does not set: SAM sends the \
                     previous value"
                ),
                format!("parameters: LogLevel is \"DEBUG\", {source} sets \"INFO\""),
                format!(
                    "parameters: LogRetentionDays is \"90\", which {source} does not set: SAM sends the \
                     previous value"
                ),
            ]
        );
        assert_eq!(found.len(), 4, "{found:#?}");
        let advice = |name: &str| {
            let mut found =
                found.iter().filter(|it| it["found"].as_str().unwrap().starts_with(name));
            found.next().unwrap()["advice"].as_str().unwrap().to_owned()
        };
        assert!(advice("EmailFrom").contains("EmailFrom=\"\""));
        let advice = advice("LogRetentionDays");
        let default = advice.rsplit(' ').next().unwrap().replace(['"', '.'], "");
        assert_eq!(default, "LogRetentionDays=30");

        // What the advice says is what makes them agree.
        deploy(&s, &stack, &template, &["LogLevel=INFO", "EmailFrom=", &default]).await;
        write(&file, &stack, r#""LogLevel=INFO LogRetentionDays=\"30\" EmailFrom=\"\"""#);
        let found = examine(&s, &compare).await;
        assert_eq!(of_level(&found, "ok"), [format!("parameters: are those of {source}")]);
        assert_eq!(found.len(), 1);

        let found = examine(&s, &[&compare[..], &["--config-env", "dev"]].concat()).await;
        let expected = "environment dev does not deploy the stack";
        assert!(of_level(&found, "not_checked")[0].contains(expected), "{found:?}");
        let found = examine(&s, &["--stack", &stack, "--samconfig", "/none.toml"]).await;
        assert!(
            of_level(&found, "not_checked")[0].contains("failed to read /none.toml"),
            "{found:?}"
        );
    });
}

#[test]
fn the_file_of_the_folder_is_read_if_it_deploys_the_stack() {
    scenario(async |s| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("samconfig.toml");
        let run = async |is_local: bool| {
            let arguments = ["--json", "doctor"];
            let mut command = command(&s, s.stack.endpoint(), &arguments);
            command.current_dir(folder.path());
            if !is_local {
                command.env_remove("AWS_ENDPOINT_URL");
                for service in [
                    "CLOUDFORMATION",
                    "IAM",
                    "LAMBDA",
                    "S3",
                    "SCHEDULER",
                    "SECRETS_MANAGER",
                    "SES",
                    "SQS",
                ] {
                    command.env(format!("AWS_ENDPOINT_URL_{service}"), s.stack.endpoint());
                }
            }
            about_parameters(&ran(&s, &arguments, command.output().await.unwrap()).out)
        };
        assert_eq!(run(false).await, [Value::Null; 0], "no file");
        write(&file, "another", "''");
        assert_eq!(run(false).await, [Value::Null; 0], "the file of another stack");
        write(&file, "makapix-bdr", "['LogRetentionDays=7']");
        let found = run(false).await;
        let expected = "samconfig.toml (prod) sets \"7\"";
        assert!(of_level(&found, "warning").iter().any(|it| it.contains(expected)), "{found:#?}");
        assert_eq!(run(true).await, [Value::Null; 0], "no file deploys the local stack");
    });
}
