//! [`Program`]: what a process of a cluster runs.

use std::collections::BTreeMap;
use std::rc::Rc;

use mq_broker::BrokerController;
use mq_broker::config::{BrokerConfig, Severity};
use mq_namesrv::{NamesrvConfig, NamesrvController};
use mq_protocol::properties_file::PropertiesFile;
use mq_store::config::{StoreConfig, UpstreamSwitch};
use staticfire_world::world::{Exit, Main, ProcessContext, boxed_main};

use crate::plan::local_defaults;
use crate::run::error::StandError;

/// What a process runs. A simulator takes it [as code](Program::into_main); whoever starts programs of
/// an operating system looks at which it is.
pub enum Program {
    /// A name server that listens at this port.
    Namesrv {
        /// `listenPort`.
        port: u16,
    },
    /// A broker, asked anew at every start what its file says.
    Broker(Rc<dyn Fn() -> Configured>),
    /// Code of the harness: a producer, a consumer, an operator.
    Client(Main),
}

impl Program {
    /// Code of the harness.
    #[must_use]
    pub fn client<F, Fut>(main: F) -> Self
    where
        F: Fn(ProcessContext) -> Fut + 'static,
        Fut: Future<Output: Exit> + 'static,
    {
        Program::Client(boxed_main(main))
    }

    /// The main function, to be run in this process.
    #[must_use]
    pub fn into_main(self) -> Main {
        match self {
            Program::Namesrv { port } => boxed_main(move |context| namesrv_main(context, port)),
            Program::Broker(configured) => {
                boxed_main(move |context| broker_main(context, configured()))
            }
            Program::Client(main) => main,
        }
    }
}

/// Main function of a name server process.
async fn namesrv_main(context: ProcessContext, port: u16) -> Result<(), String> {
    let config = NamesrvConfig { listen_port: port, ..NamesrvConfig::default() };
    let controller = NamesrvController::start(context.env.clone(), config);
    let controller = controller.await.map_err(|error| error.to_string())?;
    context.shutdown.cancelled().await;
    controller.shutdown().await;
    Ok(())
}

/// Main function of a broker process.
async fn broker_main(context: ProcessContext, configured: Configured) -> Result<(), String> {
    let Configured { broker, store, .. } = configured;
    let controller = BrokerController::start(context.env.clone(), broker, store);
    let controller = controller.await.map_err(|error| error.to_string())?;
    context.shutdown.cancelled().await;
    controller.shutdown().await;
    Ok(())
}

/// What a broker's file says, as written and as read.
#[derive(Clone)]
pub struct Configured {
    /// The entries of its `.properties` file.
    pub properties: BTreeMap<String, String>,
    /// Upstream behaviours switched on.
    pub upstream: Vec<UpstreamSwitch>,
    /// Planted bugs armed, by name.
    pub plants: Vec<String>,
    /// The broker's part of it.
    pub broker: BrokerConfig,
    /// The store's part of it.
    pub store: StoreConfig,
}

impl Configured {
    /// Reads the entries of broker `name`'s file.
    ///
    /// # Errors
    /// Entries or plants that make no sense.
    pub fn read(
        name: &str,
        properties: BTreeMap<String, String>,
        upstream: Vec<UpstreamSwitch>,
        plants: Vec<String>,
    ) -> Result<Self, StandError> {
        let mut file = PropertiesFile::parse(b"").expect("an empty file is one");
        for (key, value) in &properties {
            file.set(key, value);
        }
        let (mut broker, mut store, findings) = BrokerConfig::parse(&file, &local_defaults(name));
        if let Some(error) = findings.iter().find(|finding| finding.severity == Severity::Error) {
            return Err(StandError::Property {
                process: name.to_owned(),
                key: error.key.clone(),
                value: error.value.clone(),
                why: error.text.clone(),
            });
        }
        // No client of the stand has an account; `conf` says so.
        broker.acl_enable = false;
        store.upstream = upstream.iter().copied().collect();
        store.plant(&plants).map_err(StandError::Name)?;
        Ok(Configured { properties, upstream, plants, broker, store })
    }
}

/// Plants bugs also where no store's settings are looked at; names that are no plant's are refused elsewhere.
#[cfg(feature = "plants")]
pub(super) fn plant_on_this_thread(names: &[String]) {
    let plants = names.iter().filter_map(|name| name.parse().ok());
    mq_store::plant::plant_on_this_thread(&plants.collect());
}

/// Without the feature `plants` there is nothing to plant.
#[cfg(not(feature = "plants"))]
pub(super) const fn plant_on_this_thread(_names: &[String]) {}
