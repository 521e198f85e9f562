//! The lifecycle of the vault, as `template.yaml` has it: the stand-in's CloudFormation leaves it out,
//! and whoever looks at the stack would find something missing that is not missing on AWS.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use serde_json::Value;

/// Gives the bucket the rules of the packaged template, which was deployed with `parameters`.
pub(crate) async fn apply(
    s3: &aws_sdk_s3::Client,
    bucket: &str,
    template: &Value,
    parameters: &BTreeMap<String, String>,
) -> Result<()> {
    let rules = rules(template, parameters)?;
    let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build()?;
    let put = s3.put_bucket_lifecycle_configuration().bucket(bucket);
    let put = put.lifecycle_configuration(configuration).send().await;
    put.map(drop).context("the vault cannot be given its lifecycle")
}

fn rules(template: &Value, parameters: &BTreeMap<String, String>) -> Result<Vec<LifecycleRule>> {
    let bucket = &template["Resources"]["VaultBucket"]["Properties"];
    let rules = bucket["LifecycleConfiguration"]["Rules"].as_array();
    let rules = rules.context("the vault of template.yaml has no lifecycle")?;
    let days = |value: &Value| number(template, parameters, value);
    let rule = |rule: &Value| {
        let expiration = days(&rule["ExpirationInDays"])
            .map(|days| LifecycleExpiration::builder().days(days).build());
        let abort = days(&rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]);
        let abort =
            abort.map(|days| AbortIncompleteMultipartUpload::builder().days_after_initiation(days));
        let prefix = rule["Prefix"].as_str().unwrap_or_default();
        let rule = LifecycleRule::builder()
            .set_id(rule["Id"].as_str().map(str::to_owned))
            .status(ExpirationStatus::from(rule["Status"].as_str().unwrap_or_default()))
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .set_expiration(expiration)
            .set_abort_incomplete_multipart_upload(
                abort
                    .map(aws_sdk_s3::types::builders::AbortIncompleteMultipartUploadBuilder::build),
            );
        Ok(rule.build()?)
    };
    rules.iter().map(rule).collect()
}

/// A number, or what `Fn::FindInMap` finds by a parameter.
fn number(template: &Value, parameters: &BTreeMap<String, String>, value: &Value) -> Option<i32> {
    let found = match value["Fn::FindInMap"].as_array().map(Vec::as_slice) {
        Some([map, key, name]) => {
            let parameter = key["Ref"].as_str()?;
            let given = parameters.get(parameter).cloned();
            let key = given.unwrap_or_else(|| plain(&template["Parameters"][parameter]["Default"]));
            &template["Mappings"][map.as_str()?][key][name.as_str()?]
        }
        _ => value,
    };
    plain(found).parse().ok()
}

/// A scalar without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_follows_the_parameter_it_was_deployed_with() {
        let template = json!({
            "Parameters": {"ExpiresAfterDays": {"Default": 7}},
            "Mappings": {"Backstop": {"3": {"Days": 10}, "7": {"Days": 14}}},
            "Resources": {"VaultBucket": {"Properties": {"LifecycleConfiguration": {"Rules": [
                {"Id": "a", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
                {"Id": "b", "Status": "Enabled", "Prefix": "bdr/", "ExpirationInDays":
                    {"Fn::FindInMap": ["Backstop", {"Ref": "ExpiresAfterDays"}, "Days"]}},
            ]}}}},
        });
        for (parameters, days) in [(vec![], 14), (vec![("ExpiresAfterDays", "3")], 10)] {
            let parameters = parameters.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
            let rules = rules(&template, &parameters.collect()).unwrap();
            let abort = rules[0].abort_incomplete_multipart_upload().unwrap();
            assert_eq!(abort.days_after_initiation(), Some(2));
            assert_eq!(rules[0].expiration(), None);
            assert_eq!(rules[1].expiration().unwrap().days(), Some(days));
            assert_eq!(rules[1].filter().unwrap().prefix(), Some("bdr/"));
        }
    }
}
