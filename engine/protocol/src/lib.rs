//! RocketMQ wire and file formats: bytes to values and back.

pub mod properties_file;
