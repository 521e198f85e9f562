//! Scenarios of `cleanup-expired-bdrs`.

mod erase;
mod republish;
mod runs;

use bdr_tests::Scenario;
use bdr_tests::in_process::Cleaner;
use local_stack::remote::RemoteHost;
use shared::vault::Vault;

/// Starts the function with `host` as the S3 of the vault, a bucket `vault`.
async fn cleaner_with_vault_at(s: &Scenario, host: &RemoteHost) -> Cleaner {
    let s3 = aws_sdk_s3::config::Builder::from(&s.stack.sdk_config())
        .endpoint_url(host.url(""))
        .force_path_style(true)
        .build();
    let mut cleaner = Cleaner::new(s, &[]).await;
    cleaner.handler.cleanup.vault = Vault::new(aws_sdk_s3::Client::from_conf(s3), "vault");
    cleaner
}
