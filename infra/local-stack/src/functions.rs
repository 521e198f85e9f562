//! The functions' binaries, built and copied to where `template.yaml` expects them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    options::{Options, Step},
    supervisor::{self, Supervisor},
    workspace::cargo,
};

/// Output directory of `cargo lambda build`, relative to `template.yaml`.
const DEPLOYED: &str = "target/lambda/";

/// Builds every function of the template and copies it to `target/lambda/<function>/bootstrap`.
pub(crate) async fn build(supervisor: &Supervisor, options: &Options) -> Result<()> {
    let root = supervisor.workspace.root();
    let path = root.join("template.yaml");
    let template = fs::read_to_string(&path);
    let names = names(&template.with_context(|| format!("failed to read {}", path.display()))?);
    ensure!(!names.is_empty(), "{} has no CodeUri under {DEPLOYED}", path.display());

    let mut command = supervisor.command(cargo());
    command
        .args(["build", "--profile", options.profile.name(), "--locked"])
        .arg("--message-format=json-render-diagnostics")
        .args(names.iter().flat_map(|name| [options.profile.selector(), name]))
        .current_dir(root);
    for (name, _) in env::vars_os().filter(|(name, _)| describes_a_package(name)) {
        command.env_remove(name);
    }
    let mut compiled = 0;
    let output = supervisor::output(command, |line| {
        let line = line.trim();
        if let Some(package) = line.strip_prefix("Compiling ") {
            compiled += 1;
            options.reporter.note(Step::Functions, &format!("{package} ({compiled} compiled)"));
        } else if line.starts_with("Blocking") {
            options.reporter.note(Step::Functions, line); // another cargo is building
        }
    })
    .await?;
    ensure!(
        output.status.success(),
        "failed to build the functions. The output of cargo:\n{}",
        output.stderr.trim_end()
    );

    let executables = executables(&output.stdout);
    for name in &names {
        let binary = executables
            .get(name)
            .with_context(|| format!("package {name} has no binary of that name"))?;
        deploy(binary, &root.join(DEPLOYED).join(name))?;
    }
    Ok(())
}

/// Whether cargo sets this variable to tell a program which package it belongs to.
///
/// Cargo sets it for this process, and must not inherit it: some build scripts (such as ring's) run
/// again when such a variable changes, so half of everything would be built again whenever another
/// package starts the stack.
fn describes_a_package(variable: &OsStr) -> bool {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    const NAMES: [&str; 4] =
        ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    let variable = variable.to_string_lossy();
    PREFIXES.iter().any(|prefix| variable.starts_with(prefix)) || NAMES.contains(&&*variable)
}

/// Returns the functions that a template deploys, according to its `CodeUri` lines.
fn names(template: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let uri = line.trim().strip_prefix("CodeUri:")?.trim().trim_matches(['\'', '"']);
        let uri = uri.strip_prefix("./").unwrap_or(uri);
        Some(uri.strip_prefix(DEPLOYED)?.trim_end_matches('/').to_owned())
    };
    template.lines().filter_map(name).collect()
}

/// Returns the programs in cargo's messages by name: their paths depend on cargo's configuration.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = |message: Value| {
        Some((
            message["target"]["name"].as_str()?.to_owned(),
            message["executable"].as_str()?.into(),
        ))
    };
    messages.filter_map(executable).collect()
}

/// Copies a binary. The copy replaces its predecessor by a rename, because another stack may be
/// packaging the same directory. An equal file stays, so that its ZIP stays the same.
fn deploy(binary: &Path, directory: &Path) -> Result<()> {
    let bootstrap = directory.join("bootstrap");
    let copy = || {
        let new = fs::read(binary)?;
        if fs::read(&bootstrap).is_ok_and(|old| old == new) {
            return Ok(());
        }
        fs::create_dir_all(directory)?;
        // In the parent, because everything in the directory itself is packaged.
        let file = NamedTempFile::new_in(directory.parent().unwrap_or(directory))?;
        fs::write(&file, new)?;
        fs::set_permissions(&file, Permissions::from_mode(0o755))?;
        file.persist(&bootstrap)?;
        anyhow::Ok(())
    };
    copy()
        .with_context(|| format!("failed to copy {} to {}", binary.display(), bootstrap.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn functions_are_found_by_their_code_uri() {
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
        assert_eq!(Vec::from_iter(names(template)), ["first", "second"]);
    }

    #[test]
    fn every_function_of_the_template_is_a_package() {
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
    fn variables_of_the_own_package_are_recognized() {
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
    fn a_replaced_binary_is_executable_and_alone_in_its_directory() {
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
