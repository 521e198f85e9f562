//! In front of the AWS endpoint and a web host: plain HTTP/1.1, one request after the other on each
//! connection, bodies in memory.
//!
//! No library serves broken answers, so the connection is handled here; heads are parsed by
//! `httparse`, and the way on is `reqwest`'s.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::answers::{Answer, refusal};
use super::operation::{Asked, WEB, of_http};
use super::script::{DELAY, Fault, Script};

/// Longest head that is understood, in bytes, and most headers.
const HEAD: (usize, usize) = (64 * 1024, 64);

/// The proxy. Ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct HttpProxy {
    authority: String,
    _server: AbortOnDropHandle<()>,
}

struct Proxy {
    script: Arc<Script>,
    client: reqwest::Client,
    aws: String,
    web: String,
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl HttpProxy {
    /// A proxy that leads to the AWS endpoint `aws`, and, under `/web`, to the web host `web`; both
    /// are URLs without a path.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(script: Arc<Script>, aws: &str, web: &str) -> Result<Self> {
        let proxy = Arc::new(Proxy {
            script,
            client: local_stack::http::client()?,
            aws: aws.to_owned(),
            web: web.to_owned(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let authority = listener.local_addr()?.to_string();
        let serving = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = Arc::clone(&proxy);
                connections.spawn(async move {
                    // A connection that breaks is the worker's to notice.
                    let _ = proxy.serve(stream).await;
                });
            }
        };
        Ok(Self { authority, _server: AbortOnDropHandle::new(tokio::spawn(serving)) })
    }

    /// For `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// For `REMOTE_ALLOW_HOSTS`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Where `path` of the web host is to be had through the proxy.
    #[must_use]
    pub fn web_url(&self, path: &str) -> String {
        format!("http://{}{}{}", self.authority, WEB.trim_end_matches('/'), path)
    }
}

impl Proxy {
    async fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffer).await? {
            let call = of_http(&request.asked());
            let service = call.service;
            let fault = self.script.next(call);
            if let Some(refusal) = fault.and_then(|fault| refusal(service, fault)) {
                write(&mut stream, &refusal, &request).await?;
                continue;
            }
            match fault {
                Some(Fault::LostRequest) => return Ok(()),
                Some(Fault::KillBefore) => {
                    self.script.kill().await;
                    return Ok(());
                }
                Some(Fault::Delay) => tokio::time::sleep(DELAY).await,
                Some(Fault::Hold) => self.script.hold().await,
                _ => {}
            }
            let answer = self.forward(&request).await?;
            match fault {
                Some(Fault::LostAnswer) => return Ok(()),
                Some(Fault::TruncatedAnswer) => {
                    return write_half(&mut stream, &answer, &request).await;
                }
                Some(Fault::KillAfter) => {
                    self.script.kill().await;
                    return Ok(());
                }
                _ => write(&mut stream, &answer, &request).await?,
            }
        }
        Ok(())
    }

    async fn forward(&self, request: &Request) -> Result<Answer> {
        let url = match request.target.strip_prefix(WEB) {
            Some(path) => format!("{}/{path}", self.web),
            None => format!("{}{}", self.aws, request.target),
        };
        let method: reqwest::Method = request.method.parse()?;
        let mut forwarded = self.client.request(method, url).body(request.body.clone());
        for (name, value) in &request.headers {
            if !["connection", "content-length", "expect"].contains(&name.as_str()) {
                forwarded = forwarded.header(name, value.clone());
            }
        }
        let answer = forwarded.send().await?;
        let is_head = request.method == "HEAD";
        let passed_on = |name: &str| match name {
            "connection" | "transfer-encoding" => false,
            "content-length" => is_head,
            _ => true,
        };
        let headers = answer
            .headers()
            .iter()
            .filter(|(name, _)| passed_on(name.as_str()))
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect();
        let status = answer.status().as_u16();
        Ok(Answer { status, headers, body: answer.bytes().await?.to_vec() })
    }
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(each, _)| each == name)?;
        std::str::from_utf8(value).ok()
    }

    fn asked(&self) -> Asked<'_> {
        let is_form = self
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        Asked {
            method: &self.method,
            target: &self.target,
            amz_target: self.header("x-amz-target"),
            form: std::str::from_utf8(&self.body).ok().filter(|_| is_form),
        }
    }
}

/// The next request, or nothing when the client has closed the connection. `buffer` keeps what has
/// been read beyond it.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Request>> {
    let (mut request, head) = loop {
        if let Some(parsed) = parse_head(buffer)? {
            break parsed;
        }
        if buffer.len() > HEAD.0 {
            bail!("the head is too long");
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    buffer.drain(..head);
    let length: usize = request.header("content-length").unwrap_or("0").parse()?;
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    buffer.reserve(length.saturating_sub(buffer.len()));
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the request breaks off");
        }
    }
    let rest = buffer.split_off(length);
    request.body = std::mem::replace(buffer, rest);
    Ok(Some(request))
}

/// The head at the beginning of `bytes` and its length, if it is there whole.
fn parse_head(bytes: &[u8]) -> Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEAD.1];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes)? else { return Ok(None) };
    let headers = head.headers.iter();
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        headers: headers.map(|h| (h.name.to_ascii_lowercase(), h.value.to_vec())).collect(),
        body: Vec::new(),
    };
    Ok(Some((request, length)))
}

async fn write(stream: &mut TcpStream, answer: &Answer, request: &Request) -> Result<()> {
    let (head, body) = answer.encode(request.method == "HEAD");
    stream.write_all(&head).await?;
    stream.write_all(body).await?;
    Ok(())
}

/// Writes the head and half of the body, or half of the head of an answer without a body.
async fn write_half(stream: &mut TcpStream, answer: &Answer, request: &Request) -> Result<()> {
    let (head, body) = answer.encode(request.method == "HEAD");
    if body.is_empty() {
        stream.write_all(&head[..head.len() / 2]).await?;
    } else {
        stream.write_all(&head).await?;
        stream.write_all(&body[..body.len() / 2]).await?;
    }
    Ok(())
}
