//! A vault that takes next to nothing: artworks are made as they are sent, and of what is uploaded only
//! the size is remembered, unless one wants to look at it. Each answer begins a while after the
//! question's end, as over a network.
//!
//! It speaks as much of S3 as the benchmark's programs use, with keep-alive, and with TLS if asked for.
//! It prints where it listens as a line of JSON, and ends with its standard input.

mod chunks;
mod operation;
mod serve;
mod service;
mod store;
mod traffic;
mod xml;

use std::{io::Read as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Parser;
use service::Service;

#[derive(Parser)]
struct Options {
    /// Time to the first byte of each answer, in ms.
    #[arg(long, default_value_t = 30)]
    latency_ms: u64,
    /// Speak TLS, and write the root to be trusted into this file (PEM).
    #[arg(long)]
    tls: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let service = Arc::new(Service::new(Duration::from_millis(options.latency_ms)));
    let tls = options.tls.as_deref().map(serve::certified).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (s3, admin) = (serve::listen().await?, serve::listen().await?);
    println!(
        "{}",
        serde_json::json!({
            "s3": format!("{scheme}://localhost:{}", s3.local_addr()?.port()),
            "admin": format!("http://{}", admin.local_addr()?),
        })
    );
    // Its owner has gone, however it ended.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let counted = Arc::clone(&service);
    tokio::join!(
        serve::serve(s3, tls, service::s3(Arc::clone(&service)), move || counted
            .traffic
            .connection()),
        serve::serve(admin, None, service::admin(service), || {}),
    );
    Ok(())
}
