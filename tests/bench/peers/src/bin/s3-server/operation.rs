//! The operations of S3.

use std::collections::BTreeMap;

use axum::{
    extract::Query,
    http::{Method, Uri},
};

/// An operation that the benchmark's programs use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    GetObject,
    HeadObject,
    PutObject,
    CreateMultipartUpload,
    UploadPart { upload_id: String, number: u32 },
    UploadPartCopy { upload_id: String, number: u32 },
    CompleteMultipartUpload { upload_id: String },
    AbortMultipartUpload { upload_id: String },
    ListMultipartUploads,
    Unsupported,
}

impl Operation {
    /// Returns the operation of a request. `is_copy`: it has the header `x-amz-copy-source`.
    pub(crate) fn of(method: &Method, uri: &Uri, is_copy: bool) -> Self {
        let query = Query::<BTreeMap<String, String>>::try_from_uri(uri);
        let Query(mut query) = query.unwrap_or_default();
        let uploads = query.contains_key("uploads");
        match (method.as_str(), query.remove("uploadId")) {
            ("GET", None) if uploads => Self::ListMultipartUploads,
            ("GET", None) => Self::GetObject,
            ("HEAD", None) => Self::HeadObject,
            ("PUT", None) => Self::PutObject,
            ("POST", None) if uploads => Self::CreateMultipartUpload,
            ("PUT", Some(upload_id)) => {
                let number = query.get("partNumber").and_then(|number| number.parse().ok());
                match number {
                    None => Self::Unsupported,
                    Some(number) if is_copy => Self::UploadPartCopy { upload_id, number },
                    Some(number) => Self::UploadPart { upload_id, number },
                }
            }
            ("POST", Some(upload_id)) => Self::CompleteMultipartUpload { upload_id },
            ("DELETE", Some(upload_id)) => Self::AbortMultipartUpload { upload_id },
            _ => Self::Unsupported,
        }
    }

    /// Returns a short name for the report.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::GetObject => "GET",
            Self::HeadObject => "HEAD",
            Self::PutObject => "PUT",
            Self::CreateMultipartUpload => "create",
            Self::UploadPart { .. } => "part",
            Self::UploadPartCopy { .. } => "copy",
            Self::CompleteMultipartUpload { .. } => "complete",
            Self::AbortMultipartUpload { .. } => "abort",
            Self::ListMultipartUploads => "list",
            Self::Unsupported => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_and_query_determine_the_operation() {
        let operation = |method: &str, uri: &'static str| {
            Operation::of(&method.parse().unwrap(), &Uri::from_static(uri), false)
        };
        let upload_id = || "u1".to_owned();
        assert_eq!(operation("GET", "/b/k?x-id=GetObject"), Operation::GetObject);
        assert_eq!(operation("PUT", "/b/k?x-id=PutObject"), Operation::PutObject);
        assert_eq!(operation("POST", "/b/k?uploads"), Operation::CreateMultipartUpload);
        assert_eq!(
            operation("PUT", "/b/k?x-id=UploadPart&partNumber=7&uploadId=u1"),
            Operation::UploadPart { upload_id: upload_id(), number: 7 }
        );
        assert_eq!(
            Operation::of(&Method::PUT, &Uri::from_static("/b/k?partNumber=7&uploadId=u1"), true),
            Operation::UploadPartCopy { upload_id: upload_id(), number: 7 }
        );
        assert_eq!(
            operation("POST", "/b/k?uploadId=u1"),
            Operation::CompleteMultipartUpload { upload_id: upload_id() }
        );
        assert_eq!(
            operation("DELETE", "/b/k?uploadId=u1"),
            Operation::AbortMultipartUpload { upload_id: upload_id() }
        );
        assert_eq!(operation("DELETE", "/b/k"), Operation::Unsupported);
    }
}
