//! The RocketMQ broker.

pub mod config;
