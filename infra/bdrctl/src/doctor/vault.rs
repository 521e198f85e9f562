//! The vault: that it is there, and that it tidies up by itself where all else has failed.

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
use super::finding::Report;
use crate::operator::Operator;

const CHECK: &str = "vault";
const LIFECYCLE: &str = "vault's lifecycle";
/// Where the archives are.
const ARCHIVES: &str = "bdr/";

pub(super) async fn check(operator: &Operator, report: &mut Report) {
    let bucket = match operator.place.bucket().await {
        Ok(bucket) => bucket,
        Err(error) => return report.not_checked(CHECK, &error, "Name it by --bucket."),
    };
    let date = Date::default();
    let head = operator.s3().head_bucket().bucket(&bucket).customize().interceptor(date.clone());
    match head.send().await {
        Ok(_) => report.ok(CHECK, format!("the bucket {bucket} is there")),
        Err(error)
            if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404) =>
        {
            let advice = "VaultBucketName must name the bucket of the artworks.";
            report.error(CHECK, format!("there is no bucket {bucket}"), advice);
        }
        Err(error) => {
            let error = anyhow::Error::new(error).context("S3 does not show the bucket");
            report.not_checked(CHECK, &error, "Needs s3:ListBucket.");
        }
    }
    clock::compare(report, "clock of AWS", date.seen());
    if let Err(error) = lifecycle(operator, report, &bucket).await {
        report.not_checked(LIFECYCLE, &error, "Needs s3:GetLifecycleConfiguration.");
    }
}

async fn lifecycle(operator: &Operator, report: &mut Report, bucket: &str) -> Result<()> {
    let answer = operator.s3().get_bucket_lifecycle_configuration().bucket(bucket).send().await;
    let rules = match answer {
        Ok(answer) => answer.rules.unwrap_or_default(),
        Err(error)
            if error.as_service_error().is_some_and(|error| {
                error.meta().code() == Some("NoSuchLifecycleConfiguration")
            }) =>
        {
            Vec::new()
        }
        Err(error) => return Err(error).context("S3 does not show the lifecycle"),
    };
    let enabled: Vec<&LifecycleRule> =
        rules.iter().filter(|rule| rule.status == ExpirationStatus::Enabled).collect();

    let aborts = enabled.iter().any(|rule| rule.abort_incomplete_multipart_upload.is_some());
    let found = if aborts {
        "it ends uploads that were left"
    } else {
        "it does not end uploads that were left"
    };
    let advice = "The parts of attempts that were killed cost money unseen. Add the template's rule \
                  AbortIncompleteUploads.";
    report.must(aborts, LIFECYCLE, found, advice);

    let promised = operator.function_environment().await?.optional("EXPIRES_AFTER_DAYS");
    let promised: i32 = promised.and_then(|days| days.parse().ok()).unwrap_or(7);
    let mut backstop = false;
    for rule in enabled {
        let Some(days) = rule.expiration.as_ref().and_then(|expiration| expiration.days) else {
            continue;
        };
        match prefix(rule) {
            ARCHIVES if days > promised => backstop = true,
            ARCHIVES => {
                let found =
                    format!("it deletes archives after {days} days, promised for {promised}");
                report.error(LIFECYCLE, found, "Raise it to a week more than EXPIRES_AFTER_DAYS.");
            }
            other if ARCHIVES.starts_with(other) => {
                let found = format!("it deletes everything under {other:?} after {days} days");
                report.error(LIFECYCLE, found, "Artworks must not expire: limit it to bdr/.");
            }
            _ => {}
        }
    }
    let found = if backstop {
        "it deletes archives that the cleanup has missed"
    } else {
        "it does not delete archives that the cleanup has missed"
    };
    report.must(backstop, LIFECYCLE, found, "Add the template's rule ArchiveBackstop.");
    Ok(())
}

/// What a rule is limited to, in either of the two spellings that S3 has.
#[expect(deprecated, reason = "rules made by CloudFormation have it")]
fn prefix(rule: &LifecycleRule) -> &str {
    let filter = rule.filter.as_ref().and_then(|filter| {
        filter.prefix.as_deref().or_else(|| filter.and.as_ref()?.prefix.as_deref())
    });
    filter.or(rule.prefix.as_deref()).unwrap_or_default()
}

/// Takes down what time AWS says it is.
#[derive(Debug, Clone, Default)]
struct Date(Arc<Mutex<Option<String>>>);

impl Date {
    fn seen(&self) -> Result<OffsetDateTime> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = text.context("the answer has no date")?;
        OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822)
            .context("the answer has a date that cannot be read")
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
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
