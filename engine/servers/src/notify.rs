//! What a service manager is told (systemd's `sd_notify`): nothing where NOTIFY_SOCKET names none.

use sd_notify::NotifyState;

/// The program serves.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It was asked to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager at NOTIFY_SOCKET was not told");
    }
}
