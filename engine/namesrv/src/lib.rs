//! The name server: brokers register, clients ask for routes.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | [`NamesrvConfig`] |
//! | [`limits`] | [`NamesrvLimits`], what peers may make it keep |
//! | [`route_info_manager`] | [`RouteInfoManager`], the tables and their rules, without clock or sockets |
//! | [`kv_config`] | [`KvConfigManager`], key-value pairs in a file |
//! | `configuration` | settings that operators read and change |
//! | `processor` | the answer to each request |
//! | [`controller`] | [`NamesrvController`], start, housekeeping, shutdown |
//!
//! Name servers know nothing of each other. Nobody is told of a change: clients ask again.
//!
//! [`NamesrvConfig`]: config::NamesrvConfig
//! [`NamesrvLimits`]: limits::NamesrvLimits
//! [`RouteInfoManager`]: route_info_manager::RouteInfoManager
//! [`KvConfigManager`]: kv_config::KvConfigManager

pub mod config;

pub mod limits;

pub mod route_info_manager;

pub mod kv_config;

mod configuration;

mod processor;

pub mod controller;

pub use config::NamesrvConfig;
pub use controller::NamesrvController;
