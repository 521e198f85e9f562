//! A vault that takes next to nothing: artworks are made as they are sent, and of what is uploaded
//! only the size is remembered, unless one wants to look at it.
//!
//! It speaks as much of S3 as the function uses, over plain HTTP with keep-alive, on a thread of its
//! own.

mod chunks;
mod operation;
mod service;
mod store;
mod traffic;
mod xml;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

pub(crate) use operation::Kind;
pub(crate) use store::Object;
pub(crate) use traffic::Traffic;

use service::Service;

/// The running vault. It ends with the process.
#[derive(Debug)]
pub(crate) struct S3Server {
    address: SocketAddr,
    service: Arc<Service>,
}

impl S3Server {
    /// Starts a vault whose answers begin `latency` after the question's end.
    pub(crate) fn start(latency: Duration) -> Result<Self> {
        const CONTEXT: &str = "the benchmark's S3 server cannot be started";
        let listener = TcpListener::bind("127.0.0.1:0").context(CONTEXT)?;
        listener.set_nonblocking(true).context(CONTEXT)?;
        let address = listener.local_addr().context(CONTEXT)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context(CONTEXT)?;
        let service = Arc::new(Service::new(latency));
        let served = Arc::clone(&service);
        thread::Builder::new()
            .name("s3".into())
            .spawn(move || runtime.block_on(service::serve(listener, served)))
            .context(CONTEXT)?;
        Ok(Self { address, service })
    }

    /// For `AWS_ENDPOINT_URL_S3`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets what was stored and counted. From now on the bytes of what is uploaded are kept only
    /// if `keep` says so.
    pub(crate) fn reset(&self, keep: bool) {
        self.service.store.reset(keep);
        self.service.traffic.reset();
    }

    /// What has been asked since the last reset.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.service.traffic
    }

    /// What was uploaded to `key` since the last reset.
    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        self.service.store.object(key)
    }
}
