//! An S3 server that needs almost no memory and no disk: it generates artworks while it sends them, and
//! keeps of an upload only the size, unless the benchmark asks for the content. It delays every
//! response, as a network does.
//!
//! It supports the operations that the benchmark's programs use, with keep-alive and optional TLS. It
//! prints its two URLs in one line and ends when its standard input is closed.

mod operation;
mod rate;
mod service;
mod store;
mod tls;

use std::{io::Read as _, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Parser;
use tokio::net::{TcpListener, TcpSocket};

use service::Service;

/// Size of the send buffer of a connection behind a network with a limit, in bytes. The kernel would take megabytes
/// of a body that the client does not read, and they would count as sent: 128 open bodies would occupy the
/// network for 8 s.
const SEND_BUFFER: u32 = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Serve S3 for the benchmark.
#[derive(Parser)]
struct Options {
    /// Delay the first byte of every response (in ms).
    #[arg(long, default_value_t = 30)]
    latency_ms: u64,
    /// Limit the network, in each direction (in MB/s).
    #[arg(long)]
    network_mb_s: Option<u32>,
    /// Limit the body of each GET (in MB/s).
    #[arg(long)]
    get_mb_s: Option<u32>,
    /// Use TLS and write the root certificate to this file (PEM).
    #[arg(long)]
    tls: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let latency = Duration::from_millis(options.latency_ms);
    let service = Arc::new(Service::new(latency, options.network_mb_s, options.get_mb_s));
    let tls = options.tls.as_deref().map(tls::acceptor).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let admin = TcpListener::bind("127.0.0.1:0").await?;
    let s3 = TcpSocket::new_v4()?;
    if options.network_mb_s.is_some() {
        s3.set_send_buffer_size(SEND_BUFFER)?;
    }
    s3.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let s3 = s3.listen(BACKLOG)?;
    let s3_url = format!("{scheme}://localhost:{}", s3.local_addr()?.port());
    let admin_url = format!("http://{}", admin.local_addr()?);
    println!("{s3_url} {admin_url}");
    // The benchmark has ended, even if it was killed.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let routes = service::routes(Arc::clone(&service));
    tokio::spawn(axum::serve(admin, routes.clone()).into_future());
    tls::serve(s3, tls, routes, || service.state().traffic.connections += 1).await;
    Ok(())
}
