//! [`TlsNet`]: listening, connecting, and following the files (RocketMQ 4.9 `NettyRemotingServer`, `FileWatchService`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_env::clock::Clock;
use mq_env::disk::Disk;
use mq_env::net::{Listener, Net, Stream};
use mq_env::{BoxFuture, Env};
use mq_remoting::LogLimit;
use rustls::pki_types::ServerName;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::error::TlsError;
use crate::material::{Contents, Material};
use crate::settings::{TlsMode, TlsSettings};
use crate::stream::{Encrypted, HANDSHAKE_MAX, ServerStream};

/// Time between two looks at the files.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two log lines about what peers do.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// An environment whose connections are encrypted as `settings` say, but for replication's. Keys and certificates are
/// read now, and anew whenever their files change; files that cannot be used change nothing.
///
/// # Errors
/// Keys and certificates that cannot be used.
pub fn encrypted(env: &Env, settings: TlsSettings) -> Result<Env, TlsError> {
    let contents = Contents::read(&settings, &*env.disk)?;
    let material = Material::new(&settings, &contents, &env.clock)?;
    if settings.server.is_none() && settings.mode != TlsMode::Disabled {
        let say = "clients that speak TLS get a certificate that is made at this start, by which nobody can tell the \
                   server: name one by tls.server.certPath and tls.server.keyPath";
        match settings.mode {
            TlsMode::Enforcing => tracing::warn!("{say}"),
            _ => tracing::info!("{say}"),
        }
    }
    if settings.client_enable && settings.client_trust.is_none() {
        tracing::warn!(
            "connections to others are encrypted, and whoever answers is believed: set tls.client.authServer=true \
             and tls.client.trustCertPath"
        );
    }
    let shared = Arc::new(Shared {
        material: Mutex::new(Arc::new(material)),
        settings,
        log: Arc::new(LogLimit::new(LOG_INTERVAL)),
    });
    let watch = Watch {
        shared: Arc::clone(&shared),
        disk: Arc::clone(&env.disk),
        clock: Arc::clone(&env.clock),
        contents,
        complaint: None,
    };
    env.tasks.spawn_until_cancelled("tls file watch", watch.run());
    let net = Arc::new(TlsNet { below: Arc::clone(&env.net), shared });
    Ok(Env { net, ..env.clone() })
}

struct Shared {
    settings: TlsSettings,
    material: Mutex<Arc<Material>>,
    log: Arc<LogLimit>,
}

impl Shared {
    fn material(&self) -> MutexGuard<'_, Arc<Material>> {
        self.material.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct TlsNet {
    below: Arc<dyn Net>,
    shared: Arc<Shared>,
}

impl TlsNet {
    async fn connect_encrypted(&self, addr: &str) -> io::Result<Stream> {
        let stream = self.below.connect(addr).await?;
        let (local, peer) = (stream.local_addr(), stream.peer_addr());
        let config = Arc::clone(&self.shared.material().client);
        let handshake = TlsConnector::from(config).connect(server_name(addr), stream);
        let failed = |error: io::Error| {
            let text = format!("the TLS handshake with {addr} failed: {error}");
            io::Error::new(error.kind(), text)
        };
        let tls = match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
            Ok(outcome) => outcome.map_err(failed)?,
            Err(_) => {
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it takes too long")));
            }
        };
        let encrypted = Encrypted::new(TlsStream::from(tls));
        Ok(Stream::new(Box::new(encrypted), local, peer))
    }
}

/// What a server may choose its certificate by; nothing is held against it.
fn server_name(addr: &str) -> ServerName<'static> {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let by_name = ServerName::try_from(host.to_owned());
    by_name.unwrap_or(ServerName::IpAddress(IpAddr::from([0; 4]).into()))
}

impl Net for TlsNet {
    fn connect<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        match self.shared.settings.client_enable {
            true => Box::pin(self.connect_encrypted(addr)),
            false => self.below.connect(addr),
        }
    }

    fn bind(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        if self.shared.settings.mode == TlsMode::Disabled {
            return self.below.bind(addr);
        }
        Box::pin(async move {
            let below = self.below.bind(addr).await?;
            let shared = Arc::clone(&self.shared);
            Ok(Box::new(TlsListener { below, shared }) as Box<dyn Listener>)
        })
    }

    fn unencrypted(&self) -> Option<Arc<dyn Net>> {
        Some(Arc::clone(&self.below))
    }

    fn local_ip(&self) -> IpAddr {
        self.below.local_ip()
    }
}

struct TlsListener {
    below: Box<dyn Listener>,
    shared: Arc<Shared>,
}

impl Listener for TlsListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let stream = self.below.accept().await?;
            let (local, peer) = (stream.local_addr(), stream.peer_addr());
            let takes_plain = self.shared.settings.mode == TlsMode::Permissive;
            let (config, log) =
                (Arc::clone(&self.shared.material().server), Arc::clone(&self.shared.log));
            let stream = ServerStream::new(stream, config, takes_plain, log);
            Ok(Stream::new(Box::new(stream), local, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.below.local_addr()
    }
}

/// Looks at the files.
struct Watch {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    /// What the material was made of.
    contents: Contents,
    complaint: Option<String>,
}

impl Watch {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            self.look();
        }
    }

    /// A key and its certificate are two files: until both are new they do not go together, and nothing changes.
    fn look(&mut self) {
        let settings = &self.shared.settings;
        let looked = Contents::read(settings, &*self.disk).and_then(|contents| {
            if contents == self.contents {
                return Ok(None);
            }
            let material = Material::new(settings, &contents, &self.clock)?;
            Ok(Some((contents, material)))
        });
        match looked {
            Ok(None) => self.complaint = None,
            Ok(Some((contents, material))) => {
                *self.shared.material() = Arc::new(material);
                (self.contents, self.complaint) = (contents, None);
                tracing::info!(
                    "TLS: keys and certificates were read anew; they hold for connections from now on"
                );
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::error!("{complaint}; TLS goes on with what it has");
                }
                self.complaint = Some(complaint);
            }
        }
    }
}
