//! RocketMQ 4.9 wire and file formats: bytes to values and back.
//!
//! Nothing here waits, reads a clock or touches a file. Modules in reading order:
//!
//! - [`codes`] numbers of requests, responses, languages and versions; [`sys_flag`] bit sets;
//! - `text_map` texts by texts; [`ext_fields`] the flattened custom header, [`header`] its typed views,
//!   [`remoting_command`] the command around it, [`acl`] its signature;
//! - [`serialize`] its two header encodings, [`frame`] the length-prefixed frame of the wire;
//! - [`ha_frame`] the two streams of replication; [`ack_rule`] what SEND_OK says of the copies;
//! - [`fastjson`] the JSON dialect of bodies: reader, writer; [`mod@body`] the bodies;
//! - [`topic_validator`] which names topics and groups may have;
//! - [`message`] messages, their properties and ids; [`message_codec`] the CommitLog record;
//!   [`topic_deletion`] the one that says that its topic was deleted;
//! - [`consume_queue_unit`] the unit of ConsumeQueue files; [`dledger_entry`] the entry of DLedger's;
//! - [`properties_file`] the `.properties` files of brokers and name servers;
//! - [`upstream`] behaviours of 4.9 that can be switched on, by name;
//! - `steps` what decoders did, counted for tests.

pub mod ack_rule;
pub mod acl;
pub mod body;
pub mod codes;
pub mod consume_queue_unit;
pub mod dledger_entry;
pub mod ext_fields;
pub mod fastjson;
pub mod frame;
pub mod ha_frame;
pub mod header;
pub mod message;
pub mod message_codec;
pub mod properties_file;
pub mod remoting_command;
pub mod serialize;
mod steps;
pub mod sys_flag;
mod text_map;
pub mod topic_deletion;
pub mod topic_validator;
pub mod upstream;
