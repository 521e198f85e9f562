//! Checks a signature by another implementation: that of the SDK.

use aws_sdk_s3::config::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use time::PrimitiveDateTime;
use time::macros::format_description;

/// Panics unless a request was signed with these credentials.
pub(super) fn check(
    method: &str,
    url: &str,
    headers: &[(String, String)],
    credentials: &Credentials,
) {
    let header = |name: &str| {
        let found = headers.iter().find(|header| header.0 == name);
        found.map_or_else(|| panic!("no {name}: {url}"), |header| header.1.as_str())
    };
    let authorization = header("authorization");
    let field = |name: &str| {
        let at = authorization.find(name).unwrap() + name.len();
        authorization[at..].split(',').next().unwrap()
    };
    let scope: Vec<&str> = field("Credential=").split('/').collect();
    let [_, day, region, service, "aws4_request"] = scope[..] else { panic!("{scope:?}") };
    let date_time = header("x-amz-date");
    assert!(date_time.starts_with(day), "{date_time} {day}");
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = PrimitiveDateTime::parse(date_time, format).unwrap().assume_utc();

    let names: Vec<&str> = field("SignedHeaders=").split(';').collect();
    for (name, _) in headers.iter().filter(|header| header.0.starts_with("x-amz-")) {
        assert!(names.contains(&name.as_str()), "{name} is not signed");
    }
    assert!(names.contains(&"host"), "the host is not signed");
    let signed = names.iter().filter(|name| **name != "host").map(|name| (*name, header(name)));
    let payload = SignableBody::Precomputed(header("x-amz-content-sha256").to_owned());
    let request = SignableRequest::new(method, url, signed, payload).unwrap();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = credentials.clone().into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time.into())
        .settings(settings)
        .build()
        .unwrap();
    let expected = sign(request, &params.into()).unwrap();
    assert_eq!(field("Signature="), expected.signature(), "{method} {url}");
}
