//! SIGINT and SIGTERM.

use crate::error::LauncherError;

/// Calls `each` with 1, 2, ... for every SIGINT or SIGTERM.
///
/// # Errors
/// The system gives no signals.
pub fn on_stop_signal(each: impl Fn(u32) + Send + 'static) -> Result<(), LauncherError> {
    let failed = |e: std::io::Error| LauncherError::Option(format!("signals cannot be received: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (ready, started) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let signals = signal(SignalKind::interrupt()).and_then(|i| Ok((i, signal(SignalKind::terminate())?)));
                let (mut interrupt, mut terminate) = match signals {
                    Ok(signals) => signals,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                for count in 1.. {
                    tokio::select! {
                        _ = interrupt.recv() => each(count),
                        _ = terminate.recv() => each(count),
                    }
                }
            });
        })
        .map_err(failed)?;
    started.recv().expect("the thread answers before it ends").map_err(failed)
}
