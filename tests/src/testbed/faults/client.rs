//! A thread beside the cluster that misbehaves as a client until it is told to end.

use std::future::Future;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};

use crate::testbed::postgres::{DATABASE, Node};
use crate::testbed::stop::Stop;

/// A thread with a stop flag of its own.
#[derive(Debug)]
pub(super) struct Worker {
    stop: Stop,
    thread: JoinHandle<Result<()>>,
}

impl Worker {
    /// Starts a thread.
    pub(super) fn start(work: impl FnOnce(Stop) -> Result<()> + Send + 'static) -> Result<Self> {
        let stop = Stop::new();
        let own = stop.clone();
        let thread = std::thread::Builder::new()
            .name("fault".to_owned())
            .spawn(move || work(own))
            .context("start a thread for the fault")?;
        Ok(Self { stop, thread })
    }

    /// Starts a thread that runs one future; connections made in it end with it.
    pub(super) fn start_async<F>(work: impl FnOnce(Stop) -> F + Send + 'static) -> Result<Self>
    where
        F: Future<Output = Result<()>>,
    {
        Self::start(move |stop| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("build a runtime for the fault")?;
            let result = runtime.block_on(work(stop));
            runtime.shutdown_timeout(Duration::from_secs(1));
            result
        })
    }

    /// Whether it ended by itself.
    pub(super) fn ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Tells it to end and waits.
    pub(super) fn end(self) -> Result<()> {
        self.stop.set();
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the fault's thread panicked"))?
    }
}

/// Waits for the word to end.
pub(super) async fn until_stopped(stop: &Stop) {
    while !stop.is_set() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A session of the application's role over TCP, under this application's name.
pub(super) async fn connect(node: &Node, application: &str) -> Result<Client> {
    let password = node.password("app")?;
    connect_as(node, "app", &password, application).await
}

/// A session of this role.
pub(super) async fn connect_as(
    node: &Node,
    user: &str,
    password: &str,
    application: &str,
) -> Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&node.address)
        .port(node.port)
        .user(user)
        .password(password)
        .dbname(DATABASE)
        .application_name(application)
        .connect_timeout(Duration::from_secs(5));
    let (client, connection) = config
        .connect(NoTls)
        .await
        .with_context(|| format!("connect to {}", node.name))?;
    // Its error is the client's error too, and is met there.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
