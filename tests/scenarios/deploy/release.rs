//! The artifacts of a release, and the files of the repository that deploy it.

use std::process::Command;

use bdr_tests::scenario;
use bdr_tests::template::Template;

use crate::deploy::deployed_stack::template;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Packs this content with this umask and time zone.
fn pack(content: &[u8], umask: &str, zone: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (binary, zip) = (folder.path().join("binary"), folder.path().join("out/packed.zip"));
    std::fs::write(&binary, content).unwrap();
    let script = format!("umask {umask}; exec infra/pack.sh \"$0\" \"$1\"");
    let status = Command::new("bash")
        .args(["-c", &script])
        .args([&binary, &zip])
        .env("TZ", zone)
        .current_dir(ROOT)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(zip).unwrap()
}

#[test]
fn packing_the_same_binary_gives_the_same_zip_everywhere() {
    let zip = pack(b"a program", "022", "UTC");
    assert_eq!(zip, pack(b"a program", "077", "Asia/Tokyo"));
    assert_ne!(zip, pack(b"another program", "022", "UTC"));
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    assert_eq!(zip.len(), 1);
    let file = zip.by_index(0).unwrap();
    // Lambda runs it as another user, who must be able to read and execute it.
    assert_eq!((&*file.name().unwrap(), file.unix_mode()), ("bootstrap", Some(0o100_755)));
    // A fixed time, not the time of packing.
    assert_eq!(file.last_modified().unwrap().to_string(), "2000-01-01 00:00:00");
}

#[test]
fn the_operator_scripts_are_valid_bash() {
    for script in ["pack.sh", "release.sh", "vault-cors.sh", "vault-lifecycle.sh"] {
        let path = format!("infra/{script}");
        let check = Command::new("bash").args(["-n", &path]).current_dir(ROOT).status().unwrap();
        assert!(check.success(), "{script}");
    }
    let unknown = Command::new("infra/release.sh").arg("riscv").current_dir(ROOT).output().unwrap();
    assert!(!unknown.status.success());
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(error.contains("unknown architecture riscv. Specify arm64 or x86_64."), "{error}");
}

#[test]
fn the_operator_scripts_explain_their_use_and_what_is_missing() {
    let run = |script: &str, arguments: &[&str], path: &str| {
        let mut command = Command::new("/bin/bash");
        command.arg(format!("{ROOT}/infra/{script}")).args(arguments).env_clear();
        let output = command.env("PATH", path).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    for script in ["release.sh", "vault-cors.sh", "vault-lifecycle.sh"] {
        let (succeeded, help, _) = run(script, &["--help"], "/usr/bin:/bin");
        assert!(succeeded && help.starts_with(&format!("infra/{script} ")), "{help}");
        assert!(help.lines().count() > 3 && !help.contains("set -"), "{help}");
    }
    // The folder has what the shell scripts use before they look for other programs.
    let folder = tempfile::tempdir().unwrap();
    for name in ["dirname", "sed"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{name}"), folder.path().join(name)).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    for (script, arguments, error) in [
        ("vault-cors.sh", &["vault"][..], "specify a bucket and at least one origin."),
        ("vault-cors.sh", &["vault", "makapix.club"], "aws is not installed."),
        ("vault-lifecycle.sh", &[], "specify a bucket."),
        ("vault-lifecycle.sh", &["vault", "a week"], "a week is not a number of days."),
        ("vault-lifecycle.sh", &["vault"], "aws is not installed."),
        ("release.sh", &["arm64"], "Rust is not installed."),
    ] {
        let (succeeded, _, stderr) = run(script, arguments, path);
        assert!(!succeeded && stderr.starts_with(&format!("infra/{script}: {error}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn samconfig_sets_only_values_that_the_template_accepts() {
    scenario(async |s| {
        let template = Template(template(&s).await);
        let config = include_str!("../../../samconfig.toml");
        for environment in ["dev", "prod"] {
            let (_, section) = config.split_once(&format!("[{environment}.deploy.")).unwrap();
            let (_, overrides) = section.split_once("parameter_overrides = [\n").unwrap();
            let (overrides, _) = overrides.split_once("\n]").unwrap();
            let parameters = overrides.lines().map(|line| {
                let text: String = serde_json::from_str(line.trim().trim_end_matches(',')).unwrap();
                let (name, value) = text.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            });
            let parameters: Vec<_> = parameters.collect();
            assert!(
                parameters.len() > 2 && parameters.iter().all(|(name, _)| name != "DatabaseUrl")
            );
            for (name, value) in &parameters {
                let allowed = &template.0["Parameters"][name]["AllowedValues"];
                let allowed = allowed.as_array().is_none_or(|allowed| {
                    allowed.iter().any(|one| one.to_string().trim_matches('"') == value)
                });
                assert!(allowed, "{name}={value}");
            }
            let parameters: Vec<_> =
                parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            template.with(&parameters).unwrap();
        }
    });
}
