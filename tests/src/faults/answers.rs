//! The services' own words for what goes wrong.

use super::script::{Fault, Service};

/// An answer to an HTTP request.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// What `service` answers instead of doing what it was asked, or nothing if `fault` is none of its
/// answers.
pub(super) fn refusal(service: Service, fault: Fault) -> Option<Answer> {
    let (status, code) = match (fault, service) {
        (Fault::Error, Service::S3) => (500, "InternalError"),
        (Fault::Error, _) => (500, "InternalFailure"),
        (Fault::Throttling, Service::S3) => (503, "SlowDown"),
        (Fault::Throttling, Service::Sqs) => (400, "RequestThrottled"),
        (Fault::Throttling, Service::Ses) => (400, "Throttling"),
        (Fault::Throttling, _) => (429, "TooManyRequests"),
        (Fault::Denial, Service::Sqs) => (403, "AccessDeniedException"),
        (Fault::Denial, _) => (403, "AccessDenied"),
        _ => return None,
    };
    let (content_type, body) = match service {
        Service::S3 => {
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                 <Message>Injected.</Message><RequestId>fault</RequestId></Error>"
            );
            ("application/xml", body)
        }
        Service::Sqs => {
            let body = format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"Injected."}}"#);
            ("application/x-amz-json-1.0", body)
        }
        Service::Ses => {
            let body = format!(
                "<ErrorResponse xmlns=\"http://ses.amazonaws.com/doc/2010-12-01/\"><Error>\
                 <Type>Sender</Type><Code>{code}</Code><Message>Injected.</Message></Error>\
                 <RequestId>fault</RequestId></ErrorResponse>"
            );
            ("text/xml", body)
        }
        Service::Web | Service::Postgres => ("text/plain", String::new()),
    };
    Some(Answer {
        status,
        headers: vec![("content-type".to_owned(), content_type.into())],
        body: body.into_bytes(),
    })
}

impl Answer {
    /// As HTTP/1.1 sends it: the head, and the body, which an answer to HEAD does not have.
    pub(super) fn encode(&self, is_head: bool) -> (Vec<u8>, &[u8]) {
        let mut head = format!("HTTP/1.1 {} Injected\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        if !is_head && self.status != 204 {
            head.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        (head, if is_head { &[] } else { &self.body })
    }
}

/// PostgreSQL's message that an operator has ended the connection ("Error and Notice Message
/// Fields").
pub(super) fn admin_shutdown() -> Vec<u8> {
    let fields =
        b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", &length.to_be_bytes()[..], fields].concat()
}
