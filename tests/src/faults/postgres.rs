//! In front of PostgreSQL: turn by turn, as the protocol goes ("Message Flow"). A turn is what the
//! client says until it wants an answer (the start of a connection, a password, statements up to a
//! `Sync`) and that answer. What a client pipelines is done one turn after the other.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::answers::admin_shutdown;
use super::operation::of_sql;
use super::script::{Call, DELAY, Fault, Script, Service};

/// Codes of `Authentication…` messages that the client answers with a message of type `p`.
const WANTS_PASSWORD: [u32; 5] = [3, 5, 8, 10, 11];

/// The proxy. Ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct PostgresProxy {
    url: String,
    _server: AbortOnDropHandle<()>,
}

/// What the client says in a turn.
struct Turn {
    call: Call,
    bytes: Vec<u8>,
    /// The client says good-bye and wants no answer.
    is_last: bool,
}

impl PostgresProxy {
    /// A proxy that leads to the database at `url`, which is on this machine and speaks no TLS.
    ///
    /// # Errors
    /// When no port is free, or `url` is none of PostgreSQL's.
    pub async fn start(script: Arc<Script>, url: &str) -> Result<Self> {
        let config: tokio_postgres::Config = url.parse()?;
        let target = *config.get_ports().first().context("the database's URL has no port")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
        let port = listener.local_addr()?.port();
        let serving = async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                connections.spawn(async move {
                    // A connection that breaks is the worker's to notice.
                    let _ = serve(near, target, &script).await;
                });
            }
        };
        Ok(Self {
            url: url.replace(&format!(":{target}/"), &format!(":{port}/")),
            _server: AbortOnDropHandle::new(tokio::spawn(serving)),
        })
    }

    /// For `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

async fn serve(mut near: TcpStream, target: u16, script: &Script) -> Result<()> {
    let mut far = TcpStream::connect(("127.0.0.1", target)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let mut turn = read_start(&mut near).await?;
    while !turn.is_last {
        let fault = script.next(turn.call);
        match fault {
            Some(Fault::LostRequest) => return Ok(()),
            Some(Fault::KillBefore) => {
                script.kill().await;
                return Ok(());
            }
            Some(Fault::Error) => return Ok(near.write_all(&admin_shutdown()).await?),
            Some(Fault::Delay) => tokio::time::sleep(DELAY).await,
            Some(Fault::Hold) => script.hold().await,
            _ => {}
        }
        far.write_all(&turn.bytes).await?;
        let answer = read_answer(&mut far).await?;
        match fault {
            Some(Fault::LostAnswer) => return Ok(()),
            Some(Fault::TruncatedAnswer) => {
                return Ok(near.write_all(&answer[..answer.len() / 2]).await?);
            }
            Some(Fault::KillAfter) => {
                script.kill().await;
                return Ok(());
            }
            _ => near.write_all(&answer).await?,
        }
        turn = read_turn(&mut near).await?;
    }
    Ok(far.write_all(&turn.bytes).await?)
}

/// The first message of a connection has no type.
async fn read_start(near: &mut TcpStream) -> Result<Turn> {
    let length = near.read_u32().await?;
    let mut bytes = length.to_be_bytes().to_vec();
    read_body(near, length, &mut bytes).await?;
    Ok(Turn { call: named("connect"), bytes, is_last: false })
}

async fn read_turn(near: &mut TcpStream) -> Result<Turn> {
    let mut bytes = Vec::new();
    let mut statement = String::new();
    loop {
        let (kind, begin) = read_message(near, &mut bytes).await?;
        // Both begin with strings that end with a zero; a `Parse` with the statement's name.
        let number = match kind {
            b'P' => Some(1),
            b'Q' => Some(0),
            _ => None,
        };
        if let Some(number) = number {
            let text = bytes[begin..].split(|byte| *byte == 0).nth(number).unwrap_or_default();
            statement = String::from_utf8_lossy(text).into_owned();
        }
        let call = match kind {
            b'p' => named("authenticate"),
            b'S' | b'Q' => of_sql(&statement),
            b'X' => named("close"),
            _ => continue,
        };
        return Ok(Turn { call, bytes, is_last: kind == b'X' });
    }
}

/// Everything up to `ReadyForQuery`, a fatal error, or a wish for a password.
async fn read_answer(far: &mut TcpStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let (kind, begin) = match read_message(far, &mut bytes).await {
            Ok(read) => read,
            // After a fatal error the server closes the connection.
            Err(_) if !bytes.is_empty() => return Ok(bytes),
            Err(error) => return Err(error),
        };
        let code = bytes[begin..].first_chunk().copied().map(u32::from_be_bytes);
        let is_over = match kind {
            b'Z' => true,
            b'R' => code.is_some_and(|code| WANTS_PASSWORD.contains(&code)),
            _ => false,
        };
        if is_over {
            return Ok(bytes);
        }
    }
}

/// Reads a message to the end of `bytes`; returns its type, and where its content begins.
async fn read_message(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(u8, usize)> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    let begin = bytes.len();
    read_body(stream, length, bytes).await?;
    Ok((kind, begin))
}

/// Reads the rest of a message to the end of `bytes`; `length` counts itself.
async fn read_body(stream: &mut TcpStream, length: u32, bytes: &mut Vec<u8>) -> Result<()> {
    let begin = bytes.len();
    bytes.resize(begin + length.checked_sub(4).context("a message without length")? as usize, 0);
    stream.read_exact(&mut bytes[begin..]).await?;
    Ok(())
}

fn named(operation: &str) -> Call {
    let service = Service::Postgres;
    Call { service, operation: operation.to_owned(), request: operation.to_owned() }
}
