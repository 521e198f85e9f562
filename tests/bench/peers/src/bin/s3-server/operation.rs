//! Which of S3's operations an HTTP request is.

use axum::http::{Method, Uri};

/// An operation on the object `key`, as far as the function uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    GetObject,
    HeadObject,
    PutObject,
    CreateMultipartUpload,
    UploadPart {
        upload: String,
        number: u32,
    },
    CompleteMultipartUpload {
        upload: String,
    },
    AbortMultipartUpload {
        upload: String,
    },
    ListMultipartUploads,
    /// Not supported.
    Other,
}

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Head,
    Put,
    Create,
    Part,
    Complete,
    Abort,
    List,
    Other,
}

impl Kind {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 9] = [
        Self::Get,
        Self::Head,
        Self::Put,
        Self::Create,
        Self::Part,
        Self::Complete,
        Self::Abort,
        Self::List,
        Self::Other,
    ];

    /// A short name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Create => "create",
            Self::Part => "part",
            Self::Complete => "complete",
            Self::Abort => "abort",
            Self::List => "list",
            Self::Other => "other",
        }
    }
}

impl Operation {
    /// Reads method and query.
    pub(crate) fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| {
                let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
                (found == name).then(|| value.to_owned())
            })
        };
        let upload = parameter("uploadId");
        match (method.as_str(), upload) {
            ("GET", None) if parameter("uploads").is_some() => Self::ListMultipartUploads,
            ("GET", None) => Self::GetObject,
            ("HEAD", None) => Self::HeadObject,
            ("PUT", None) => Self::PutObject,
            ("POST", None) if parameter("uploads").is_some() => Self::CreateMultipartUpload,
            ("PUT", Some(upload)) => {
                let number = parameter("partNumber").and_then(|number| number.parse().ok());
                number.map_or(Self::Other, |number| Self::UploadPart { upload, number })
            }
            ("POST", Some(upload)) => Self::CompleteMultipartUpload { upload },
            ("DELETE", Some(upload)) => Self::AbortMultipartUpload { upload },
            _ => Self::Other,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::GetObject => Kind::Get,
            Self::HeadObject => Kind::Head,
            Self::PutObject => Kind::Put,
            Self::CreateMultipartUpload => Kind::Create,
            Self::UploadPart { .. } => Kind::Part,
            Self::CompleteMultipartUpload { .. } => Kind::Complete,
            Self::AbortMultipartUpload { .. } => Kind::Abort,
            Self::ListMultipartUploads => Kind::List,
            Self::Other => Kind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_and_query_make_the_operation() {
        let operation = |method: &str, uri: &'static str| {
            Operation::of(&method.parse().unwrap(), &Uri::from_static(uri))
        };
        let upload = || "u1".to_owned();
        assert_eq!(operation("GET", "/b/k?x-id=GetObject"), Operation::GetObject);
        assert_eq!(operation("PUT", "/b/k?x-id=PutObject"), Operation::PutObject);
        assert_eq!(operation("POST", "/b/k?uploads"), Operation::CreateMultipartUpload);
        assert_eq!(
            operation("PUT", "/b/k?x-id=UploadPart&partNumber=7&uploadId=u1"),
            Operation::UploadPart { upload: upload(), number: 7 }
        );
        assert_eq!(
            operation("POST", "/b/k?uploadId=u1"),
            Operation::CompleteMultipartUpload { upload: upload() }
        );
        assert_eq!(
            operation("DELETE", "/b/k?uploadId=u1"),
            Operation::AbortMultipartUpload { upload: upload() }
        );
        assert_eq!(operation("DELETE", "/b/k"), Operation::Other);
    }
}
