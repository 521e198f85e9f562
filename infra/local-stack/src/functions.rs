//! The functions' binaries, built and put where `template.yaml` looks for them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{
    options::{Reporter, Step},
    supervisor::{self, Supervisor},
    workspace::{Workspace, cargo},
};

/// Where `cargo lambda build` puts what it has built, relative to `template.yaml`.
const DEPLOYED: &str = "target/lambda/";

/// Builds every function of the template and copies it to `target/lambda/<function>/bootstrap`.
pub(crate) async fn build(
    workspace: &Workspace,
    supervisor: &Supervisor,
    reporter: &Reporter,
) -> Result<()> {
    let template = workspace.root().join("template.yaml");
    let names = names(
        &fs::read_to_string(&template)
            .with_context(|| format!("{} cannot be read", template.display()))?,
    );
    ensure!(
        !names.is_empty(),
        "{} names no CodeUri under {DEPLOYED}, so there is no function to build",
        template.display()
    );

    let mut command = supervisor.command(cargo());
    command
        .args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"])
        .args(names.iter().flat_map(|name| ["--package", name]))
        .current_dir(workspace.root());
    for (name, _) in env::vars_os().filter(|(name, _)| describes_a_package(name)) {
        command.env_remove(name);
    }
    let mut compiled = 0;
    let output = supervisor::output(command, |line| {
        let line = line.trim();
        if let Some(package) = line.strip_prefix("Compiling ") {
            compiled += 1;
            reporter.note(Step::Functions, &format!("{package} ({compiled} compiled)"));
        } else if line.starts_with("Blocking") {
            reporter.note(Step::Functions, line); // somebody else is building
        }
    })
    .await?;
    ensure!(
        output.status.success(),
        "The functions cannot be built, so there is nothing to deploy. cargo says:\n{}",
        output.stderr.trim_end()
    );

    let executables = executables(&output.stdout);
    for name in &names {
        let binary = executables
            .get(name)
            .with_context(|| format!("package {name} has no binary of that name"))?;
        deploy(binary, &workspace.root().join(DEPLOYED).join(name))?;
    }
    Ok(())
}

/// Whether cargo has set this variable to tell a program which package it belongs to.
///
/// It does so for us, and must not hear it back: some build scripts (ring's, for one) ask to be run
/// again when such a variable changes, and so half of everything would be built again whenever
/// another package starts the stack.
fn describes_a_package(variable: &OsStr) -> bool {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    const NAMES: [&str; 4] =
        ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    let variable = variable.to_string_lossy();
    PREFIXES.iter().any(|prefix| variable.starts_with(prefix)) || NAMES.contains(&&*variable)
}

/// The functions that a template deploys, by its `CodeUri` lines.
fn names(template: &str) -> Vec<String> {
    let mut names: Vec<String> = template
        .lines()
        .filter_map(|line| {
            let uri = line.trim().strip_prefix("CodeUri:")?.trim().trim_matches(['\'', '"']);
            let uri = uri.strip_prefix("./").unwrap_or(uri);
            Some(uri.strip_prefix(DEPLOYED)?.trim_end_matches('/').to_owned())
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The programs that cargo says it has built, by name: only cargo knows where its configuration
/// puts them.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }

    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter_map(|message| Some((message.target?.name, message.executable?)))
        .collect()
}

/// Copies a binary by writing beside it and renaming: another stack may be packaging the same
/// directory at this moment. One that is up to date is left alone, so that its ZIP stays the same.
fn deploy(binary: &Path, directory: &Path) -> Result<()> {
    let bootstrap = directory.join("bootstrap");
    let failed = || format!("{} cannot be written", bootstrap.display());
    let new = fs::read(binary).with_context(|| format!("{} cannot be read", binary.display()))?;
    if fs::read(&bootstrap).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::create_dir_all(directory).with_context(failed)?;
    // In the parent: what lies in the directory itself is packaged.
    let parent = directory.parent().unwrap_or(directory);
    let mut copy = tempfile::NamedTempFile::new_in(parent).with_context(failed)?;
    io::copy(&mut File::open(binary)?, &mut copy).with_context(failed)?;
    copy.as_file().set_permissions(Permissions::from_mode(0o755)).with_context(failed)?;
    copy.persist(&bootstrap).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_are_those_whose_code_uri_is_where_cargo_lambda_builds() {
        let template = "Resources:
  A: {Type: x}
  Second:
    Properties:
      CodeUri: target/lambda/second/
  First:
    Properties:
      CodeUri: './target/lambda/first'
  FirstAgain:
    Properties:
      CodeUri: target/lambda/first/
  Elsewhere:
    Properties:
      CodeUri: python/thing/
";
        assert_eq!(names(template), ["first", "second"]);
    }

    #[test]
    fn the_real_template_has_functions_and_each_is_a_package() {
        let workspace = Workspace::find().unwrap();
        let template = fs::read_to_string(workspace.root().join("template.yaml")).unwrap();
        let names = names(&template);
        assert!(!names.is_empty());
        for name in names {
            let manifest = workspace.root().join("functions").join(&name).join("Cargo.toml");
            assert!(manifest.exists(), "{} does not exist", manifest.display());
        }
    }

    #[test]
    fn what_cargo_says_of_our_own_package_is_not_handed_on() {
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"] {
            assert!(describes_a_package(OsStr::new(name)), "{name}");
        }
        for name in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "RUSTFLAGS"] {
            assert!(!describes_a_package(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn only_artifacts_with_an_executable_count() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"job"},"executable":"/t/release/job"}
not json
{"reason":"build-finished","success":true}"#;
        let found = executables(messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found["job"], Path::new("/t/release/job"));
    }

    #[test]
    fn a_binary_is_replaced_in_place_and_is_executable() {
        let root = tempfile::tempdir().unwrap();
        let (binary, directory) = (root.path().join("job"), root.path().join("lambda/job"));
        for content in ["one", "two", "two"] {
            fs::write(&binary, content).unwrap();
            deploy(&binary, &directory).unwrap();
            assert_eq!(fs::read_to_string(directory.join("bootstrap")).unwrap(), content);
        }
        let mode = fs::metadata(directory.join("bootstrap")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
}
