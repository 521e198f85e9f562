//! The commands of `docs/deploy.md` and of the README's "Deploy", as the pages print them. The AWS CLI validates
//! commands that need an account, and does not send them. The shell runs all others.

use bdr_tests::doc_commands::{CHECKED, blocks, run};
use bdr_tests::scenario;

use super::pages::{DEPLOY, PERFORMANCE, Page, README, ROOT};

/// The operator's variables, and replacements for commands that compile, ask for a password or deploy. Another
/// test checks the configuration of SAM.
const PRELUDE: &str = r#"
    rustup() { :; }
    git() { [ "$1 $2" = 'rev-parse --short' ] && echo 1234567; }
    cargo() { :; }
    infra/release.sh() { bash -n "$root/infra/release.sh"; }
    infra/vault-lifecycle.sh() { bash -n "$root/infra/vault-lifecycle.sh"; }
    infra/vault-cors.sh() { bash -n "$root/infra/vault-cors.sh"; }
    psql() {
      case $2 in
        -f) command psql "$1" -v ON_ERROR_STOP=1 -q -f "$root/$3" ;;
        -c) [[ $3 == '\password makapix_bdr' ]] ;;
        *) return 1 ;;
      esac
    }
    python3() {
      [ "$1" = -c ] && /usr/bin/env python3 -c 'import sys; compile(sys.argv[1], "-", "exec")' "$2" && echo '{}'
    }
    sam() {
      case "$1 $2" in
        'deploy --config-env') grep -qF "[$3.deploy.parameters]" "$root/samconfig.toml" ;;
        'delete --config-env') grep -qF "[$3.deploy.parameters]" "$root/samconfig.toml" ;;
        *) return 1 ;;
      esac
    }
    account=123456789012 stack=makapix-bdr api_role=api operator_role=operators region=eu-central-1 vpc=vpc-0123456a endpoint_group=sg-0123456a
    subnets='subnet-0123456a subnet-0123456b' route_tables=rtb-0123456a
    echo '{}' > report.json
    echo '{}' > secret.json
"#;

/// The headings whose shell blocks are run.
const COMMANDS: &[(Page, &[&str])] = &[
    (README, &["## Deploy"]),
    (
        DEPLOY,
        &[
            "## Prerequisites",
            "## 1. Build the functions",
            "## 2. Create the database role",
            "## 3. Store the password",
            "## 4. Verify the sender",
            "## 5. Configure and deploy",
            "## 6. Connect the API",
            "## Use an existing bucket",
            "## Run inside a VPC",
            "## Release gradually",
            "## Update, roll back, delete",
            "## Write an SBOM",
        ],
    ),
    (PERFORMANCE, &["### In dollars"]),
];

#[test]
fn every_command_of_the_guide_is_valid() {
    scenario(async |s| {
        let prelude = format!("root='{ROOT}'\n{PRELUDE}\n{CHECKED}");
        for (page, headings) in COMMANDS {
            for heading in *headings {
                for block in blocks(page.text, heading, "sh") {
                    // The prelude's function stays in place; every other definition is the page's.
                    let block = block.replace("output() {", "output_of_the_stack() {");
                    run(&s, &format!("{prelude}\n{block}")).await;
                }
            }
        }
    });
}
