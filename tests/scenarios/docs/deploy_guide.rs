//! The commands of the README's "Deploy", as they are printed there. What needs an AWS account is parsed,
//! checked by the command line, and not sent; what does not is run.

use bdr_tests::doc_commands::{CHECKED, blocks, run};
use bdr_tests::scenario;

const README: &str = include_str!("../../../README.md");

/// Where the operator stands, and what is not done in a test: compiling, asking for a password, and
/// what SAM does, whose configuration has a test of its own.
const PRELUDE: &str = r#"
    rustup() { :; }
    cargo() { :; }
    infra/release.sh() { bash -n "$root/infra/release.sh"; }
    infra/vault-lifecycle.sh() { bash -n "$root/infra/vault-lifecycle.sh"; }
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
        'delete --stack-name') grep -qF "stack_name = \"$3\"" "$root/samconfig.toml" ;;
        *) return 1 ;;
      esac
    }
    api_role=api region=eu-central-1 vpc=vpc-0123456a endpoint_group=sg-0123456a
    subnets='subnet-0123456a subnet-0123456b' route_tables=rtb-0123456a
    echo '{}' > report.json
"#;

#[test]
fn every_command_for_an_operator_is_one_that_can_be_given() {
    scenario(async |s| {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let prelude = format!("root='{}'\n{PRELUDE}\n{CHECKED}", root.display());
        for heading in [
            "## Deploy",
            "### Artworks in a bucket that exists already",
            "### Inside a VPC",
            "### Update, roll back, delete",
            "### What it is made of",
        ] {
            for block in blocks(README, heading, "sh") {
                // Its own definitions come last, but for how the stack is asked.
                let block = block.replace("output() {", "output_of_the_stack() {");
                run(&s, &format!("{prelude}\n{block}")).await;
            }
        }
    });
}
