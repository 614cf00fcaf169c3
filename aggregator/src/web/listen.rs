//! The accept loop: bounded connections, bounded time to send a head, an end in order. (step 15)

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use hsw_shell::Shutdown;

use super::{Bound, Parts, router};

const HEAD_MAX: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 32 << 10;
const GRACE: Duration = Duration::from_secs(3);
/// After an error of `accept` (out of file descriptors), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until shutdown is asked for, then lets answers under way finish for 3 s.
pub async fn serve(bound: Bound, parts: Parts, mut shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(bound.connections_max));
    let app = router(parts, Arc::clone(&bound.guard));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&bound, &places) => accepted,
            () = shutdown.requested() => break,
        };
        let Some((stream, place)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "connection ended early");
            }
            drop(place);
        });
    }
    // Live pages never end by themselves: the grace is for answers under way.
    let _ended_or_not = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

async fn accept(
    bound: &Bound,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match bound.listener.accept().await {
        Ok((stream, _)) => {
            let _best_effort = stream.set_nodelay(true);
            Some((stream, place))
        }
        Err(error) => {
            tracing::warn!(%error, "web: a connection could not be accepted");
            None
        }
    }
}
