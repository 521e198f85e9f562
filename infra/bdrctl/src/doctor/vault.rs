//! The vault: its bucket, and the lifecycle rules that delete what the functions left behind.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::clock;
use super::diagnosis::Diagnosis;
use crate::operator::Operator;

const CHECK: &str = "vault";
const LIFECYCLE: &str = "vault lifecycle";
/// Prefix of the archives' keys.
const ARCHIVES: &str = "bdr/";

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    let bucket = match operator.outputs.bucket().await {
        Ok(bucket) => bucket,
        Err(error) => return diagnosis.not_checked(CHECK, &error, "Specify it with --bucket."),
    };
    let date = ResponseDate::default();
    let head = operator.s3().head_bucket().bucket(&bucket).customize().interceptor(date.clone());
    match head.send().await {
        Ok(_) => diagnosis.ok(CHECK, format!("bucket {bucket} exists")),
        Err(error)
            if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) =>
        {
            let advice = "Set VaultBucketName to the bucket of the artworks.";
            diagnosis.error(CHECK, format!("bucket {bucket} does not exist"), advice);
        }
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot read the bucket");
            diagnosis.not_checked(CHECK, &error, "To check it, allow s3:ListBucket.");
        }
    }
    clock::compare(diagnosis, "AWS clock", date.parsed());
    if let Err(error) = lifecycle(operator, diagnosis, &bucket).await {
        diagnosis.not_checked(
            LIFECYCLE,
            &error,
            "To check it, allow s3:GetLifecycleConfiguration.",
        );
    }
}

async fn lifecycle(operator: &Operator, diagnosis: &mut Diagnosis, bucket: &str) -> Result<()> {
    let response = operator.s3().get_bucket_lifecycle_configuration().bucket(bucket).send().await;
    let rules = match response {
        Ok(response) => response.rules.unwrap_or_default(),
        Err(error)
            if error.as_service_error().is_some_and(|error| {
                error.meta().code() == Some("NoSuchLifecycleConfiguration")
            }) =>
        {
            Vec::new()
        }
        Err(error) => return Err(error).context("cannot read the lifecycle"),
    };
    let enabled: Vec<&LifecycleRule> =
        rules.iter().filter(|rule| rule.status == ExpirationStatus::Enabled).collect();

    let aborts = enabled.iter().any(|rule| rule.abort_incomplete_multipart_upload.is_some());
    let found = if aborts {
        "aborts incomplete multipart uploads"
    } else {
        "does not abort incomplete multipart uploads"
    };
    let advice = "Add the template's rule AbortIncompleteUploads: the hidden parts of killed attempts \
                  cost money.";
    diagnosis.require(aborts, LIFECYCLE, found, advice);

    let expiry = operator.function_environment().await?.optional("EXPIRES_AFTER_DAYS");
    let expiry: i32 = expiry.and_then(|days| days.parse().ok()).unwrap_or(7);
    let mut backstop = false;
    for rule in enabled {
        let Some(days) = rule.expiration.as_ref().and_then(|expiration| expiration.days) else {
            continue;
        };
        match prefix(rule) {
            ARCHIVES if days > expiry => backstop = true,
            ARCHIVES => {
                let found =
                    format!("deletes archives after {days} days, which expire after {expiry}");
                diagnosis.error(LIFECYCLE, found, "Set it to EXPIRES_AFTER_DAYS plus 7 days.");
            }
            other if ARCHIVES.starts_with(other) => {
                let found = format!("deletes all objects under {other:?} after {days} days");
                diagnosis.error(
                    LIFECYCLE,
                    found,
                    "Limit the rule to bdr/: artworks must not expire.",
                );
            }
            _ => {}
        }
    }
    let found = if backstop {
        "deletes archives that the cleanup missed"
    } else {
        "does not delete archives that the cleanup missed"
    };
    diagnosis.require(backstop, LIFECYCLE, found, "Add the template's rule ArchiveBackstop.");
    Ok(())
}

/// Returns the key prefix of a rule, from its filter or from the older field.
#[expect(deprecated, reason = "CloudFormation sets the older field")]
fn prefix(rule: &LifecycleRule) -> &str {
    let filter = rule.filter.as_ref().and_then(|filter| {
        filter.prefix.as_deref().or_else(|| filter.and.as_ref()?.prefix.as_deref())
    });
    filter.or(rule.prefix.as_deref()).unwrap_or_default()
}

/// The `Date` header of a response, recorded by an interceptor.
#[derive(Debug, Clone, Default)]
struct ResponseDate(Arc<Mutex<Option<String>>>);

impl ResponseDate {
    fn parsed(&self) -> Result<OffsetDateTime> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = text.context("the response has no date")?;
        OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822)
            .context("the response has a malformed date")
    }
}

impl Intercept for ResponseDate {
    fn name(&self) -> &'static str {
        "ResponseDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}
